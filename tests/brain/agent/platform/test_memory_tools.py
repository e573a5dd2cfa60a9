"""What the agent writes to memory is found again, once."""

from typing import Protocol

from september.brain.agent.platform.tools import platform_tools
from september.brain.agent.tools import ToolContext, ToolOutput
from september.brain.channels.events import Event, WorkingMemoryUpdate
from september.brain.clock import now_ms
from september.brain.memory import episodes, knowledge
from september.brain.memory.knowledge import Fact


class Desk(Protocol):
    context: ToolContext
    events: list[Event]

    def of_task(self, task_id: str) -> "Desk": ...

    async def __call__(self, tool: str, **arguments: object) -> ToolOutput: ...


async def test_an_episode_is_written_once_however_often_the_call_is_repeated(desk: Desk) -> None:
    answers = [
        await desk(
            "memory_episode_write", key="deploy", description="Staging failed", value="disk full"
        )
        for _ in range(3)
    ]
    found = await desk.context.database.read(lambda c: episodes.recent(c, 10))
    assert [(e.key, e.value, e.source) for e in found] == [("deploy", "disk full", "turn:turn-1")]
    assert {each.text for each in answers} == {f"remembered as {found[0].id}"}


async def test_knowledge_is_found_by_its_words(desk: Desk) -> None:
    now = now_ms()

    def fact(number: int, content: str) -> Fact:
        return Fact(f"kn-{number}", "dates", content, "rule", 0.9, "test", now - 1, None, now)

    await desk.context.database.write(lambda c: knowledge.add(c, fact(1, "ISO dates are liked")))
    await desk.context.database.write(lambda c: knowledge.add(c, fact(2, "tea, not coffee")))
    output = await desk("knowledge_search", query="which date format?")
    assert "ISO dates are liked (rule, confidence 0.9)" in output.text
    one = await desk("knowledge_search", query="coffee", limit=1)
    assert one.text == "- dates: tea, not coffee (rule, confidence 0.9)"
    assert (await desk("knowledge_search", query="!?*")).text == "nothing is known about that"


async def test_a_note_is_seen_in_its_task_and_told_as_an_event(desk: Desk) -> None:
    await desk("working_memory_set", key="plan", value="first this")
    await desk("working_memory_set", key="next", value="then that")
    await desk("working_memory_set", key="plan", value="this instead")
    assert (await desk("working_memory_get", key="plan")).text == "this instead"
    assert (await desk("working_memory_get")).text == "next: then that\nplan: this instead"
    assert (await desk.of_task("task-2")("working_memory_get")).text == "no notes"
    told = [e for e in desk.events if isinstance(e, WorkingMemoryUpdate)]
    assert [(e.key, e.value) for e in told][-1] == ("plan", "this instead")


async def test_an_empty_value_erases_a_note(desk: Desk) -> None:
    await desk("working_memory_set", key="plan", value="x")
    assert (await desk("working_memory_set", key="plan", value="")).text == "erased plan"
    missing = await desk("working_memory_get", key="plan")
    assert (missing.error, missing.text) == (
        "not_found",
        "there is no note 'plan'; there are: none",
    )
    assert isinstance(desk.events[-1], WorkingMemoryUpdate)
    assert desk.events[-1].value is None


async def test_notes_expire(desk: Desk) -> None:
    brief = platform_tools(working_memory_lifetime_s=0)["working_memory_set"]
    await brief.run({"key": "gone", "value": "at once"}, desk.context)
    assert (await desk("working_memory_get")).text == "no notes"
