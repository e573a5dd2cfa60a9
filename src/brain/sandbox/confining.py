"""Which program takes the last step inside the sandbox, and the terms it is given."""

import os
import platform
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from . import landlock
from .launch import SYSTEM_PATH

_HERE: Final = Path(__file__).parent
_PERL: Final = (_HERE / "confine.pl").read_text()
_PYTHON: Final = (_HERE / "confine.py").read_text()
_PRLIMIT: Final = {"x86_64": 302, "aarch64": 261}
"""The number of prlimit64, which perl must be told."""


class Confiner(Struct, frozen=True):
    """A program that becomes the command: its argv up to its terms, what it needs to see.

    `call` goes behind the terms.
    """

    argv: tuple[str, ...]
    needs: tuple[str, ...] = ()
    call: str = ""

    def confined(
        self, interface: int, readable: Iterable[str], writable: Iterable[Path], processes: int
    ) -> tuple[str, ...]:
        """The argv up to the command. `interface` is Landlock's version, 0 for none."""
        handled, scoped = landlock.handled(interface), landlock.scoped(interface)
        rules = landlock.rules(interface, (*readable, *self.needs), writable)
        terms = f"{processes}:{handled}:{scoped}{self.call}"
        return (*self.argv, terms, *(f"{granted}:{path}" for path, granted in rules), "--")


def confiners() -> tuple[Confiner, ...]:
    """Those that this machine has, the fastest first. Python it has, as the Engine runs on it."""
    python = Confiner(
        (os.path.realpath(sys.executable), "-I", "-S", "-c", _PYTHON), (sys.base_prefix,)
    )
    perl, call = shutil.which("perl", path=SYSTEM_PATH), _PRLIMIT.get(platform.machine())
    if perl is None or call is None:
        return (python,)
    return (Confiner((perl, "-e", _PERL), call=f":{call}"), python)
