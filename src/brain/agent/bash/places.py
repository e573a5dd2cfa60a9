"""Where paths lead: through `cd`, links and patterns, and whether that is inside the roots."""

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

from ..concern import Concern
from .syntax import Objection
from .words import Word

Here: TypeAlias = frozenset[Path] | None
"""The folders a command may be running in; None when that cannot be told."""

_MOST: Final = 1000
"""Matches of one pattern that are looked at."""

_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/stdin")
_OWN_OUTPUT: Final = ("/dev/stdout", "/dev/stderr", "/dev/fd/")
_SCRATCH: Final = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
"""New in every sandbox and gone with it."""


class Places:
    """The allowed folders, with their links followed."""

    def __init__(self, roots: Iterable[Path], workspace: Path) -> None:
        self._roots = tuple({Path(os.path.realpath(root)) for root in (*roots, workspace)})
        self.start: Here = frozenset({Path(os.path.realpath(workspace))})

    def contains(self, path: Path) -> bool:
        """Whether the path (links followed) is one of the roots or below one."""
        return any(path == root or root in path.parents for root in self._roots)

    def check_removal(self, word: Word, here: Here) -> None:
        """Object to removing what is not strictly below a root."""
        for path in self._entries(word, here):
            if not any(root in path.parents for root in self._roots):
                raise Objection(
                    f"it removes {path}, outside the allowed folders", Concern.REMOVES_OUTSIDE
                )

    def check_write(self, word: Word, here: Here, *, truncates: bool) -> None:
        """Object to writing outside the roots, and to replacing a file that has content."""
        if word.text is not None and _is_output(word.text):
            return
        for path in self.targets(word, here):
            self.check_target(path, truncates=truncates)

    def check_target(self, path: Path, *, truncates: bool) -> None:
        """The same for a resolved path."""
        if str(path) in _DEVICES:
            return
        scratch = any(path == folder or folder in path.parents for folder in _SCRATCH)
        if not (self.contains(path) or scratch):
            raise Objection(
                f"it writes {path}, outside the allowed folders", Concern.WRITES_OUTSIDE
            )
        if truncates and has_content(path):
            raise Objection(f"it overwrites {path}, which has content", Concern.OVERWRITES)

    def targets(self, word: Word, here: Here) -> Iterator[Path]:
        """Every path the word may mean, links followed."""
        for path in _spelled(word, here):
            yield Path(os.path.realpath(path))

    def _entries(self, word: Word, here: Here) -> Iterator[Path]:
        """Every directory entry the word may mean: links on the way followed, itself not."""
        for path in _spelled(word, here):
            folder, name = os.path.split(path)
            if name in ("", ".", ".."):
                yield Path(os.path.realpath(path))
            else:
                yield Path(os.path.realpath(folder), name)


def has_content(path: Path) -> bool:
    """Whether it is a file, or a device, that a truncating write would destroy."""
    try:
        status = path.stat()
    except OSError:
        return False
    if stat.S_ISREG(status.st_mode):
        return status.st_size > 0
    return stat.S_ISBLK(status.st_mode)


def moved(here: Here, word: Word) -> Here:
    """Where `cd word` leads from each place."""
    if here is None or word.text is None or word.pattern is not None:
        return None
    if word.text in ("-", ""):
        return None
    there = frozenset(Path(os.path.realpath(place / word.text)) for place in here)
    return there if len(there) <= 16 else None


def joined(one: Here, other: Here) -> Here:
    """Either of two."""
    return None if one is None or other is None else one | other


def _is_output(text: str) -> bool:
    return text in _DEVICES or text.startswith(_OWN_OUTPUT)


def _spelled(word: Word, here: Here) -> Iterator[str]:
    if word.text is None:
        raise Objection(f"which path it means ({word.shown}) is only known when it runs")
    if word.text.startswith(("/dev/tcp/", "/dev/udp/")):
        raise Objection(f"it opens a network connection to {word.text}", Concern.NETWORK)
    absolute = word.text.startswith("/")
    if here is None and not absolute:
        raise Objection(f"it is not clear in which folder {word.text} is meant")
    for place in [Path("/")] if absolute else sorted(here or ()):
        yield os.path.join(place, word.text)
        if word.pattern is not None:
            yield from _matches(word.pattern, place)


def _matches(pattern: str, place: Path) -> Iterator[str]:
    """What a pattern stands for now, hidden files included."""
    *folders, _ = pattern.split("/")
    if any(part.startswith(".") and glob.has_magic(part) for part in folders):
        raise Objection(f"the pattern {pattern} may lead upwards")
    found = islice(glob.iglob(pattern, root_dir=place, include_hidden=True), _MOST + 1)
    for count, match in enumerate(found):
        if count == _MOST:
            raise Objection(f"the pattern {pattern} matches too much")
        yield os.path.join(place, match)
