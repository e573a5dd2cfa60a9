"""One life of an actor, in one task: started, serving, stopping."""

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Final, cast

import trio

from .actor import Actor
from .cell import Cell, CrashSignal, Envelope, Handler, StopSignal, WorkSignal
from .errors import split_crash
from .message import Later, Message, Reply
from .span import CURRENT
from .state import State
from .trace import Kind

_BATCH: Final = 64
"""Messages handled between two checkpoints, so that a full mailbox starves nobody."""


class Started(Message[None]):
    """Stands for the `started` hook, so that its calls have a span, a place and a deadline."""

    __slots__ = ()


class Stopping(Message[None]):
    """Stands for the `stopping` hook."""

    __slots__ = ()


class Incarnation:
    """Runs one actor from `started` to `stopping`; `shutdown` is in seconds."""

    __slots__ = ("_actor", "_cell", "_handle", "_killer", "_nursery", "_shutdown")

    def __init__(self, actor: Actor[Any], cell: Cell, shutdown: float) -> None:
        self._actor = actor
        self._cell = cell
        self._shutdown = shutdown
        self._handle = cast("Handler", actor.handle)
        self._nursery: trio.Nursery | None = None
        self._killer: Envelope | None = None
        actor.join_cell(cell)

    async def run(self, on_running: Callable[[], None]) -> Exception | None:
        """Live. Return the crash, or None for a normal end; cancellation passes through."""
        cell = self._cell
        crash: Exception | None = None
        try:
            await self._live(on_running)
        except BaseException as error:
            crash, passing = split_crash(error)
            if passing is not None:
                raise passing from None
        finally:
            cell.inline = None
            cell.move(State.STOPPING)
            if crash is not None:
                cell.decide(Kind.CRASH, self._killer or cell.current, repr(crash))
            cell.fail_held(crash)
            late = await self._say_goodbye()
        return crash or late

    async def _live(self, on_running: Callable[[], None]) -> None:
        cell = self._cell
        await self._start()
        cell.move(State.RUNNING)
        on_running()
        if self._actor.inline:
            cell.inline = self._handle
        work = await self._serve()
        if work is None:
            return
        async with trio.open_nursery() as self._nursery:  # most actors never need one
            self._begin_work(work)
            await self._serve()
            self._nursery.cancel_scope.cancel()

    async def _start(self) -> None:
        cell = self._cell
        birth = cell.birth or Envelope(Started(), cell, None, inf)
        if cell.birth is None and cell.last_event is not None:
            birth.trace_id, birth.parent_id = cell.last_event.trace_id, cell.last_event.span_id
        cell.birth = None
        await self._run_hook(birth, self._actor.started)

    async def _run_hook(self, envelope: Envelope, hook: Callable[[], Awaitable[None]]) -> None:
        CURRENT.set(envelope)
        self._cell.current = envelope
        await hook()
        CURRENT.set(None)
        self._cell.current = None
        envelope.close("ok")

    async def _serve(self) -> WorkSignal | None:
        """Handle messages until told to stop, or until the first work needs a nursery."""
        signals = self._cell.signals
        while True:
            while signals:
                signal = signals.pop(0)
                if isinstance(signal, StopSignal):
                    return None
                if isinstance(signal, CrashSignal):
                    self._cell.current = signal.envelope
                    raise signal.error
                if self._nursery is None:
                    return signal
                self._begin_work(signal)
            if await self._drain():
                await trio.lowlevel.checkpoint()
            elif not signals:
                await self._cell.mailbox.wait()

    async def _drain(self) -> bool:
        """Handle what is there, at most a batch and until a signal; True if the batch was full."""
        cell, handle, take = self._cell, self._handle, self._cell.mailbox.take
        trace = cell.runtime.trace
        now = trace.clock() if trace is not None else 0.0
        for _ in range(_BATCH):
            envelope = take()
            if envelope is None:
                return False
            envelope.began_at = now
            cell.current = envelope
            CURRENT.set(envelope)
            answer = await handle(envelope.message)
            if type(answer) is not Reply:
                self._not_yet(envelope, answer)
            elif envelope.caller is not None:
                envelope.answer(answer.value)
            elif trace is not None:
                envelope.incarnation = cell.incarnation
                trace.handled(envelope, "ok")
            cell.current = None
            cell.handled += 1
            if cell.signals:
                return False
            if trace is not None:
                now = envelope.ended_at
        return True

    def _not_yet(self, envelope: Envelope, answer: object) -> None:
        if type(answer) is not Later:
            path = self._cell.path
            raise TypeError(f"{path}: handle returned {answer!r}, not a Reply or Later")
        self._cell.begin_work(envelope, answer)  # a signal, so this batch ends here

    def _begin_work(self, signal: WorkSignal) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._work, signal.envelope, signal.later)

    async def _work(self, envelope: Envelope, later: Later) -> None:
        CURRENT.set(envelope)
        working = self._cell.working
        scope = envelope.work or trio.CancelScope()
        with scope:
            try:
                envelope.answer(await later.work())
            except Exception:
                self._killer = self._killer or envelope
                raise
        if scope.cancelled_caught:
            envelope.close("withdrawn")
        envelope.work = None
        if working is not None:
            working.pop(envelope, None)

    async def _say_goodbye(self) -> Exception | None:
        """Run `stopping`, shielded and for at most the shutdown time; return its crash."""
        cell = self._cell
        deadline = trio.current_time() + self._shutdown
        goodbye = Envelope(Stopping(), cell, None, deadline)
        try:
            with trio.CancelScope(shield=True, deadline=deadline) as scope:
                await self._run_hook(goodbye, self._actor.stopping)
        except BaseException as error:
            crash, passing = split_crash(error)
            if crash is not None:
                cell.decide(Kind.CRASH, goodbye, f"in stopping: {crash!r}")
            goodbye.close("crashed" if crash is not None else "stopped")
            if passing is not None:
                raise passing from None
            return crash
        finally:
            cell.current = None
        if scope.cancelled_caught:
            goodbye.close("cut_short")
        return None
