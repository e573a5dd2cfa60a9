"""Actors: one task, one inbox, one message at a time."""

import dis
from collections.abc import Awaitable, Callable
from inspect import CO_COROUTINE
from math import inf
from types import FunctionType
from typing import ClassVar, Final, Generic, TypeVar, cast

import trio

from .cell import Cell, CrashSignal, Envelope, Handler, State, StopSignal, WorkSignal
from .errors import root_cause
from .message import Later, Message, Reply
from .ref import ActorRef
from .span import CURRENT
from .trace import Kind

M = TypeVar("M")

_BATCH: Final = 64
"""Messages handled between two checkpoints, so that a full mailbox starves nobody."""

_SUSPENDING: Final = frozenset(
    {
        "ASYNC_GEN_WRAP",
        "BEFORE_ASYNC_WITH",
        "GET_AITER",
        "GET_ANEXT",
        "GET_AWAITABLE",
        "GET_YIELD_FROM_ITER",
        "SEND",
        "YIELD_FROM",
        "YIELD_VALUE",
    }
)


def never_suspends(function: object) -> bool:
    """Whether this coroutine function provably runs to its end in one step.

    True when its byte code contains no await, async for, async with or yield.
    """
    if not isinstance(function, FunctionType) or not function.__code__.co_flags & CO_COROUTINE:
        return False
    return all(step.opname not in _SUSPENDING for step in dis.get_instructions(function))


class Actor(Generic[M]):
    """Owns something that runs. Subclass it, and answer each message of the union `M`."""

    urgent: ClassVar[tuple[type, ...]] = ()
    """Message types that overtake the ordinary ones and that no full mailbox holds up."""

    inline: ClassVar[bool] = False
    """Whether `handle` never suspends, and so may run in the caller's task; found, not set."""

    _cell: Cell

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.inline = never_suspends(cls.handle)

    async def handle(self, msg: M) -> Reply | Later:
        """Answer one message. What it raises is a crash: the supervisor decides what follows."""
        raise NotImplementedError

    async def started(self) -> None:
        """Run before the first message, in the actor's task; what it raises is a failed start."""

    async def stopping(self) -> None:
        """Run at the end, also after a crash; shielded for the child's shutdown time."""

    @property
    def ref(self) -> ActorRef[M]:
        """This actor's own ref."""
        return ActorRef(self._cell)

    @property
    def incarnation(self) -> int:
        """1 for the first life, one more after each restart."""
        return self._cell.incarnation

    def stop(self) -> None:
        """Stop after the message in hand: a normal end, not a crash."""
        self._cell.signal(StopSignal())


class Incarnation:
    """One life of an actor: started, serving, stopping."""

    def __init__(self, actor: Actor[M], cell: Cell, shutdown: float) -> None:
        self._actor = actor
        self._cell = cell
        self._shutdown = shutdown
        self._handle = cast("Handler", actor.handle)
        self._nursery: trio.Nursery | None = None
        actor._cell = cell  # pyright: ignore[reportPrivateUsage]  # the runtime introduces them

    async def run(self, on_running: Callable[[], None]) -> Exception | None:
        """Live. Return the crash, or None for a normal end; cancellation passes through."""
        cell = self._cell
        crash: Exception | None = None
        try:
            await self._live(on_running)
        except (Exception, BaseExceptionGroup) as error:
            cause = root_cause(error)
            if not isinstance(cause, Exception):
                raise
            crash = cause
            cell.observe(Kind.CRASH, cell.current, repr(cause))
        finally:
            cell.inline = None
            if cell.state is not State.STOPPING:
                cell.move(State.STOPPING)
            cell.fail_held(crash)
            late = await self._say_goodbye()
            cell.signals.clear()
            cell.move(State.DOWN)
        return crash or late

    async def _live(self, on_running: Callable[[], None]) -> None:
        cell = self._cell
        await self._start()
        cell.urgent |= frozenset(self._actor.urgent)
        cell.move(State.RUNNING)
        on_running()
        if self._actor.inline:
            cell.inline = self._handle
        later = await self._serve()
        if later is not None:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._begin_work(later)
                await self._serve()
                nursery.cancel_scope.cancel()

    async def _start(self) -> None:
        cell = self._cell
        birth = Envelope(Started(), cell, None, inf)
        cell.current = birth
        CURRENT.set(birth)
        await self._actor.started()
        cell.current = None

    async def _serve(self) -> WorkSignal | None:
        """Handle messages until told to stop, or until the first work needs a nursery."""
        cell = self._cell
        mailbox = cell.mailbox
        left = _BATCH
        while True:
            if cell.signals:
                signal = cell.signals.popleft()
                if isinstance(signal, StopSignal):
                    cell.move(State.STOPPING)
                    return None
                if isinstance(signal, CrashSignal):
                    cell.current = signal.envelope
                    raise signal.error
                if self._nursery is None:
                    return signal
                self._begin_work(signal)
                continue
            envelope = mailbox.take()
            if envelope is None:
                await mailbox.wait()
                left = _BATCH
                continue
            await self._handle_one(envelope)
            left -= 1
            if not left:
                await trio.lowlevel.checkpoint()
                left = _BATCH

    async def _handle_one(self, envelope: Envelope) -> None:
        cell = self._cell
        cell.current = envelope
        CURRENT.set(envelope)
        trace = cell.runtime.trace
        if trace is not None:
            envelope.began_at = trace.clock()
        answer = await self._handle(envelope.message)
        cell.current = None
        cell.handled += 1
        if type(answer) is Reply:
            envelope.answer(answer.value)
        elif isinstance(answer, Later):
            cell.signals.append(WorkSignal(envelope, answer))
        else:
            cell.current = envelope
            raise TypeError(f"{cell.path}: handle returned {answer!r}, not a Reply or Later")

    def _begin_work(self, signal: WorkSignal) -> None:
        assert self._nursery is not None
        self._cell.working.add(signal.envelope)
        self._nursery.start_soon(self._work, signal.envelope, signal.later.work)

    async def _work(self, envelope: Envelope, work: object) -> None:
        CURRENT.set(envelope)
        with trio.CancelScope() as scope:
            envelope.work = scope
            value = await cast("Callable[[], Awaitable[object]]", work)()
            self._cell.working.discard(envelope)
            envelope.answer(value)
        if scope.cancelled_caught:
            self._cell.working.discard(envelope)
            envelope.fail(trio.BrokenResourceError(), "cancelled")

    async def _say_goodbye(self) -> Exception | None:
        """Run `stopping`, shielded and for at most the shutdown time; return what it raised."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + self._shutdown):
            try:
                await self._actor.stopping()
            except (Exception, BaseExceptionGroup) as error:
                cause = root_cause(error)
                if not isinstance(cause, Exception):
                    raise
                self._cell.observe(Kind.CRASH, detail=f"in stopping: {cause!r}")
                return cause
        return None


class Started(Message[None]):
    """Stands for the `started` hook while it runs, so that its calls have a span and a place."""

    __slots__ = ()
