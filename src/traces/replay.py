"""Replay: a recorded mailbox, fed to a fresh instance of its actor, and where that differs.

The actor is made as the tree makes it, but alone: whoever it calls is a stand-in that is asked
what it was asked then and answers what it answered then, at the time at which it did. Time stands
still between two events of the record. So the replay touches nothing, and nothing is guessed:
where the record does not say what was sent or answered, it stops and tells.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final, get_args, get_origin

import trio
import trio.testing

from ..actors import Actor, ActorError, ActorRef, ActorStopped, StartFailed, SupervisorSpec, Trace
from ..actors.alone import LoneTree, refuse, running_alone
from ..actors.cell import Envelope
from ..actors.span import span_scope
from ..actors.trace import Event, Kind, Traced
from ..errors import SeptemberError
from .life import UNFINISHED, Life
from .likeness import Ids
from .rebuild import NotKept, Rebuilder, declared_answer, resolved
from .render import Renderer
from .row import TraceRow
from .steps import GIVEN_UP, Call, Step
from .steps import Difference as Difference
from .steps import Replay as Replay

Wall = Callable[[Callable[[], int]], AbstractContextManager[None]]
"""Has its body read the time (ns since the epoch) from the function that it is given."""

_RENDER: Final = Renderer(length=2**31)
"""Cuts nothing: what was cut then is compared as far as it was kept."""


def replay(life: Life, root: SupervisorSpec, wall: Wall, *, as_kept: bool = False) -> Replay:
    """Live a recorded life again, in the tree of `root`, in a time of its own.

    With `as_kept`, messages that were cut or redacted are fed as the record has them. Raises
    INVALID_REQUEST for an actor that cannot be replayed, NOT_FOUND for one that is not there.
    """
    return trio.run(partial(_Stage(life, as_kept).run, root, wall), clock=trio.testing.MockClock())


class _Stage:
    """Where one life is lived again. Implements `Audience`."""

    def __init__(self, life: Life, as_kept: bool) -> None:
        self._life = life
        self._as_kept = as_kept
        calls = life.calls()
        crashes = {row.parent_id: row.detail for row in life.births if row.kind == "crash"}
        self._steps = {
            row.span_id: Step(
                row,
                [Call(one, one.path, one.message_type) for one in calls[row.span_id]],
                crashes.get(row.span_id, ""),
            )
            for row in life.taken
        }
        texts = [text for row in (*life.taken, *life.sent) for text in (row.message, row.detail)]
        self._ids = Ids([*texts, *(row.path for row in life.sent)])
        self._told = Replay(life.path, life.incarnation, (), self._ids, life.at, lost=life.lost)
        self._fed: dict[int, tuple[Step, Any]] = {}
        self._beside = iter(life.own("Beside"))
        self._working: dict[Envelope, Step] = {}
        self._now_us = 0
        self._asked: dict[str, Envelope] = {}
        self._due: set[str] = set()
        self._ready: list[tuple[TraceRow, Envelope]] = []
        self._scopes: dict[str, trio.CancelScope] = {}
        self._crash = ""
        self._takes: dict[str, type] = {}
        self._refused = False
        self._over = False

    async def run(self, root: SupervisorSpec, wall: Wall) -> Replay:
        """Feed, and compare."""
        trace = Trace(sinks=(self._observe,))
        with wall(lambda: self._now_us * 1000):
            tree = LoneTree(root, self._life.path, trace, self)
            if tree.subject is None:
                raise _refusal("NOT_FOUND", f"no actor is at {self._life.path}", self._life.path)
            if not self._life.own("Started"):
                raise _refusal("INVALID_REQUEST", _NO_START, self._life.path)
            self._rebuild = Rebuilder(tree.find)
            self._leniently = Rebuilder(tree.find, as_kept=True)
            self._tree = tree
            await self._live()
        if self._refused:
            raise _refusal("INVALID_REQUEST", _WHY_NOT, self._life.path)
        self._compare()
        return self._told

    async def _live(self) -> None:
        async with trio.open_nursery() as feeding:
            events = sorted(self._events(feeding), key=lambda one: one[:2])
            for at, _, what in events:
                if at > self._until or self._told.stopped is not None or self._refused:
                    break
                await self._pass_to(at)
                if what is None:
                    self._ref = await feeding.start(self._keep_alive)
                else:
                    what()
                await self._settle()
            self._over = True
            feeding.cancel_scope.cancel(reason="everything is fed")

    async def _keep_alive(self, task_status: trio.TaskStatus[ActorRef[Any]]) -> None:
        async with running_alone(self._tree, self._look) as (ref, _):
            task_status.started(ref)
            await trio.sleep_forever()

    def _look(self, actor: Actor[Any]) -> None:
        self._refused = not actor.replayable
        if self._refused:
            raise ValueError("it cannot be replayed")
        self._takes = {kind.__name__: kind for kind in _messages_of(actor)}

    @property
    def _until(self) -> int:
        target = self._life.target
        return 2**62 if target is None or target.outcome == UNFINISHED else target.ended_at

    async def _pass_to(self, at: int) -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        if self._now_us:
            clock.jump(max(0, at - self._now_us) / 1e6)
        self._now_us = max(at, self._now_us)

    async def _settle(self) -> None:
        """Let everything go on until it waits, answering what may be answered by now."""
        await trio.testing.wait_all_tasks_blocked()
        while self._ready:
            self._answer(*self._ready.pop(0))
            await trio.testing.wait_all_tasks_blocked()

    def _events(
        self, feeding: trio.Nursery
    ) -> Iterator[tuple[int, int, Callable[[], None] | None]]:
        """What happened, when (µs), and what goes first of what happened at once."""
        for row in self._life.own("Started"):
            yield row.at, 0, None
        for step in self._steps.values():
            for call in step.calls:
                if call.row is not None:
                    yield call.row.ended_at, 1, partial(self._now_due, call.row)
        for row in self._life.births:
            yield row.at, 2, partial(self._born_or_gone, row)
        for place, row in enumerate(self._life.mailbox):
            yield row.at, 3 + place, partial(self._feed, row, feeding)
            if row.outcome in GIVEN_UP:
                yield row.ended_at, 2, partial(self._give_up, row)

    def _born_or_gone(self, row: TraceRow) -> None:
        above, _, key = row.path.rpartition("/")
        children = self._tree.children(self._ids.as_now(above))
        if children is None or row.kind == "crash":
            return
        if row.kind == "stop":
            children.dismiss(self._ids.as_now(key))
        elif not any(row.path == one.path for one in self._life.sent):  # else the actor starts it
            children.admit(self._ids.as_now(key))

    def _feed(self, row: TraceRow, feeding: trio.Nursery) -> None:
        message = self._message(row)
        if message is None:
            return
        self._fed[id(message)] = self._steps[row.span_id], message
        scope = self._scopes[row.span_id] = trio.CancelScope()
        feeding.start_soon(self._send, row, message, scope)

    def _message(self, row: TraceRow) -> Any:
        kind = self._takes.get(row.message_type)
        if kind is None:
            self._stop(row, f"it takes no {row.message_type} any more")
            return None
        text = self._ids.as_now(row.message)
        try:
            return self._rebuild.message(text, kind)
        except NotKept as lack:
            if not self._as_kept:
                self._stop(row, str(lack))
                return None
            why = str(lack)
        try:
            message = self._leniently.message(text, kind)
        except NotKept as lack:
            self._stop(row, str(lack))
            return None
        self._told.kept.append((row, why))
        return message

    async def _send(self, row: TraceRow, message: Any, scope: trio.CancelScope) -> None:
        above = row.parent_id or "0" * 15 + "1"
        with scope, span_scope(f"00-{row.trace_id}-{above}-01"):
            try:
                await self._ref.call(message)
            except ActorError:
                pass  # the trace tells

    def _give_up(self, row: TraceRow) -> None:
        scope = self._scopes.get(row.span_id)
        if scope is not None:
            scope.cancel(reason="its sender gave up then, too")

    def began(self, work: Envelope) -> None:
        """Work of the actor's own: the next of the record's is its counterpart."""
        row = next(self._beside, None)
        if row is not None:
            self._working[work] = self._steps[row.span_id]

    def asked(self, envelope: Envelope, by: Envelope | None) -> None:
        """The actor sends something: find what it sent then."""
        step = self._step_of(by)
        if step is None:
            self._ready.append((_NOBODY, envelope))
            return
        kind, text = type(envelope.message).__name__, _RENDER.message(envelope.message)
        call = self._counterpart(step, envelope.cell.path, kind, text)
        if call is None:
            step.calls.append(Call(None, envelope.cell.path, kind, text))
            return
        assert call.row is not None
        call.now = text
        self._ids.learn(call.row.path, envelope.cell.path)
        self._ids.learn(call.row.message, text)
        if call.row.span_id in self._due:
            self._ready.append((call.row, envelope))
        else:
            self._asked[call.row.span_id] = envelope

    def _counterpart(self, step: Step, path: str, kind: str, text: str) -> Call | None:
        """What was sent then to the same, preferably the same."""
        ids = self._ids
        open_ = [
            one
            for one in step.calls
            if one.row is not None
            and one.now is None
            and one.message_type == kind
            and ids.like_path(one.row.path, path)
        ]
        same = [one for one in open_ if one.row and ids.as_then(text) == one.row.message]
        return next(iter(same or open_), None)

    def _now_due(self, row: TraceRow) -> None:
        self._due.add(row.span_id)
        envelope = self._asked.pop(row.span_id, None)
        if envelope is not None:
            self._ready.append((row, envelope))

    def _answer(self, row: TraceRow, envelope: Envelope) -> None:
        """Answer what was answered then."""
        if row is _NOBODY:
            refuse(envelope)
        elif row.outcome == "ok":
            try:
                declared = declared_answer(envelope.message)
                envelope.answer(self._rebuild.answer(self._ids.as_now(row.detail), declared))
            except NotKept as lack:
                self._stop_at_call(row, str(lack))
        elif row.message_type == "Started":
            envelope.fail(StartFailed(envelope.cell.path, RuntimeError(row.outcome)), row.outcome)
        elif row.outcome == "stopped":
            envelope.fail(ActorStopped(envelope.cell.path), "stopped")
        elif row.kind == "message" and row.outcome not in GIVEN_UP | {UNFINISHED}:
            self._stop_at_call(row, f"it {row.outcome}, and what its sender was told is not kept")

    def _stop_at_call(self, row: TraceRow, why: str) -> None:
        owner = next(
            step for step in self._steps.values() for call in step.calls if call.row is row
        )
        self._stop(owner.row, f"{row.name} (span {row.span_id}): {why}")

    def _stop(self, row: TraceRow, why: str) -> None:
        if self._told.stopped is None:
            self._told.stopped, self._told.why = row, why

    def _step_of(self, by: Envelope | None) -> Step | None:
        if by is None:
            return None
        if type(by.message).__name__ == "Started":
            started = self._life.own("Started")
            return self._steps[started[0].span_id] if started else None
        return self._working.get(by) or self._fed.get(id(by.message), (None, None))[0]

    def _observe(self, traced: Traced) -> None:
        if self._over:
            return
        if isinstance(traced, Event):
            if traced.kind is Kind.CRASH and traced.path == self._life.path:
                self._crash = traced.detail
        elif isinstance(traced, Envelope) and traced.cell.path == self._life.path:
            step = self._step_of(traced)
            if step is not None:
                step.outcome = traced.outcome
                crashed = traced.outcome == "crashed"
                answer = traced.record().answer if traced.outcome == "ok" else None
                step.answer = self._crash if crashed else _RENDER.answer(answer)

    def _compare(self) -> None:
        """Gather the steps in their order, and the first difference."""
        told, target = self._told, self._life.target
        last = min(
            target.at if target is not None else 2**62,
            told.stopped.at if told.stopped is not None else 2**62,
        )
        told.steps = [
            one
            for one in sorted(self._steps.values(), key=lambda one: one.row.at)
            if one.row.at <= last and one.row.message_type != "Stopping"
        ]
        found = (found for step in told.steps for found in self._differences(step))
        told.difference = next(found, None)

    def _differences(self, step: Step) -> Iterator[Difference]:
        row, stopped = step.row, self._told.stopped
        if stopped is None:
            whole = row.ended_at <= self._until
        else:
            whole = row.ended_at <= stopped.at and row is not stopped
        whole = whole and row.outcome != UNFINISHED
        if row.message_type == "Beside" and not step.outcome:
            whole = False  # it goes on: how long is a matter of time
        yield from step.differences(self._ids, whole=whole)


_NOBODY: Final = TraceRow(kind="message", at=0, trace_id="", span_id="", path="")

_NO_START: Final = "cannot be replayed: its start was not recorded; choose another life of it"

_WHY_NOT: Final = (
    "cannot be replayed from its mailbox: it touches more than other actors (files, processes or"
    " the network), and of that the trace has no record. A turn can, with all its tools: give"
    " the id of a turn"
)


def _refusal(code: str, why: str, path: str) -> SeptemberError:
    return SeptemberError(
        code, f"{path} {why}" if code == "INVALID_REQUEST" else why, {"actor": path}
    )


def _messages_of(actor: Actor[Any]) -> Sequence[type]:
    """The types of the messages that an actor takes, from what its class is declared to be."""
    for kind in type(actor).__mro__:
        for base in getattr(kind, "__orig_bases__", ()):
            if get_origin(base) is Actor:
                takes = resolved(get_args(base)[0], kind)
                return tuple(get_origin(one) or one for one in get_args(takes) or (takes,))
    return ()
