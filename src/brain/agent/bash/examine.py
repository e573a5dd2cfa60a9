"""What a bash command line would do, judged: the rules put together."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ...security.egress import NetworkPolicy
from ..concern import Concern
from . import egress, tables
from .call import Call, Rule, is_short
from .damage import DAMAGE, outputs
from .places import Here, Places, moved
from .programs import PROGRAMS
from .running import RUNNING
from .syntax import MAX_SOURCE, Objection
from .walk import HAZARDOUS, MOVES, Invocation, Walk
from .words import Word

_MAX_DEPTH: Final = 8
"""Shells within shells."""

_MAX_COMMANDS: Final = 2000
_MAX_WORDS: Final = 2000
_MAX_WRAPPED: Final = 40
"""Commands that run commands, one around the other."""

_CONTINUED: Final = "\\\n"
_HIDES_CODE: Final = re.compile(r"\$\(|`")
_VERSION: Final = re.compile(r"(?<=[A-Za-z])[\d.]+$")

_RULES: Final[dict[str, Rule]] = {**DAMAGE, **RUNNING, **PROGRAMS}
_RESERVED: Final = (
    tables.BUILTINS | MOVES | _RULES.keys() | tables.ALWAYS.keys() | tables.RUNNING_OPTIONS.keys()
)


def examine(command: str, places: Places, policy: NetworkPolicy | None = None) -> None:
    """Read a command line. Raises Objection if a person should see it first.

    With a `policy` also where it would connect to is judged.
    """
    Examiner(places, policy).examine(command)


class Examiner:
    """Judges every command of a script and of the scripts in it."""

    def __init__(self, places: Places, policy: NetworkPolicy | None = None) -> None:
        self.places = places
        self._policy = policy
        self._depth = 0
        self._commands = 0
        self._wrapped = 0
        self._written: set[Path] = set()
        self._scripts: set[Path] = set()
        self._links = False
        self._follows_paths = False
        self._moves = 0

    def examine(self, command: str) -> None:
        """A whole command line. Raises Objection."""
        start = self.places.start
        try:
            self.read(command, start, fed=False)
            if _CONTINUED in command:
                # bash joins continued lines before it looks for words; the parser does not
                self.read(command.replace(_CONTINUED, ""), start, fed=False)
        except RecursionError:
            raise Objection("it is nested too deeply to be read with care") from None

    def read(self, source: str, here: Here, *, fed: bool) -> None:
        """This text as a script."""
        if self._depth == _MAX_DEPTH:
            raise Objection("it runs shells within shells")
        self._depth += 1
        Walk(self, here).run(source, fed=fed)
        self._depth -= 1

    def read_file(self, script: Word, here: Here, *, fed: bool) -> None:
        """The content of this file as a script."""
        if script.prefix.startswith(("/dev/", "/proc/")):
            raise Objection(f"it runs what {script.shown} holds, only known when it runs")
        for path in self.places.targets(script, here):
            self._runs_file(path)
            self.read(_script(path), here, fed=fed)

    def command(self, invocation: Invocation) -> Here:
        """A simple command of a script; tells where it leaves the shell."""
        words, here = invocation.words, invocation.here
        name = words[0].text
        if name in MOVES:
            self._moves += 1
            return _destination(words[1:], here) if name != "popd" else None
        before = self._moves
        self.run(words, here, fed=invocation.fed, texts=invocation.texts)
        moved_here = self._moves > before and name in tables.IN_THIS_SHELL
        return None if moved_here else here

    def run(
        self, words: Sequence[Word], here: Here, *, fed: bool, texts: tuple[str | None, ...] = ()
    ) -> None:
        """These words as a command."""
        self._commands += 1
        if self._commands > _MAX_COMMANDS or len(words) > _MAX_WORDS:
            raise Objection("it holds too many commands or words")
        head = words[0]
        self._moves += head.text in MOVES
        if head.text is None or head.pattern is not None:
            raise Objection(f"which program it runs ({head.shown}) is only known when it runs")
        self._wrapped += 1
        if self._wrapped > _MAX_WRAPPED:
            raise Objection("it wraps commands in commands too deeply")
        for name in self._names(head, here, fed=fed):
            call = Call(name, tuple(words[1:]), here, fed, texts, self)
            _judge(call)
            if self._policy is not None:
                egress.check(call, self._policy)
        self._wrapped -= 1

    def writes(self, target: Word, here: Here, *, truncates: bool) -> None:
        """A path that would be written."""
        self.places.check_write(target, here, truncates=truncates)
        self._follow()
        for path in self.places.targets(target, here):
            self._written.add(path)
            self._check_own_program(path)

    def reads(self, source: Word) -> None:
        """A redirection from a file."""
        if source.prefix.startswith(("/dev/tcp/", "/dev/udp/")):
            raise Objection(f"it opens a network connection to {source.shown}", Concern.NETWORK)

    def removes(self, target: Word, here: Here) -> None:
        """A path that would be removed."""
        self.places.check_removal(target, here)
        if "/" in (target.text or ""):
            self._follow()

    def links(self) -> None:
        """A symbolic link would be made."""
        self._links = True
        if self._follows_paths:
            raise Objection("it makes a link and then writes or removes, perhaps through it")

    def defines(self, name: str) -> None:
        """A function is defined."""
        if name in _RESERVED:
            raise Objection(f"it gives {name} another meaning")

    def _runs_file(self, path: Path) -> None:
        self._scripts.add(path)
        self._check_own_program(path)

    def _check_own_program(self, path: Path) -> None:
        """What is read now must be what runs later."""
        if path in self._written and path in self._scripts:
            raise Objection(f"it runs {path}, which it writes itself")

    def _follow(self) -> None:
        self._follows_paths = True
        if self._links:
            raise Objection("it makes a link and then writes or removes, perhaps through it")

    def _names(self, head: Word, here: Here, *, fed: bool) -> Iterator[str]:
        """What the program may be called: by its path, and by what that path is a link to."""
        text = head.text or ""
        yield _plain(os.path.basename(text))
        if "/" in text and not (here is None and not text.startswith("/")):
            for path in self.places.targets(head, here):
                self._runs_file(path)
                if path.name != os.path.basename(text):
                    yield _plain(path.name)
                if _is_shell_script(path):
                    self.read_file(head, here, fed=fed)


def _plain(name: str) -> str:
    return _VERSION.sub("", name)


def _destination(args: tuple[Word, ...], here: Here) -> Here:
    operands = [word for word in args if word.text not in ("--", "-L", "-P", "-e")]
    return moved(here, operands[0]) if len(operands) == 1 else None


def _judge(call: Call) -> None:
    """Every rule that has something to say about a command of this name."""
    name = call.name
    what = "makes a file system" if name.startswith("mkfs") else tables.ALWAYS.get(name)
    if what is not None and call.args:
        raise Objection(f"{name} {what}", tables.CONCERNS.get(what, Concern.UNCLEAR))
    if name in tables.KEYWORDS:
        raise Objection("part of it was not understood")
    if name in tables.EVALUATES:
        _check_builtin(call)
    if name == "shopt" and tables.UNSETTLING.intersection(call.known()):
        raise Objection("it changes how the shell reads what follows")
    _check_options(call)
    if name in tables.OUTPUT_OPTIONS:
        outputs(call)
    rule = _RULES.get(name)
    if rule is not None:
        rule(call)


def _check_builtin(call: Call) -> None:
    """Builtins that evaluate subscripts, or set variables."""
    for text in call.literals():
        if _HIDES_CODE.search(text):
            raise Objection(f"it hides code in the words of {call.name}")
        if text.partition("=")[0] in HAZARDOUS:
            raise Objection(f"it sets {text.partition('=')[0]}, which makes programs run something")


def _check_options(call: Call) -> None:
    for option in tables.RUNNING_OPTIONS.get(call.name, ()):
        for text in call.literals():
            single = len(option) == 2 and option[0] == "-" and is_short(text, option[1])
            if single or text.startswith(option):
                raise Objection(f"{call.name} {text} may run or remove something else")


def _script(path: Path) -> str:
    """The text of a script. Raises Objection if it cannot be read, or is no text."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SOURCE:
            raise Objection(f"the script {path} cannot be looked at")
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Objection(f"the script {path} cannot be looked at") from error


def _is_shell_script(path: Path) -> bool:
    """Whether executing the file would run a shell on it."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            head = file.read(256)
    except OSError:
        return False
    if not head.startswith(b"#!"):
        return b"\0" not in head
    first, *rest = head[2:].partition(b"\n")[0].decode(errors="replace").split() or [""]
    program = os.path.basename(first)
    if program == "env":
        program = next((word for word in rest if not word.startswith("-")), "")
    return _plain(program) in tables.SHELLS
