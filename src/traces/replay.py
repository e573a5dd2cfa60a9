"""Replay: a recorded mailbox, fed to a fresh instance of its actor, and where that differs.

What is fed is what was recorded: the messages of one incarnation, in the order in which it took
them. A message that was redacted or cut, or that was never over, cannot be fed as it was; it is
told, never guessed. An actor that looks at the clock, at chance or at other actors answers
differently for reasons of its own: see `Actor.replayable`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast

import msgspec
import trio
import trio.testing

from ..actors import Actor, ActorError, ActorRef, ChildSpec, SupervisorSpec, running_tree
from .render import Renderer
from .row import TraceRow

_ALTERED: Final = re.compile(
    r"\[redacted|\[secret\]|… \(\d+ characters\)|\"<\d+ (?:bytes|more)>\"|\"<[\w.<>]+>\""
)
"""What the renderer puts in the place of what it does not keep."""

_RUNTIMES_OWN: Final = frozenset({"Started", "Stopping", "Beside"})
"""Stand in the record for a start, an end and work of an actor's own: nobody sends them."""

_WITHDRAWN: Final = frozenset({"withdrawn", "cancelled"})


@dataclass(frozen=True, slots=True)
class Difference:
    """The first message that the fresh instance answers otherwise."""

    row: TraceRow
    recorded: str
    now: str


@dataclass(slots=True)
class Replay:
    """What came of it. `unfed` are messages that could not be fed as they were, and why."""

    path: str
    incarnation: int
    fed: int = 0
    difference: Difference | None = None
    unfed: list[tuple[TraceRow, str]] = field(default_factory=list[tuple[TraceRow, str]])


@dataclass(slots=True)
class _Fed:
    """A message that is being replayed."""

    row: TraceRow
    message: Any
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    outcome: str = "no answer"
    answer: str = ""


async def replay(
    rows: Sequence[TraceRow],
    fresh: Callable[[], Actor[Any]],
    messages: Mapping[str, type],
    render: Renderer,
) -> Replay:
    """Feed the messages in `rows`, all of one incarnation, to what `fresh` makes.

    `messages` are the types that the actor takes, by name.
    """
    told = Replay(rows[0].path if rows else "", rows[0].incarnation if rows else 0)
    steps: list[tuple[int, int, Callable[[ActorRef[Any], trio.Nursery], None]]] = []
    fed: list[_Fed] = []
    sent = [row for row in rows if row.message_type not in _RUNTIMES_OWN]
    for place, row in enumerate(sorted(sent, key=lambda one: one.at)):
        message = _decoded(row, messages)
        if isinstance(message, str):
            told.unfed.append((row, message))
            continue
        one = _Fed(row, message)
        fed.append(one)
        steps.append((row.at, place, partial(_send, one, render)))
        if row.outcome in _WITHDRAWN:
            steps.append((row.ended_at, place, partial(_withdraw, one)))
    spec: ChildSpec[Any] = ChildSpec("fresh", fresh)
    async with running_tree(SupervisorSpec("replay", (spec,))) as tree, trio.open_nursery() as all_:
        for _, _, step in sorted(steps, key=lambda one: one[:2]):
            step(tree.ref(spec), all_)
            await trio.testing.wait_all_tasks_blocked()
        all_.cancel_scope.cancel(reason="everything is fed")
    told.fed = len(fed)
    told.difference = next(_differences(fed), None)
    return told


def _send(one: _Fed, render: Renderer, ref: ActorRef[Any], nursery: trio.Nursery) -> None:
    nursery.start_soon(_ask, one, render, ref)


def _withdraw(one: _Fed, ref: ActorRef[Any], nursery: trio.Nursery) -> None:
    one.scope.cancel(reason="its caller gave up then, too")


async def _ask(one: _Fed, render: Renderer, ref: ActorRef[Any]) -> None:
    with one.scope:
        try:
            one.answer = render.answer(await ref.call(one.message))
            one.outcome = "ok"
        except ActorError as error:
            one.outcome = "crashed"
            one.answer = repr(error.__cause__ or error)
    if one.scope.cancelled_caught:
        one.outcome = "withdrawn"


def _differences(fed: Sequence[_Fed]) -> Iterator[Difference]:
    for one in fed:
        recorded, now = _said(one.row.outcome, one.row.detail), _said(one.outcome, one.answer)
        if recorded != now and not _ALTERED.search(one.row.detail):
            yield Difference(one.row, recorded, now)


def _said(outcome: str, answer: str) -> str:
    """What a message came to, in words that compare."""
    if outcome in _WITHDRAWN:
        return "its caller gave up"
    return f"{outcome}: {answer}" if answer and outcome == "ok" else outcome


def _decoded(row: TraceRow, messages: Mapping[str, type]) -> Any:
    """The message again, or in words why there is none."""
    kind = messages.get(row.message_type)
    if kind is None:
        return f"this actor takes no {row.message_type or 'message without a type'} any more"
    if _ALTERED.search(row.message):
        return "it was redacted or cut when it was recorded"
    try:
        return cast("object", msgspec.convert(msgspec.json.decode(row.message or "{}"), kind))
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        return f"it does not fit the type any more: {error}"
