"""Searches files for a regular expression; a process of its own, which can be killed.

A program (`python -I -S searcher.py <descriptor>`) on the standard library alone: a pattern may
take for ever, and a thread could not be stopped. It gets its order as JSON on its input, starts at
a folder it inherits as a descriptor, and never follows a link. Exit codes: 0 all searched, 2 bad
pattern (with the reason on stderr), 3 stopped at the most matches.
"""

import json
import os
import re
import resource
import signal
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

BAD_PATTERN: Final = 2
MORE: Final = 3

_SNIFFED: Final = 8192
_SHOWN: Final = 400
_SKIPPED: Final = ".git"


@dataclass(frozen=True)
class Order:
    """What to search: `only` names one file of the folder, `glob` is a regular expression."""

    pattern: str
    ignore_case: bool
    prefix: str
    only: str
    glob: str
    glob_is_path: bool
    most: int
    seconds: int
    memory: int


def limit(order: Order) -> None:
    """Die by the kernel's hand, whatever happens to the parent."""
    signal.alarm(order.seconds)
    resource.setrlimit(resource.RLIMIT_DATA, (order.memory, order.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def files(folder: int, order: Order) -> Iterator[tuple[str, int]]:
    """Paths relative to the folder, each with an open descriptor."""
    if order.only:
        yield from _opened(order.only, folder, order.only)
        return
    wanted = re.compile(order.glob)
    for top, folders, names, inner in os.fwalk(".", dir_fd=folder, follow_symlinks=False):
        folders[:] = sorted(name for name in folders if name != _SKIPPED)
        for name in sorted(names):
            path = os.path.normpath(os.path.join(top, name))
            if order.glob and not wanted.fullmatch(path if order.glob_is_path else name):
                continue
            yield from _opened(name, inner, path)


def _opened(name: str, folder: int, path: str) -> Iterator[tuple[str, int]]:
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return
    try:
        regular = stat.S_ISREG(os.fstat(file).st_mode)
        if regular and b"\0" not in os.pread(file, _SNIFFED, 0):
            yield path, file
    finally:
        os.close(file)


def lines(file: int, wanted: "re.Pattern[str]") -> Iterator[tuple[int, str]]:
    """The matching lines with their numbers."""
    with open(file, encoding="utf-8", errors="replace", closefd=False) as text:
        for number, line in enumerate(text, start=1):
            found = wanted.search(line.rstrip("\n"))
            if found is not None:
                yield number, _clipped(line.rstrip("\n"), found.start())


def _clipped(line: str, at: int) -> str:
    """A long line around the place of its match."""
    if len(line) <= _SHOWN:
        return line
    start = max(0, min(at - _SHOWN // 4, len(line) - _SHOWN))
    return f"{'…' if start else ''}{line[start : start + _SHOWN]}…"


def main() -> int:
    """Carry the order out."""
    order = Order(**json.load(sys.stdin))
    limit(order)
    try:
        wanted = re.compile(order.pattern, re.IGNORECASE if order.ignore_case else 0)
    except (re.error, OverflowError, RecursionError) as error:
        sys.stderr.write(str(error))
        return BAD_PATTERN
    count = 0
    for path, file in files(int(sys.argv[1]), order):
        for number, line in lines(file, wanted):
            if count == order.most:
                return MORE
            sys.stdout.buffer.write(
                f"{order.prefix}{path}:{number}:{line}\n".encode(errors="replace")
            )
            count += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
