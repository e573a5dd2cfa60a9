"""What is recorded: without secrets, without end to end loss, and never for ever."""

from dataclasses import dataclass, field
from pathlib import Path

import outcome
import trio
import trio.testing

from september.actors import Message, Trace, span_scope
from september.actors.testing import running
from september.brain.security.secrets import SecretScrubber
from september.config import Secret
from september.errors import SeptemberError
from september.traces.recorder import SILENT, Recorder
from september.traces.render import MESSAGE_LENGTH, Renderer

from ..actors.slots import Admit, TaskSlots

OWN = "correct-horse-battery-staple"
SHAPED = "sk-ant-api03-" + "Ab3" * 30 + "AA"
SCRUBBER = SecretScrubber([OWN])


@dataclass(frozen=True)
class Loaded(Message[None]):
    """A message full of secrets."""

    text: str
    secret: Secret
    api_key: str
    nested: dict[str, object]
    hidden: str = field(default="hidden value", repr=False)
    raw: bytes = b"bytes"


def planted() -> Loaded:
    nested: dict[str, object] = {"list": [f"a {OWN} b", {"deep": SHAPED}], OWN: 1}
    return Loaded(f"the key is {SHAPED}.", Secret(OWN), "plain but a key", nested)


def test_no_planted_secret_gets_into_a_row() -> None:
    trace = Trace()
    recorder = Recorder(trace, Renderer(SCRUBBER.scrub))
    with trace.span(f"GET /{OWN}", planted()) as span:
        span.outcome, span.detail = "error", f"refused {SHAPED} and {OWN}"
    (row,) = recorder.rows(recorder.take(10))
    everything = repr(row)
    for secret in (OWN, SHAPED, SHAPED[:40], "plain but a key", "hidden value"):
        assert secret not in everything
    assert "[redacted]" in row.message and "[secret]" in row.message


def test_a_secret_at_the_cut_is_not_kept_in_part() -> None:
    text = "x" * 390 + " " + SHAPED + " " + "y" * 5000
    assert "sk-ant" not in Renderer(SCRUBBER.scrub).text(text)


def test_half_a_character_costs_itself_and_no_row() -> None:
    trace = Trace()
    recorder = Recorder(trace, Renderer())
    half = "é\udc80"
    with trace.span(half, Loaded(half, Secret(""), "", {half: half})) as span:
        span.outcome, span.detail = "error", half
    (row,) = recorder.rows(recorder.take(10))
    assert (row.path, row.detail) == ("é?", "é?")
    assert '"é?":"é?"' in row.message


def test_a_huge_message_is_kept_in_outline() -> None:
    message = {f"k{n}": ["x" * 300] * 50 for n in range(100)}
    assert len(Renderer().message({"all": message})) <= MESSAGE_LENGTH


def test_loss_under_overload_is_counted_and_told_in_a_row() -> None:
    trace = Trace()
    recorder = Recorder(trace, Renderer(), room=10)
    for _ in range(25):
        with trace.span("work"):
            pass
    assert recorder.losses.overload == 15
    rows = recorder.rows(recorder.take(100))
    assert [row.kind for row in rows].count("span") == 10
    assert rows[-1].kind == "loss" and "15 observations" in rows[-1].detail
    assert recorder.rows(recorder.take(100)) == []


def test_silent_work_is_not_recorded() -> None:
    trace = Trace()
    recorder = Recorder(trace, Renderer())
    with span_scope(SILENT), trace.span("own write"):
        pass
    assert recorder.rows(recorder.take(10)) == []


async def test_a_reader_sleeps_until_there_is_something() -> None:
    trace = Trace()
    recorder = Recorder(trace, Renderer())
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.wait)
            await trio.testing.wait_all_tasks_blocked()
            with trace.span("work"):
                pass


async def test_the_first_message_wakes_a_reader_whatever_another_one_took() -> None:
    trace = Trace()
    asleep, other = Recorder(trace, Renderer()), Recorder(trace, Renderer())
    async with running(TaskSlots(1), trace=trace) as ref, trio.open_nursery() as nursery:
        asleep.take(100)
        nursery.start_soon(asleep.wait)
        await trio.testing.wait_all_tasks_blocked()
        other.take(100)
        with trio.fail_after(5):
            await ref.call(Admit("a"))
            while nursery.child_tasks:
                await trio.lowlevel.checkpoint()
        assert [row.message_type for row in asleep.rows(asleep.take(100))] == ["Admit"]


async def test_messages_under_overload_are_counted_one_by_one() -> None:
    trace = Trace()
    recorder = Recorder(trace, Renderer(), room=10)
    async with running(TaskSlots(1), trace=trace) as ref:
        recorder.take(100)
        for _ in range(25):
            await ref.call(Admit("a"))
        assert (recorder.backlog, recorder.losses.overload) == (10, 15)


@dataclass(frozen=True)
class Went:
    """One way to end."""


@dataclass(frozen=True)
class Stayed:
    """Another."""

    at: Path


@dataclass(frozen=True)
class Over(Message[None]):
    """A message whose parts need their types and a part that is in no text."""

    how: Went | Stayed
    sure: Went
    plain: str = field(default="x", repr=False)
    told: str = field(default="", repr=False)


def test_a_value_says_of_which_of_several_types_it_is() -> None:
    render = Renderer()
    assert render.message(Over(Went(), Went())) == '{"how":{"$type":"Went"},"sure":{}}'
    stayed = render.message(Over(Stayed(Path("/tmp")), Went(), told="s"))
    assert stayed == '{"how":{"$type":"Stayed","at":"/tmp"},"sure":{},"told":"<hidden>"}'


def test_an_answer_says_its_type_and_whether_it_is_an_outcome() -> None:
    render = Renderer()
    assert render.answer([Went()]) == 'list [{"$type":"Went"}]'
    assert render.answer(outcome.Value(None)) == "Value"
    error = SeptemberError("TASK_BUSY", "it is", {"task_id": "t"})
    assert render.answer(outcome.Error(error)) == (
        'Error SeptemberError {"$type":"SeptemberError","code":"TASK_BUSY","message":"it is",'
        '"details":{"task_id":"t"},"retry_after":null}'
    )
