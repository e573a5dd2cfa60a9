"""A line to one server: connects, serves calls, reconnects for ever with backoff and jitter."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from enum import Enum
from math import inf
from random import Random
from typing import Any, Final, TypeVar, cast

import trio
from msgspec import Struct

from ...actors import Backoff
from ...errors import SeptemberError
from .actions import Action
from .definitions import ServerDefinition
from .session import ConnectionLost, Host, NoAnswer, Refused, Session, load_sdk, opened

T = TypeVar("T")

PATIENCE_S: Final = 0.8
"""How long a call waits for a line that could not be connected the last time it was tried.

Before a first failure it waits for the attempt that is being made.
"""

_BACKOFF: Final = Backoff(first=0.2, factor=2.0, max=60.0, jitter=0.3)
_LEAST_PAUSE_S: Final = 0.5
"""A call wakes a waiting line, but no sooner than this after the last failure."""

_SETTLING_S: Final = 0.05


class LineState(Enum):
    """Where a line stands."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "reconnecting"  # until the backoff is over, or a call wakes it
    REFUSED = "needs_attention"  # until a person has done something about it
    CLOSED = "closed"


_S = LineState
MOVES: Final[dict[LineState, frozenset[LineState]]] = {
    _S.CONNECTING: frozenset({_S.CONNECTED, _S.WAITING, _S.REFUSED, _S.CLOSED}),
    _S.CONNECTED: frozenset({_S.WAITING, _S.REFUSED, _S.CLOSED}),
    _S.WAITING: frozenset({_S.CONNECTING, _S.CLOSED}),
    _S.REFUSED: frozenset({_S.CONNECTING, _S.CLOSED}),
    _S.CLOSED: frozenset(),
}

_FINAL: Final = frozenset({"MCP_TOKEN_EXPIRED", "PERMISSION_DENIED", "INVALID_REQUEST"})
"""Codes that trying again does not mend."""


class Standing(Struct, frozen=True):
    """What a line's owner is told whenever something changes."""

    state: LineState
    actions: tuple[Action, ...] = ()
    problem: SeptemberError | None = None


class Line:
    """Keeps one server connected while `run` runs; calls come from any task."""

    def __init__(
        self,
        definition: ServerDefinition,
        dial: Callable[[], AbstractAsyncContextManager[tuple[Any, Any]]],
        host: Callable[[Callable[[], None]], Host],
        tell: Callable[[Standing], None],
        scrub: Callable[[str], str],
        random: Random | None = None,
    ) -> None:
        self._definition = definition
        self._dial = dial
        self._tell = tell
        self._scrub = scrub
        self._random = random or Random()
        self._host = host(self._note_change)
        self._session: Session | None = None
        self._news = trio.Event()
        self._wake = trio.Event()
        self._changed = trio.Event()
        self._suspect = trio.Event()
        self._failures = 0
        self._ended = 0
        self.standing = Standing(LineState.CONNECTING)

    async def run(self) -> None:
        """Connect, serve, connect again, until cancelled."""
        try:
            await trio.to_thread.run_sync(load_sdk)
            while True:
                served, problem = await self._connection()
                self._failures = 1 if served else self._failures + 1
                self._ended += 1
                await self._pause(self._failures, problem)
                self._move(LineState.CONNECTING, problem=problem)
        finally:
            self._move(LineState.CLOSED)

    async def settled(self) -> Standing:
        """Wait until the line is connected or has failed to."""
        while self.standing.state is LineState.CONNECTING:
            await self._news.wait()
        return self.standing

    def redial(self) -> None:
        """Try again now: something has been done about it."""
        self._wake.set()

    async def during(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Do something with the session. Raises SeptemberError, within a second of a loss."""
        name = self._definition.name
        session = await self._connected()
        try:
            return await work(session)
        except ConnectionLost as error:
            problem = self._failed(f"the connection to {name} was lost; the call may be repeated")
            raise problem from error
        except NoAnswer as error:
            self._suspect.set()
            seconds = self._definition.timeout_s
            raise self._failed(f"{name} was silent for {seconds:g} s") from error
        except Refused as error:
            raise self._failed(f"{name} refused: {self._scrub(str(error))[:500]}") from error

    async def _connected(self) -> Session:
        session = self._open_session
        if session is None:
            if not self._refused:
                self._wake.set()
            # A connection that has just been lost may still be on its way out.
            ended = self._ended + (self.standing.state is LineState.CONNECTED)
            with trio.move_on_after(PATIENCE_S if self._failures > 1 else inf):
                while self._open_session is None and self._ended <= ended and not self._refused:
                    await self._news.wait()
            session = self._open_session
        if session is None:
            raise self.standing.problem or self._failed(
                f"{self._definition.name} is not connected yet; try again in a moment"
            )
        return session

    @property
    def _open_session(self) -> Session | None:
        session = self._session
        return session if session is not None and not session.ended.is_set() else None

    @property
    def _refused(self) -> bool:
        return self.standing.state is LineState.REFUSED

    async def _connection(self) -> tuple[bool, SeptemberError]:
        """One connection from its dialling to its end: whether it served, and why it ended."""
        served = False
        problem = self._failed(f"{self._definition.name} closed the connection")
        opening = trio.CancelScope(
            deadline=trio.current_time() + self._definition.connect_timeout_s
        )
        try:
            with opening:
                async with opened(self._definition, self._dial(), self._host) as session:
                    actions = await session.actions()
                    opening.deadline = inf
                    served = True
                    await self._serve(session, actions)
        except Exception as error:
            problem = self._explained(error)
        finally:
            self._session = None
        if opening.cancelled_caught and not served:
            problem = self._failed(
                f"{self._definition.name} did not answer within"
                f" {self._definition.connect_timeout_s:g} s"
            )
        return served, problem

    async def _serve(self, session: Session, actions: tuple[Action, ...]) -> None:
        self._changed, self._suspect = trio.Event(), trio.Event()
        self._session = session
        self._move(LineState.CONNECTED, actions)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._refresh, session)
            nursery.start_soon(self._examine, session, nursery.cancel_scope)
            await session.ended.wait()
            nursery.cancel_scope.cancel()
        self._session = None

    async def _refresh(self, session: Session) -> None:
        """List the actions again whenever the server says that they changed."""
        while True:
            await self._changed.wait()
            await trio.sleep(_SETTLING_S)  # changes come in bursts
            self._changed = trio.Event()
            try:
                self._move(LineState.CONNECTED, await session.actions())
            except (ConnectionLost, NoAnswer, Refused):
                self._suspect.set()

    async def _examine(self, session: Session, serving: trio.CancelScope) -> None:
        """A server that left a call unanswered and answers nothing else either is dead."""
        while True:
            await self._suspect.wait()
            self._suspect = trio.Event()
            try:
                alive = await session.responsive()
            except (ConnectionLost, Refused):
                alive = not session.ended.is_set()
            if not alive:
                serving.cancel(reason="the server answers nothing any more")

    async def _pause(self, failures: int, problem: SeptemberError) -> None:
        self._wake = trio.Event()
        if problem.code in _FINAL:
            self._move(LineState.REFUSED, problem=problem)
            await self._wake.wait()
            return
        self._move(LineState.WAITING, problem=problem)
        delay = _BACKOFF.delay(failures, self._random.random())
        with trio.move_on_after(delay):
            await trio.sleep(min(delay, _LEAST_PAUSE_S))
            await self._wake.wait()

    def _note_change(self) -> None:
        self._changed.set()

    def _move(
        self,
        state: LineState,
        actions: tuple[Action, ...] = (),
        problem: SeptemberError | None = None,
    ) -> None:
        before = self.standing.state
        assert state is before or state in MOVES[before], f"{before} -> {state}"
        kept = self.standing.actions if state is not LineState.CONNECTED else actions
        self.standing = Standing(state, kept, problem)
        self._news.set()
        self._news = trio.Event()
        if state is not LineState.CLOSED:  # whoever closes the line knows that
            self._tell(self.standing)

    def _explained(self, error: BaseException) -> SeptemberError:
        leaf = _leaf(error)
        if isinstance(leaf, SeptemberError):
            return leaf
        said = "; ".join(_notes(error))
        text = self._scrub(f"{str(leaf) or type(leaf).__name__}{f' ({said})' if said else ''}")
        return self._failed(f"{self._definition.name} cannot be reached: {text[:500]}")

    def _failed(self, message: str) -> SeptemberError:
        return SeptemberError(
            "MCP_CONNECTION_FAILED", message, {"server_name": self._definition.name}
        )


def _inside(error: BaseException) -> tuple[BaseException, ...]:
    group = cast("BaseExceptionGroup[BaseException]", error)
    return group.exceptions if isinstance(error, BaseExceptionGroup) else ()


def _notes(error: BaseException) -> tuple[str, ...]:
    """What was noted on an error or inside its groups."""
    own: tuple[str, ...] = tuple(getattr(error, "__notes__", ()))
    return (*own, *(note for one in _inside(error) for note in _notes(one)))


def _leaf(error: BaseException) -> BaseException:
    """What a group is about: an error of ours if there is one, else the first."""
    leaves = [_leaf(one) for one in _inside(error)]
    if not leaves:
        return error
    return next((one for one in leaves if isinstance(one, SeptemberError)), leaves[0])
