"""What a command prints: the beginning in memory, the rest in a file of the workspace."""

import os
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from uuid import uuid4

import trio

_CUT_NOTE: Final = b"\n[the output went on; it was not kept]\n"

Tell: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Hears output while the command runs."""


class Output:
    """Takes output as it comes. The file is created only when it is needed.

    The command may do what it likes to its workspace meanwhile, so the file is created new, by
    name alone, in the folder that was opened before the command ran.
    """

    def __init__(self, folder: int, keep: int, overflow: int, tell: Tell | None = None) -> None:
        """`folder` is a descriptor of the workspace; the sizes are in bytes."""
        self._tell = tell
        self._folder = folder
        self._keep = keep
        self._room = overflow
        self._head = bytearray()
        self._file: int | None = None
        self.overflow: str | None = None
        """The file's name once there is one."""

    @property
    def text(self) -> str:
        """The kept beginning; bytes that are no UTF-8 are replaced."""
        return self._head.decode(errors="replace")

    async def write(self, chunk: bytes) -> None:
        """Take a piece of output."""
        if self._tell is not None:
            await self._tell(chunk)
        room = self._keep - len(self._head) if self._file is None else 0
        self._head += chunk[:room]
        rest = chunk[room:]
        if not rest:
            return
        if self._file is None:
            rest = self._split_character() + rest
            self._create()
        await self._append(rest)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _split_character(self) -> bytes:
        """Take the last bytes back if they are only the beginning of a character."""
        for back in range(1, min(4, len(self._head) + 1)):
            byte = self._head[-back]
            if byte & 0xC0 == 0xC0:
                size = 2 + (byte >= 0xE0) + (byte >= 0xF0)
                tail = bytes(self._head[-back:]) if size > back else b""
                del self._head[len(self._head) - len(tail) :]
                return tail
            if byte < 0x80:
                break
        return b""

    def _create(self) -> None:
        name = f"output-{uuid4().hex[:12]}.txt"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(name, flags, 0o644, dir_fd=self._folder)
        self.overflow = name

    async def _append(self, rest: bytes) -> None:
        if self._file is None or self._room <= 0:
            return
        kept = rest[: self._room]
        self._room -= len(rest)
        if self._room <= 0:
            kept += _CUT_NOTE
        await trio.to_thread.run_sync(_write_all, self._file, kept)


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
