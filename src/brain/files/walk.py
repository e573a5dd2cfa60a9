"""Looking at files below a root, and reading their text. All of it blocks: call it from a thread.

No link is followed, neither while looking nor while reading: a command of the task could put one
there in between, and what it leads to is not to be found by a search.
"""

import os
import stat
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec import Struct

LARGEST: Final = 2**20
"""Bytes of a file that is searched; a larger one is data rather than text to read."""

CHUNK_LINES: Final = 40
CHUNK_CHARACTERS: Final = 2_000
"""What makes a chunk: a page of code, a few paragraphs of prose."""

_SNIFFED: Final = 8192
_LEFT_OUT: Final = frozenset(
    {".git", "node_modules", "__pycache__", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
)
"""Folders that hold copies of what others wrote, or what programs remember."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Stamp(Struct, frozen=True):
    """By which a file is taken to be unchanged."""

    size: int
    mtime_ns: int


class Chunk(Struct, frozen=True):
    """Some lines of a file, counted from 1."""

    first_line: int
    last_line: int
    text: str


class ReadFile(Struct, frozen=True):
    """A file that was read: its chunks, or why it has none (`skipped`)."""

    path: str
    stamp: Stamp
    hash: str = ""
    chunks: tuple[Chunk, ...] = ()
    skipped: str | None = None


def stamps(root: Path, most: int, check: Callable[[], None]) -> dict[str, Stamp]:
    """The regular files below a root, at most so many; `check` is called for each folder."""
    found: dict[str, Stamp] = {}
    for top, folders, names, folder in os.fwalk(root, follow_symlinks=False):
        check()
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        for name in names:
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except OSError:
                continue  # it has just gone
            if stat.S_ISREG(status.st_mode):
                found[os.path.join(top, name)] = Stamp(status.st_size, status.st_mtime_ns)
            if len(found) >= most:
                return found
    return found


def read(root: Path, path: str, stamp: Stamp) -> ReadFile:
    """Read a file below a root; one that cannot be searched says why."""
    if stamp.size > LARGEST:
        return ReadFile(path, stamp, skipped="too large")
    try:
        data = _data(root, Path(path).relative_to(root).parts)
    except OSError:
        return ReadFile(path, stamp, skipped="unreadable")
    digest = sha256(data).hexdigest()
    if b"\0" in data[:_SNIFFED]:
        return ReadFile(path, stamp, digest, skipped="binary")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return ReadFile(path, stamp, digest, skipped="binary")
    return ReadFile(path, stamp, digest, tuple(chunks(text)))


def _data(root: Path, parts: tuple[str, ...]) -> bytes:
    """A file's bytes, reached from the root without following a link."""
    folder = os.open(root, _FOLDER)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        with open(os.open(parts[-1], _FILE, dir_fd=folder), "rb") as file:
            return file.read(LARGEST)
    finally:
        os.close(folder)


def chunks(text: str) -> Iterator[Chunk]:
    """Pieces of whole lines; a line that is longer than a chunk makes several of the same line."""
    lines: list[str] = []
    first, size = 1, 0
    for number, line in enumerate(text.splitlines(), 1):
        for start in range(0, max(len(line), 1), CHUNK_CHARACTERS):
            piece = line[start : start + CHUNK_CHARACTERS]
            if lines and (size + len(piece) > CHUNK_CHARACTERS or len(lines) >= CHUNK_LINES):
                yield from _chunk(first, lines)
                lines, first, size = [], number, 0
            lines.append(piece)
            size += len(piece) + 1
    yield from _chunk(first, lines)


def _chunk(first: int, lines: list[str]) -> Iterator[Chunk]:
    text = "\n".join(lines)
    if text.strip():
        yield Chunk(first, first + len(lines) - 1, text)
