"""Two pieces of work at the same time, failing as if one came after the other."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
from outcome import Outcome, acapture

A = TypeVar("A")
B = TypeVar("B")


async def together(
    one: Callable[[], Awaitable[A]], other: Callable[[], Awaitable[B]]
) -> tuple[A, B]:
    """Both results. Each runs to its end; then the failure of `one` is raised, or that of `other`.

    So a failure comes alone, without a group around it, and never cuts the other work short.
    """
    found: list[Outcome[B]] = []

    async def beside() -> None:
        found.append(await acapture(other))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beside)
        first = await acapture(one)
    return first.unwrap(), found[0].unwrap()
