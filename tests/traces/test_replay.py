"""Replay of a mailbox: the same code answers the same; other code is told at its first answer."""

from pathlib import Path
from typing import Any

import trio

from september.actors import Reply, SupervisorSpec, Trace, running_tree
from september.actors.child import ChildSpec
from september.brain.coordinator.slots import (
    Admission,
    Admit,
    AwaitSlot,
    CountSlots,
    Full,
    Release,
    SlotMessage,
    TaskSlots,
)
from september.brain.raven.queries import mailbox
from september.traces.recorder import Recorder
from september.traces.render import Renderer
from september.traces.replay import replay
from september.traces.row import TraceRow
from tests.brain.raven.stage import recorded

MESSAGES: dict[str, type] = {
    kind.__name__: kind for kind in (Admit, AwaitSlot, Release, CountSlots)
}
RENDER = Renderer()


class Unfair(TaskSlots):
    """A later version with a bug: whoever asks is told that nobody is ahead."""

    async def handle(self, msg: SlotMessage) -> Any:
        answer = await super().handle(msg)
        if isinstance(answer, Reply) and isinstance(answer.value, Admission):
            return Reply(Admission(ahead=0))
        return answer


async def recorded_slots() -> list[TraceRow]:
    """Three turns for one slot: one runs, one waits, one gives up, one is refused."""
    trace = Trace()
    recorder = Recorder(trace, RENDER)
    spec: ChildSpec[SlotMessage] = ChildSpec("slots", lambda: TaskSlots(1, 2))
    async with running_tree(SupervisorSpec("t", (spec,)), trace=trace) as tree:
        slots = tree.ref(spec)
        for turn in ("a", "b", "c"):
            assert isinstance(await slots.call(Admit(turn)), Admission)
        assert isinstance(await slots.call(Admit("d")), Full)
        await slots.call(AwaitSlot("a"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slots.call, AwaitSlot("b"))
            with trio.move_on_after(0.05):
                await slots.call(AwaitSlot("c"))
            await slots.call(Release("c"))
            await slots.call(Release("a"))
        await slots.call(CountSlots())
    rows = recorder.rows(recorder.take(1000))
    rows = [row for row in rows if row.kind == "message" and row.path == "t/slots"]
    return [row for row in rows if row.message_type in MESSAGES]


async def test_the_same_code_replays_to_the_same_answers() -> None:
    rows = await recorded_slots()
    told = await replay(rows, lambda: TaskSlots(1, 2), MESSAGES, RENDER)
    assert told.fed == len(rows) >= 9
    assert told.difference is None and told.unfed == []


async def test_changed_behaviour_is_told_at_its_first_difference() -> None:
    told = await replay(await recorded_slots(), lambda: Unfair(1, 2), MESSAGES, RENDER)
    assert told.difference is not None
    assert told.difference.row.message == '{"turn":"b","always":false}'
    assert told.difference.recorded == 'ok: Admission {"ahead":1}'
    assert told.difference.now == 'ok: Admission {"ahead":0}'


async def test_an_answer_that_comes_no_more_is_a_difference() -> None:
    told = await replay(await recorded_slots(), lambda: TaskSlots(0, 3), MESSAGES, RENDER)
    assert told.difference is not None


async def test_what_was_redacted_or_is_unknown_is_told_and_not_guessed() -> None:
    rows = await recorded_slots()
    altered = Renderer(lambda text: text.replace("b", "[redacted]"))
    trace = Trace()
    recorder = Recorder(trace, altered)
    spec: ChildSpec[SlotMessage] = ChildSpec("slots", lambda: TaskSlots(1, 2))
    async with running_tree(SupervisorSpec("t", (spec,)), trace=trace) as tree:
        await tree.ref(spec).call(Admit("b"))
    hidden = [row for row in recorder.rows(recorder.take(99)) if row.message_type == "Admit"]
    types = {name: kind for name, kind in MESSAGES.items() if name != "CountSlots"}
    told = await replay([*rows, *hidden], lambda: TaskSlots(1, 2), types, RENDER)
    reasons = {row.message_type: why for row, why in told.unfed}
    assert "redacted" in reasons["Admit"] and "no CountSlots" in reasons["CountSlots"]


async def test_the_slots_of_a_recorded_engine_replay_to_the_same(tmp_path: Path) -> None:
    slow = {"steps": [{"text": "Well then. " * 5, "delay_ms": 5}]}
    async with recorded(tmp_path, slow, TASK_SLOTS="2") as stage:
        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(stage.turn, "go", f"task-{number}")
        await stage.get("/traces")
        rows = await stage.engine.database.read(lambda db: mailbox(db, "engine/tasks/slots", None))
    assert len(rows) >= 18
    same = await replay(rows, lambda: TaskSlots(2, 64), MESSAGES, RENDER)
    assert same.difference is None and same.unfed == []
    other = await replay(rows, lambda: TaskSlots(1, 64), MESSAGES, RENDER)
    assert other.difference is not None
