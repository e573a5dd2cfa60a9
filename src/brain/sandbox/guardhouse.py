"""The Engine's side of the guards: has one posted for a command, hears how the command ended."""

import array
import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, cast

import trio
from msgspec import Struct

from .guard import Order
from .launch import Launch

_GUARD: Final = str(Path(__file__).with_name("guard.py"))
_CHUNK: Final = 65_536
_CLOSING_S: Final = 2.0
_GONE_S: Final = 4.0
"""How long a killed tree may take to be gone: only a process stuck in the kernel takes long."""


class Ending(Struct, frozen=True):
    """How a tree ended. `over` names the bound that it was killed for: processes or memory.

    `exit_code` is the shell's word for it, 128 + n for signal n; None if nobody could tell.
    """

    exit_code: int | None = None
    over: str | None = None


class Guard:
    """The guard of one command. The command runs; it lives at most as long as this process."""

    def __init__(self, control: trio.socket.SocketType) -> None:
        self._control = control
        self._said = b""
        self._dismissed = False

    async def ended(self) -> Ending:
        """Wait until the whole tree is gone. Raises OSError if it could not be executed."""
        await self._hear()
        return _ending(self._said)

    async def gone(self) -> None:
        """Kill what still runs and wait until all of it is gone, at most a few seconds."""
        if not self._dismissed:
            self._dismissed = True
            with suppress(OSError):
                self._control.shutdown(socket.SHUT_WR)
        with trio.move_on_after(_GONE_S):
            await self._hear()

    async def _hear(self) -> None:
        with suppress(ConnectionResetError):
            while chunk := await self._control.recv(_CHUNK):
                self._said += chunk


class Guardhouse:
    """Starts the program that guards are forked from when the first is needed.

    It is forked from, and not this process, because it is small, has one thread, and holds
    nothing that a command should not inherit.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: trio.socket.SocketType | None = None

    @asynccontextmanager
    async def guarding(self, launch: Launch, *streams: int) -> AsyncGenerator[Guard]:
        """Start a command with these as its stdin, stdout and stderr; at the end it is gone.

        The streams are given away: they are closed here, whatever happens. Cancelling kills the
        tree before the cancellation goes on.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        control = trio.socket.from_stdlib_socket(ours)
        guard = Guard(control)
        with control:
            try:
                try:
                    with theirs:
                        await self._hand_over(theirs.fileno())
                    await _send(control, _order(launch), streams)
                finally:
                    for stream in set(streams):
                        os.close(stream)
                yield guard
            finally:
                with trio.CancelScope(shield=True):
                    await guard.gone()

    async def close(self) -> None:
        """Let the program end; guards that still stand see to their commands themselves."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            process, self._process = self._process, None
            descriptor = os.pidfd_open(process.pid)
            with trio.move_on_after(_CLOSING_S):
                await trio.lowlevel.wait_readable(descriptor)
            os.close(descriptor)
            process.kill()
            process.wait()

    async def _hand_over(self, descriptor: int) -> None:
        """Give a socket to the program; start the program if there is none (any more)."""
        if self._socket is not None:
            try:
                await _send_descriptors(self._socket, b"\n", (descriptor,))
            except (BrokenPipeError, ConnectionResetError):
                await self.close()
            else:
                return
        await _send_descriptors(self._opened(), b"\n", (descriptor,))

    def _opened(self) -> trio.socket.SocketType:
        if self._socket is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    (sys.executable, "-I", "-S", _GUARD, str(theirs.fileno())),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={"LC_ALL": "C.UTF-8"},
                    cwd="/",
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            self._socket = trio.socket.from_stdlib_socket(ours)
        return self._socket


def _order(launch: Launch) -> bytes:
    order = Order(
        argv=list(launch.argv),
        environment=dict(launch.environment),
        folder=str(launch.folder),
        limits=list(launch.limits),
        processes=launch.processes,
        memory=launch.memory,
        seccomp=base64.b64encode(launch.seccomp).decode() if launch.seccomp is not None else None,
    )
    text = json.dumps(order).encode()
    return len(text).to_bytes(4, "big") + text


async def _send(control: trio.socket.SocketType, data: bytes, streams: tuple[int, ...]) -> None:
    """The streams go with the first bytes. A guard that is gone by now has said why."""
    try:
        sent = await _send_descriptors(control, data, streams)
        while sent < len(data):
            sent += await control.send(data[sent:])
    except (BrokenPipeError, ConnectionResetError):
        return


async def _send_descriptors(
    over: trio.socket.SocketType, data: bytes, descriptors: tuple[int, ...]
) -> int:
    rights = array.array("i", descriptors)
    return await over.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def _ending(said: bytes) -> Ending:
    if not said:
        return Ending()
    report = cast("dict[str, object]", json.loads(said))
    if "refused" in report:
        number, why = report["refused"], report["why"]
        raise OSError(number if isinstance(number, int) else 0, str(why))
    code, over = report["exit_code"], report["over"]
    return Ending(code if isinstance(code, int) else None, str(over) if over else None)
