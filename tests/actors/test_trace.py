"""The trace: every step is observed at one place, with its cause."""

from itertools import count

import pytest
import trio
import trio.testing

from september.actors import (
    ActorCrashed,
    CallTimeout,
    DynamicSpec,
    Kind,
    Record,
    Restart,
    StartFailed,
    SupervisorSpec,
    Trace,
    current_span,
    parse_traceparent,
    running_tree,
    span_scope,
)
from september.actors.cell import Envelope
from september.actors.testing import running
from september.actors.trace import Traced

from .probe import Boom, Do, DoLater, Note, Probe, ProbeMessage, crash, nothing, probe
from .slots import Admit, TaskSlots


def of_kind(trace: Trace, kind: Kind) -> list[Record]:
    """Pick the records of one kind."""
    return [record for record in trace.recent() if record.kind is kind]


async def test_a_message_span_says_who_what_how_long_and_how_it_ended() -> None:
    ticks = count()
    trace = Trace(clock=lambda: float(next(ticks)))
    async with running(Probe(), trace=trace) as ref:
        await ref.call(Note("hello"))
    (record,) = [one for one in trace.recent() if one.message_type == "Note"]
    assert record.kind is Kind.MESSAGE
    assert record.path == "test/actor"
    assert record.incarnation == 1
    assert record.message == Note("hello")
    assert record.outcome == "ok"
    assert record.wait_us > 0
    assert record.handling_us > 0
    assert len(record.trace_id) == 32
    assert len(record.span_id) == 16
    assert record.parent_id == ""


async def test_a_message_is_never_rendered_unless_somebody_reads_the_trace() -> None:
    class Loud(Note):
        def __repr__(self) -> str:
            pytest.fail("rendered on the hot path")

    async with running(Probe(), trace=Trace()) as ref:
        await ref.call(Loud("x"))
        ref.cast(Loud("y"))


async def test_spans_follow_the_calls_and_casts_that_caused_them() -> None:
    a, b, c = probe("a"), probe("b"), probe("c")
    trace = Trace()
    async with running_tree(SupervisorSpec("root", (a, b, c)), trace=trace) as tree:
        ref_b, ref_c = tree.ref(b), tree.ref(c)

        async def in_a(_: Probe) -> None:
            await ref_b.call(Note("called"))
            ref_c.cast(Note("cast"))

        with span_scope() as scope:
            await tree.ref(a).call(Do(in_a))
        await ref_c.call(Note("end"))
    whole = [one for one in trace.recent() if one.trace_id == f"{scope.trace_id:032x}"]
    spans = {record.path: record for record in whole}
    assert spans["root/a"].parent_id == f"{scope.span_id:016x}"
    assert spans["root/b"].parent_id == spans["root/a"].span_id
    assert spans["root/c"].parent_id == spans["root/a"].span_id


async def test_long_work_keeps_its_own_span_while_the_inbox_moves_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    seen: list[int] = []

    async def work() -> None:
        for _ in range(3):
            span = current_span()
            assert span is not None
            seen.append(span.span_id)
            await trio.sleep(1)

    async with running(Probe(), trace=Trace()) as ref, trio.open_nursery() as nursery:
        nursery.start_soon(ref.call, DoLater(work))
        for _ in range(5):
            await trio.sleep(0.5)
            await ref.call(Note("x"))
    assert len(seen) == 3
    assert len(set(seen)) == 1


async def test_supervision_events_name_their_cause_back_to_the_message(
    autojump_clock: trio.testing.MockClock,
) -> None:
    child, trace = probe("a"), Trace()
    async with running_tree(SupervisorSpec("root", (child,)), trace=trace) as tree:
        with span_scope() as scope, pytest.raises(ActorCrashed):
            await tree.ref(child).call(Do(crash))
        await tree.ref(child).call(Note("back"))
    by_id = {record.span_id: record for record in trace.recent()}
    (spawned,) = [r for r in of_kind(trace, Kind.SPAWN) if r.incarnation == 2]
    chain = [spawned]
    while chain[-1].parent_id in by_id:
        chain.append(by_id[chain[-1].parent_id])
    assert [record.kind for record in chain] == [
        Kind.SPAWN,
        Kind.RESTART,
        Kind.CRASH,
        Kind.MESSAGE,
    ]
    assert chain[-1].parent_id == f"{scope.span_id:016x}"
    assert {record.trace_id for record in chain} == {f"{scope.trace_id:032x}"}


async def test_no_record_has_a_parent_that_was_never_observed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    a, b = probe("a"), probe("b", restart=Restart.TEMPORARY)
    trace = Trace()
    async with running_tree(SupervisorSpec("root", (a, b)), trace=trace) as tree:
        ref_a, ref_b = tree.ref(a), tree.ref(b)
        await ref_a.call(Do(lambda _: ref_b.call(Note("x"))))
        ref_b.cast(Do(crash))
        await ref_b.wait_stopped()
        ref_b.cast(Note("dead letter"))
        ref_a.cast(Do(crash))
        await ref_a.call(Note("back"))
        with trace.span("request"):
            with pytest.raises(CallTimeout):
                await ref_a.call(Do(nothing), timeout=0)
    known = {record.span_id for record in trace.recent()}
    assert {record.parent_id for record in trace.recent()} - known == {""}
    assert trace.counts[Kind.DEAD_LETTER] == trace.counts[Kind.DEADLINE] == 1


async def test_a_child_that_cannot_even_be_made_leaves_no_gap() -> None:
    def refuse() -> Probe:
        raise Boom

    children = DynamicSpec[ProbeMessage]("children")
    trace = Trace()
    async with running_tree(SupervisorSpec("root", (children,)), trace=trace) as tree:
        with pytest.raises(StartFailed), trace.span("request"):
            await tree.ref(children).start("child", refuse)
    known = {record.span_id for record in trace.recent()}
    assert {record.parent_id for record in trace.recent()} - known == {""}
    (birth,) = [one for one in trace.recent() if one.message_type == "Started"]
    assert birth.outcome == "crashed"


async def test_work_that_is_no_message_can_be_a_span_of_the_same_trace() -> None:
    trace = Trace()
    async with running(Probe(), trace=trace) as ref:
        with trace.span("POST /execute", traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01") as span:
            await ref.call(Note("x"))
            span.detail = "200"
        with pytest.raises(Boom), trace.span("tool"):
            raise Boom
    request, tool = of_kind(trace, Kind.SPAN)
    (message,) = [one for one in trace.recent() if one.message_type == "Note"]
    assert request.trace_id == message.trace_id == "ab" * 16
    assert message.parent_id == request.span_id
    assert (request.path, request.parent_id, request.detail) == ("POST /execute", "cd" * 8, "200")
    assert (tool.path, tool.outcome) == ("tool", "Boom")


async def test_every_kind_of_message_end_has_its_outcome(
    autojump_clock: trio.testing.MockClock,
) -> None:
    child, trace = probe("a"), Trace()
    async with running_tree(SupervisorSpec("root", (child,)), trace=trace) as tree:
        ref = tree.ref(child)
        await ref.call(Note("x"))
        with pytest.raises(ActorCrashed):
            await ref.call(Do(crash))
        with trio.move_on_after(0.5):
            await ref.call(DoLater(trio.sleep_forever))
        await ref.call(Do(nothing))
    outcomes = {(r.message_type, r.outcome) for r in of_kind(trace, Kind.MESSAGE)}
    assert outcomes == {
        ("Started", "ok"),
        ("Stopping", "ok"),
        ("Note", "ok"),
        ("Do", "ok"),
        ("Do", "crashed"),
        ("DoLater", "withdrawn"),
    }


async def test_a_trace_can_be_off_and_spans_still_propagate() -> None:
    async with running(Probe()) as ref:
        seen: list[str] = []

        async def note_span(_: Probe) -> None:
            span = current_span()
            assert span is not None
            seen.append(f"{span.trace_id:032x}")

        with span_scope("00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"):
            await ref.call(Do(note_span))
    assert seen == ["ab" * 16]


async def test_the_ring_is_bounded_and_the_counters_are_not() -> None:
    trace = Trace(keep=10)
    async with running(TaskSlots(1), trace=trace) as ref:
        for _ in range(100):
            await ref.call(Admit("a"))
    assert len(trace.recent()) == 10
    assert trace.counts[Kind.MESSAGE] >= 100


async def test_sinks_see_everything_and_a_broken_one_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[Traced] = []

    def broken(_: Traced) -> None:
        raise Boom

    trace = Trace(sinks=(broken, seen.append))
    async with running(Probe(), trace=trace) as ref:
        await ref.call(Note("x"))
    assert [one.record().kind for one in seen] == [one.kind for one in trace.recent()]
    assert "sink failed" in caplog.text


async def test_a_detached_sink_sees_nothing_more() -> None:
    seen: list[Traced] = []
    sink = seen.append
    trace = Trace()
    trace.attach(sink)
    trace.detach(sink)
    async with running(Probe(), trace=trace):
        pass
    assert seen == []


async def test_a_crash_in_work_beside_the_inbox_is_caused_by_its_message(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trace = Trace()
    child = probe("child")
    async with running_tree(SupervisorSpec("root", (child,)), trace=trace) as tree:
        with pytest.raises(ActorCrashed):
            await tree.ref(child).call(DoLater(crash))
        await tree.ref(child).call(Note("back"))
    seen = trace.recent()
    (died,) = [one for one in seen if one.kind is Kind.CRASH]
    (killer,) = [one for one in seen if one.message_type == "DoLater"]
    assert died.parent_id == killer.span_id and killer.outcome == "crashed"


async def test_the_trace_keeps_neither_answers_nor_crashes_alive() -> None:
    child, trace = probe("a", restart=Restart.TEMPORARY), Trace()
    kept: list[Traced] = []
    trace.attach(kept.append)
    async with running_tree(SupervisorSpec("root", (child,)), trace=trace) as tree:
        await tree.ref(child).call(Do(nothing))
        with pytest.raises(ActorCrashed):
            await tree.ref(child).call(Do(crash))
    envelopes = [one for one in kept if isinstance(one, Envelope)]
    assert len(envelopes) >= 3
    assert not any(getattr(one, "error", None) or getattr(one, "value", None) for one in envelopes)


@pytest.mark.parametrize(
    ("header", "parsed"),
    [
        (f"00-{'0' * 31}1-{'0' * 15}2-01", (1, 2)),
        (f"01-{'0' * 31}1-{'0' * 15}2-01-what-the-future-holds", (1, 2)),
        (f"00-{'0' * 31}1-{'0' * 15}2-01-more", None),
        (f"ff-{'0' * 31}1-{'0' * 15}2-01", None),
        (f"00-{'0' * 32}-{'0' * 15}2-01", None),
        (f"00-{'0' * 31}1-{'0' * 16}-01", None),
        (f"00-{'A' * 32}-{'0' * 15}2-01", None),
        ("", None),
        ("nonsense", None),
    ],
)
def test_a_traceparent_is_read_by_the_rules_of_w3c(
    header: str, parsed: tuple[int, int] | None
) -> None:
    assert parse_traceparent(header) == parsed


def test_a_scope_continues_a_foreign_trace_and_writes_its_own_header() -> None:
    with span_scope(f"00-{'ab' * 16}-{'cd' * 8}-01") as scope:
        assert current_span() is scope
        assert scope.traceparent.startswith(f"00-{'ab' * 16}-")
        again = parse_traceparent(scope.traceparent)
        assert again == (scope.trace_id, scope.span_id)
        with span_scope("malformed") as inner:
            assert inner.parent_id == scope.span_id
    assert current_span() is None
