"""Waiting for what nothing announces: the state of another process, of a file, of an answer."""

from collections.abc import Awaitable, Callable

import trio

EVERY_S = 0.01


async def until(holds: Callable[[], bool], within: float = 10.0) -> None:
    """Wait until a condition holds. Raises trio.TooSlowError."""
    with trio.fail_after(within):
        while not holds():  # noqa: ASYNC110  there is no event to wait on
            await trio.sleep(EVERY_S)


async def until_told(ask: Callable[[], Awaitable[bool]], within: float = 10.0) -> None:
    """The same for a condition that takes a question. Raises trio.TooSlowError."""
    with trio.fail_after(within):
        while not await ask():  # noqa: ASYNC110  there is no event to wait on
            await trio.sleep(EVERY_S)
