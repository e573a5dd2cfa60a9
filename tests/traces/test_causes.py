"""The faults of the runtime itself, explained; and what an explanation must not do."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing

from september.actors import (
    Actor,
    ActorCrashed,
    ActorError,
    CallTimeout,
    ChildSpec,
    DeadlockDetected,
    Intensity,
    MailboxFull,
    Overflow,
    RestartsExhausted,
    SupervisorSpec,
    Trace,
    Tree,
    running_tree,
    work_span,
)
from september.traces.causes import Causes, Why
from september.traces.outline import outline
from september.traces.recorder import Recorder
from september.traces.render import Renderer
from september.traces.row import TraceRow
from tests.actors.probe import Boom, Do, Note, Probe, ProbeMessage


class Seen:
    """A trace, and what a recorder makes of it."""

    def __init__(self) -> None:
        self.trace = Trace()
        self.recorder = Recorder(self.trace, Renderer())
        self._rows: list[TraceRow] = []

    @property
    def rows(self) -> list[TraceRow]:
        self._rows += self.recorder.rows(self.recorder.take(10_000))
        return self._rows

    def why(self, kind: str, path: str = "") -> Why:
        subject = [row for row in self.rows if row.kind == kind and row.path.endswith(path)][-1]
        return Causes(self.rows).explain(subject)


@asynccontextmanager
async def tree_of(seen: Seen, *children: ChildSpec[ProbeMessage]) -> AsyncGenerator[Tree]:
    async with running_tree(SupervisorSpec("root", children), trace=seen.trace) as tree:
        yield tree


async def crash(_: Actor[ProbeMessage]) -> None:
    raise Boom("injected")


async def test_6_a_mailbox_that_is_full() -> None:
    seen, child = Seen(), ChildSpec[ProbeMessage]("a", Probe, mailbox=1, overflow=Overflow.FAIL)
    async with tree_of(seen, child) as tree:
        with seen.trace.span("flood"), pytest.raises(MailboxFull):
            for _ in range(3):
                tree.ref(child).cast(Note("x"))
        why = seen.why("dead_letter")
    assert "mailbox full" in why.verdict and "root/a" in why.verdict


async def test_7_a_deadline_that_is_missed(autojump_clock: trio.testing.MockClock) -> None:
    seen, child = Seen(), ChildSpec[ProbeMessage]("a", Probe)

    async def sleep(_: Probe) -> None:
        await trio.sleep(10)

    async with tree_of(seen, child) as tree:
        with seen.trace.span("request") as span, suppress(CallTimeout):
            try:
                await tree.ref(child).call(Do(sleep), timeout=1)
            except CallTimeout:
                span.outcome = "CallTimeout"
                raise
        why = seen.why("span", "request")
    assert [step.kind for step in why.steps] == ["span", "deadline"]
    assert "root/a did not answer in time" in why.verdict


async def test_8_a_deadlock() -> None:
    seen = Seen()
    first, second = ChildSpec[ProbeMessage]("a", Probe), ChildSpec[ProbeMessage]("b", Probe)
    async with tree_of(seen, first, second) as tree:
        ref_a, ref_b = tree.ref(first), tree.ref(second)

        async def back(_: Probe) -> None:
            await ref_a.call(Note("x"))

        async def over(_: Probe) -> None:
            await ref_b.call(Do(back))

        with seen.trace.span("request"), suppress(ActorError, DeadlockDetected):
            await ref_a.call(Do(over))
        why = seen.why("span", "request")
    assert why.steps[-1].kind == "deadlock"
    assert "deadlock: root/b -> root/a -> root/b" in why.verdict


async def test_9_a_storm_of_restarts_goes_back_to_the_crash_and_its_message() -> None:
    seen, child = Seen(), ChildSpec[ProbeMessage]("a", Probe)
    spec = SupervisorSpec("root", (child,), intensity=Intensity(restarts=0, seconds=60))
    with suppress(RestartsExhausted):
        async with running_tree(spec, trace=seen.trace) as tree:
            with suppress(ActorCrashed):
                await tree.ref(child).call(Do(crash))
            with trio.fail_after(5):
                await trio.sleep_forever()
    why = seen.why("gave_up")
    assert [step.kind for step in why.steps] == ["gave_up", "crash"]
    assert "injected" in why.verdict
    assert why.origin[0].message_type == "Do"


async def test_a_crash_caused_by_another_actors_crash_is_explained_by_that_one() -> None:
    seen = Seen()
    first, second = ChildSpec[ProbeMessage]("a", Probe), ChildSpec[ProbeMessage]("b", Probe)
    async with tree_of(seen, first, second) as tree:
        ref_b = tree.ref(second)

        async def through(_: Probe) -> None:
            await ref_b.call(Do(crash))

        with suppress(ActorCrashed):
            await tree.ref(first).call(Do(through))
        why = seen.why("crash", "/a")
    assert why.steps[-1].kind == "crash" and why.steps[-1].path == "root/b"


async def test_what_went_well_is_not_blamed_on_anybody() -> None:
    seen, child = Seen(), ChildSpec[ProbeMessage]("a", Probe)
    async with tree_of(seen, child) as tree:
        with seen.trace.span("request"):
            await tree.ref(child).call(Note("x"))
        why = seen.why("span", "request")
    assert why.verdict == "request: nothing went wrong here (ok)"
    assert why.also == ()


async def test_work_inside_an_actor_is_a_span_with_its_failure() -> None:
    seen, child = Seen(), ChildSpec[ProbeMessage]("a", Probe)

    async def work(_: Probe) -> None:
        with suppress(Boom), work_span("chat", Note("payload")):
            raise Boom("in the middle")

    async with tree_of(seen, child) as tree:
        await tree.ref(child).call(Do(work))
        (chat,) = [row for row in seen.rows if row.path == "chat"]
    assert (chat.outcome, chat.detail) == ("Boom", "in the middle")
    assert chat.message == '{"text":"payload"}'
    (message,) = [row for row in seen.rows if row.message_type == "Do"]
    assert chat.parent_id == message.span_id


async def test_an_outline_has_every_row_below_its_cause_and_shows_gaps() -> None:
    seen, child = Seen(), ChildSpec[ProbeMessage]("a", Probe)
    async with tree_of(seen, child) as tree:
        with seen.trace.span("request"), suppress(ActorCrashed):
            await tree.ref(child).call(Do(crash))
        rows = seen.rows
    lines = outline(rows)
    assert len(lines) == len(rows)
    assert not any(line.gap for line in lines)
    without = [row for row in rows if row.message_type != "Do"]
    assert any(line.gap for line in outline(without))
