"""A confined program that goes on running: two pipes to talk to it, and nothing left at the end."""

import os
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio
from msgspec import Struct

from .guardhouse import Guard, Guardhouse
from .launch import Launch

_LEAVING_S: Final = 0.5
"""How long a program may take to leave by itself once its input is closed."""

_CHUNK: Final = 65_536
_LAST_WORDS: Final = 20


class Service(Struct, frozen=True):
    """A running program. `last_words` are the latest lines of its stderr."""

    stdin: trio.lowlevel.FdStream
    stdout: trio.lowlevel.FdStream
    last_words: deque[str]
    silent: trio.Event
    """Set when its stderr has ended."""


class Prepared(Struct, frozen=True):
    """A program that is ready to be started, any number of times."""

    launch: Launch
    house: Guardhouse


@asynccontextmanager
async def running_service(prepared: Prepared) -> AsyncGenerator[Service]:
    """Run a program while the body runs; on the way out end its whole tree, within 5 s.

    Raises OSError when it cannot be executed at all.
    """
    theirs_in, ours_in = os.pipe2(os.O_CLOEXEC)
    ours_out, theirs_out = os.pipe2(os.O_CLOEXEC)
    ours_err, theirs_err = os.pipe2(os.O_CLOEXEC)
    async with (
        trio.lowlevel.FdStream(ours_in) as stdin,
        trio.lowlevel.FdStream(ours_out) as stdout,
        trio.lowlevel.FdStream(ours_err) as stderr,
        prepared.house.guarding(prepared.launch, theirs_in, theirs_out, theirs_err) as guard,
        trio.open_nursery() as nursery,
    ):
        service = Service(stdin, stdout, deque(maxlen=_LAST_WORDS), trio.Event())
        nursery.start_soon(_listen, stderr, service)
        try:
            yield service
        finally:
            with trio.CancelScope(shield=True):
                await _end(service, guard)
            nursery.cancel_scope.cancel()


async def _listen(stderr: trio.lowlevel.FdStream, service: Service) -> None:
    """Keep the end of what it complains about; read on, or it would block."""
    rest = b""
    with suppress(OSError, trio.ClosedResourceError):
        async for chunk in stderr:
            *lines, rest = (rest + bytes(chunk)).split(b"\n")
            rest = rest[-_CHUNK:]
            service.last_words.extend(line.decode(errors="replace")[:500] for line in lines)
    service.silent.set()


async def _end(service: Service, guard: Guard) -> None:
    """Close its input, give it a moment, then kill the tree and wait until it is gone."""
    await service.stdin.aclose()
    with trio.move_on_after(_LEAVING_S):
        await guard.ended()
    await guard.gone()
