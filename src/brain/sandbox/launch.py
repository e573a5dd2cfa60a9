"""A command made ready: what to execute, with which environment, and within which bounds."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

from msgspec import Struct

ScrubMode: TypeAlias = Literal["strict", "inherit"]

SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON: Final = frozenset(
    {"LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TERM"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS"}
)
"""Variables of the Engine's own environment that reach a command: none can hold a secret."""


class Launch(Struct, frozen=True):
    """A program to execute.

    `limits` are (RLIMIT_ name, value) pairs of each process; `processes` and `memory` (bytes)
    bound the whole tree, None for no bound. `seccomp` is the filter that bubblewrap is given.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    limits: tuple[tuple[str, int], ...] = ()
    processes: int | None = None
    memory: int | None = None
    seccomp: bytes | None = None


def environment(mode: ScrubMode, home: Path, extra: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The environment of a command: of the Engine's own PASSED_ON, or with `inherit` all."""
    own = os.environ
    kept = own if mode == "inherit" else {name: own[name] for name in PASSED_ON & own.keys()}
    fixed = {"PATH": SYSTEM_PATH, "HOME": str(home), "TMPDIR": "/tmp"}
    return {"LANG": "C.UTF-8", "TERM": "dumb", **kept, **fixed, **dict(extra)}
