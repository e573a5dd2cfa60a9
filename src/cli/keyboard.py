"""Reading a person's lines: at the prompt, and in the middle of a stream."""

import os
import sys
from contextlib import suppress
from importlib import import_module

import trio


class Keyboard:
    """Standard input by lines, None when there is no more.

    It never takes more than it hands out, so that `input` and `read` may take turns; a cancelled
    `read` leaves its line to the next one.
    """

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._partial = bytearray()
        self.is_terminal = sys.stdin.isatty()
        if self.is_terminal:
            with suppress(ImportError):  # gives `input` its editing and history; prints when loaded
                import_module("readline")

    def prompt(self, text: str) -> str | None:
        """The next line, edited with history on a terminal. Must not run inside trio."""
        if not self.is_terminal:
            return trio.run(self.read)
        try:
            return input(text)
        except (EOFError, KeyboardInterrupt):
            print()
            return None

    async def read(self) -> str | None:
        """The next line, while a stream goes on."""
        while True:
            await self._wait()
            byte = os.read(self._fd, 1)
            if byte in (b"\n", b""):
                break
            self._partial += byte
        line = self._partial.decode(errors="replace")
        self._partial.clear()
        return line if line or byte else None

    async def _wait(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._fd)
        except PermissionError:  # epoll refuses plain files, which are always ready
            await trio.lowlevel.checkpoint()
