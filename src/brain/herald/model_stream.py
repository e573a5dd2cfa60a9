"""One open model stream as a turn reads it: guarded by deadlines, silent until it is visible."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import trio

from ...errors import SeptemberError
from ..channels.events import CacheHitRatioAlert
from .attachments import LeftOut
from .conversation import (
    BlockStarted,
    BlockStopped,
    Finished,
    Piece,
    TextPiece,
    ThinkingPiece,
)
from .failures import Attempt
from .provider import Fault, ProviderError
from .provider_actor import Abandoned, Failed, Outcome, Succeeded


class Completed(Finished, frozen=True, kw_only=True):
    """The last piece: `Finished`, and what the call meant for this Engine.

    `cost_usd` is at list price, None for a model without a known one; `context_window` is in
    tokens, of the model that answered. `attempts` failed before this one; media in `left_out`
    were not sent.
    """

    provider: str
    cost_usd: float | None
    context_window: int
    attempts: tuple[Attempt, ...] = ()
    cache_alert: CacheHitRatioAlert | None = None
    left_out: tuple[LeftOut, ...] = ()


ModelPiece: TypeAlias = BlockStarted | TextPiece | ThinkingPiece | BlockStopped | Completed
"""What a turn reads; the last one is `Completed`."""


class ModelStream:
    """Pieces of one call. `open` reads up to the first visible one; iterating gives them all.

    `until` (a trio time) bounds the whole call, `idle_s` the silence inside a text block. Outside
    of one a live model may have nothing to show for minutes (hidden thinking, a long tool call);
    there the adapter, which sees the wire, tells silence from work. Whoever holds the stream
    open enters `guard` around it, and raises `timed_out` when it caught a cancellation.
    """

    def __init__(
        self,
        provider: str,
        idle_s: float,
        until: float,
        complete: Callable[[Finished], Awaitable[Completed]],
        explain: Callable[[ProviderError], SeptemberError],
    ) -> None:
        self._provider = provider
        self._idle_s = idle_s
        self._until = until
        self._complete = complete
        self._explain = explain
        self._held: deque[ModelPiece] = deque()
        self._live: AsyncIterator[Piece] | None = None
        self._in_text = False
        self.outcome: Outcome = Abandoned()
        # One scope for the whole call: one for each read would cost more than the read of a
        # piece that is already here.
        self.guard = trio.CancelScope()
        self._reading = False

    async def open(self, live: AsyncIterator[Piece]) -> None:
        """Read until something must be shown. Raises ProviderError, after which one may retry."""
        self._live = live
        visible = False
        while not visible:
            piece = await self._read(live)
            visible = isinstance(piece, TextPiece | ThinkingPiece | Completed)
            self._held.append(piece)

    def __aiter__(self) -> AsyncIterator[ModelPiece]:
        return self

    async def __anext__(self) -> ModelPiece:
        """The next piece. Raises SeptemberError: by now a failure is final."""
        if self._held:
            await trio.lowlevel.checkpoint()
            return self._held.popleft()
        if self._live is None or isinstance(self.outcome, Succeeded):
            raise StopAsyncIteration
        try:
            return await self._read(self._live)
        except ProviderError as failure:
            raise self.final(failure) from failure

    async def _read(self, live: AsyncIterator[Piece]) -> ModelPiece:
        while True:
            piece = await self._next(live)
            if isinstance(piece, Finished):
                completed = await self._complete(piece)
                self.outcome = Succeeded()
                return completed
            self._note_block(piece)
            if not isinstance(piece, TextPiece | ThinkingPiece) or piece.text:
                return piece

    async def _next(self, live: AsyncIterator[Piece]) -> Piece:
        self._arm()
        self._reading = True
        try:
            piece = await anext(live)
        except StopAsyncIteration:
            raise self._error(Fault.CUT, "the stream ended before the answer did") from None
        self._reading = False
        return piece

    def _arm(self) -> None:
        """Push the guard's deadline on, but only when it is off by a tenth of the idle time."""
        due = self._until
        if self._in_text:
            due = min(due, trio.current_time() + self._idle_s)
        if abs(due - self.guard.deadline) > self._idle_s / 10:
            self.guard.deadline = due

    def timed_out(self) -> ProviderError:
        """Why the guard has cancelled: usually a read, rarely a reader that did not come back."""
        if trio.current_time() >= self._until:
            return self._error(Fault.TIMEOUT, "the call took longer than LLM_TIMEOUT_S")
        silence = f"{self._idle_s:g} s (LLM_IDLE_TIMEOUT_S)"
        if not self._reading:
            return self._error(Fault.TIMEOUT, f"its answer was not read on for {silence}")
        return self._error(Fault.TIMEOUT, f"silent for {silence}")

    def final(self, failure: ProviderError) -> SeptemberError:
        """What a failure is once something has been shown: no retry can take that back."""
        self._live = None
        self.outcome = Failed(failure.fault, failure.retry_after)
        return self._explain(failure)

    def _note_block(self, piece: Piece) -> None:
        if isinstance(piece, BlockStarted | BlockStopped):
            self._in_text = isinstance(piece, BlockStarted) and piece.block_type == "text"

    def _error(self, fault: Fault, message: str) -> ProviderError:
        return ProviderError(fault, message, provider=self._provider)
