"""Running one process tree to its end: its output, its deadline, and nothing left of it."""

import os
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio
from msgspec import Struct

from .guardhouse import Ending, Guard, Guardhouse
from .launch import Launch

_DRAIN_S: Final = 2.0
"""How long output may still come once everybody who could print is gone."""

Sink: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Takes a piece of output."""


class Ended(Struct, frozen=True):
    """How a tree ended; `exit_code` is None when it was killed: at its deadline, or `over`."""

    exit_code: int | None
    timed_out: bool
    over: str | None
    duration_ms: int


class Job(Struct, frozen=True):
    """A program, its standard input, its time, and who takes its output."""

    launch: Launch
    given: bytes
    timeout_s: float
    sink: Sink


async def run(house: Guardhouse, job: Job) -> Ended:
    """Run to the end or the deadline, then see to it that nothing of the tree is left.

    Cancelling kills the tree before the cancellation goes on. Raises OSError when the program
    cannot be executed at all.
    """
    began = trio.current_time()
    given = _readable(job.given)
    reads, writes = os.pipe2(os.O_CLOEXEC)
    ending = Ending()
    async with (
        trio.lowlevel.FdStream(reads) as output,
        house.guarding(job.launch, given, writes, writes) as guard,
    ):
        with trio.move_on_after(job.timeout_s) as deadline:
            ending = await _followed(guard, output, job.sink)
        timed_out = deadline.cancelled_caught
        if timed_out:
            await guard.gone()
            with trio.move_on_after(_DRAIN_S):
                await _drain(output, job.sink)
    return Ended(
        exit_code=None if timed_out or ending.over else ending.exit_code,
        timed_out=timed_out,
        over=ending.over,
        duration_ms=round((trio.current_time() - began) * 1000),
    )


async def _followed(guard: Guard, output: trio.lowlevel.FdStream, sink: Sink) -> Ending:
    """Read until nobody holds the output open and the whole tree is gone."""
    await _drain(output, sink)
    return await guard.ended()


async def _drain(output: trio.lowlevel.FdStream, sink: Sink) -> None:
    async for chunk in output:
        await sink(bytes(chunk))


def _readable(data: bytes) -> int:
    """A descriptor that gives these bytes and then ends."""
    if not data:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
