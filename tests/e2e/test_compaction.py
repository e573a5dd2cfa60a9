"""Long conversations stay within the window, lose no fact, and survive a crash (U9)."""

import sys
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL

import pytest
import trio

from september.brain.store.connection import Row
from tests.peers import Call, Find, Part, Peer, Script, provider_peer, script

from .brain import rows, statuses, unpaired
from .client import Client, named, phases, text_of
from .figures import FIGURES
from .harness import engine_process, peered
from .served import served
from .stage import Stage, check_brain, each_provider, staged

DOG = Find(r"(?i)my dog is called (\w+)", otherwise="I do not know your dog.")
"""A model that knows the dog's name only while it is shown where the person said it."""

DEADLINE_S = 20.0
WINDOW = 9_000
SMALL = {
    "LLM_CONTEXT_WINDOW": str(WINDOW),
    "MAX_TOKENS": "500",
    "COMPACT_TIMEOUT_S": str(DEADLINE_S),
}
"""A window in which some twenty turns fit."""

SUMMARIES = """
name = "summaries"
[[rule]]
system = "You condense a conversation"
match = '(?s)<conversation>\\n(?P<begin>.{0,200})'
steps = [{ text = '{"summary": "The talk went on. It began so: a chat about the weather."}' }]
"""
"""A light model with rules of its own: it condenses, and forgets every fact."""

SILENCE = """
[[rule]]
system = "You condense a conversation"
steps = [{ fault = "stall" }]
"""
"""A light model that hangs when it is asked for a summary."""

DOOMED = Path(__file__).with_name("doomed.py")


def chat(number: int) -> str:
    """A message of about 150 tokens that states nothing."""
    return f"Message {number}. " + f"How would you put thought {number} into other words? " * 11


def light(folder: Path, script: str = SUMMARIES) -> dict[str, str]:
    """Settings of a light model that plays these rules."""
    rules = folder / "light.toml"
    rules.write_text(script)
    return {"LIGHT_MODEL": "scripted:light", "SCRIPTED_RULES": str(rules)}


def windowed(*replies: Part | Sequence[Part], repeat: bool = False) -> Script:
    """A script whose model refuses, in its provider's words, what exceeds the window."""
    return script(*replies, repeat=repeat, window=WINDOW)


def compactions(brain: Path) -> list[Row]:
    """Tokens before and after, and the author, of every compaction."""
    return rows(brain, "SELECT tokens_before, tokens_after, author FROM compactions ORDER BY id")


async def test_u9_a_fact_of_turn_3_is_answerable_at_turn_300(tmp_path: Path) -> None:
    slowest = 0.0
    async with staged(
        "anthropic", windowed(DOG, repeat=True), tmp_path, **SMALL, **light(tmp_path)
    ) as stage:
        for number in range(1, 301):
            message = "By the way, my dog is called Biscuit." if number == 3 else chat(number)
            began = trio.current_time()
            events = await stage.client.turn(message)
            slowest = max(slowest, trio.current_time() - began)
            assert phases(events) == ["started", "completed"], events
            assert text_of(events) == ("Biscuit" if number >= 3 else "I do not know your dog.")
            for event in named(events, "compaction_event"):
                assert event["after_tokens"] < event["before_tokens"] <= WINDOW
        assert all(not request.refused for request in stage.peer.requests)
        assert len(await stage.client.messages()) == 600, "nothing is deleted"
        done = compactions(stage.brain)
        assert len(done) > 5
        assert {author for _, _, author in done} == {"scripted:summaries (no language model)"}
        assert slowest < DEADLINE_S
        FIGURES["300 turns: compactions, slowest turn"] = f"{len(done)}, {slowest * 1000:.0f} ms"


async def test_what_no_summary_can_hold_any_more_comes_back_from_memory(tmp_path: Path) -> None:
    """Each of 90 turns states something: more than a summary may take. Turn 3 is asked for."""
    dog = Find(r"(?i)dog(?: is called|'s name is) (\w+)", otherwise="I do not know your dog.")
    env = {**SMALL, "LLM_CONTEXT_WINDOW": "7000", **light(tmp_path)}
    async with staged("anthropic", windowed(dog, repeat=True), tmp_path, **env) as stage:
        for number in range(1, 91):
            told = "My dog is called Biscuit." if number == 3 else f"I own a boat of type {number}."
            await stage.client.turn(f"{told} {chat(number)}")
        summaries = rows(stage.brain, "SELECT summary FROM compactions ORDER BY id DESC LIMIT 1")
        assert "Biscuit" not in summaries[0][0], "the newest statements took its place"
        events = await stage.client.turn("What is the name of my dog?")
        assert text_of(events) == "Biscuit"
        assert "knowledge" in {
            item["store"] for found in named(events, "memory_retrieval") for item in found["items"]
        }


@each_provider
async def test_u9_tools_and_a_light_model_that_hangs_do_not_poison_the_transcript(
    provider: str, tmp_path: Path
) -> None:
    """Results of tools are shown in part; past the deadline the words themselves are drawn on."""
    big = Call("bash", {"command": "seq 1 2500"})
    steps: tuple[Sequence[Part], ...] = ((big,), (big, big), (DOG,))
    env = {**SMALL, **light(tmp_path, SILENCE), "COMPACT_TIMEOUT_S": "0.3"}
    async with staged(provider, windowed(DOG, *steps * 8), tmp_path, **env) as stage:
        await stage.client.turn("My dog is called Biscuit.")
        for number in range(8):
            events = await stage.client.turn(chat(number) * 4)
            assert phases(events) == ["started", "completed"], events
            assert text_of(events) == "Biscuit"
        done = compactions(stage.brain)
        assert len(done) >= 3
        assert {author for _, _, author in done} == {"", "extract"}
        assert [row for row in done if row[1] >= row[0]] == []


@each_provider
async def test_the_providers_own_verdict_condenses_and_repeats_the_call(
    provider: str, tmp_path: Path
) -> None:
    """The Engine believes in a larger window than there is: the call overflows, and is repeated."""
    env = {**SMALL, "LLM_CONTEXT_WINDOW": "40000", **light(tmp_path)}
    async with staged(provider, windowed(DOG, repeat=True), tmp_path, **env) as stage:
        await stage.client.turn("My dog is called Biscuit.")
        for number in range(8):
            events = await stage.client.turn(chat(number) * 8)
            assert phases(events) == ["started", "completed"], events
            assert text_of(events) == "Biscuit"
        assert compactions(stage.brain)


async def test_without_compaction_a_full_context_is_an_error(tmp_path: Path) -> None:
    env = {**SMALL, "REACTIVE_COMPACT_ENABLED": "false"}
    async with staged("openai", windowed(DOG, repeat=True), tmp_path, **env) as stage:
        await overflow(stage)
        assert compactions(stage.brain) == []


async def test_u9_where_nothing_helps_the_turn_errs_and_the_transcript_is_as_it_was(
    tmp_path: Path,
) -> None:
    async with staged("anthropic", windowed(DOG, repeat=True), tmp_path, **SMALL) as stage:
        await stage.client.turn("My dog is called Biscuit.")
        before = rows(stage.brain, "SELECT * FROM messages ORDER BY seq")
        events = await stage.client.turn("word " * 12_000)
        assert [error["error"] for error in named(events, "error")] == ["CONTEXT_OVERFLOW"]
        after = rows(stage.brain, "SELECT * FROM messages ORDER BY seq")
        assert after[: len(before)] == before
        asked = after[-1][1]
        events = await stage.client.turn("Is it short now?", edit_message_id=asked)
        assert text_of(events) == "Biscuit"


async def overflow(stage: Stage) -> None:
    """Talk until the context does not fit."""
    for number in range(12):
        events = await stage.client.turn(chat(number) * 8)
        if errors := named(events, "error"):
            assert [error["error"] for error in errors] == ["CONTEXT_OVERFLOW"]
            return
    raise AssertionError("it never overflowed")


async def test_a_condensed_message_can_be_edited_and_retried(tmp_path: Path) -> None:
    env = {**SMALL, **light(tmp_path)}
    async with staged("anthropic", windowed(DOG, repeat=True), tmp_path, **env) as stage:
        for number in range(1, 60):
            text = "My dog is called Biscuit." if number == 20 else chat(number)
            await stage.client.turn(text)
        assert len(compactions(stage.brain)) >= 2
        messages = await stage.client.messages()
        told = next(one for one in messages if "Biscuit" in str(one["blocks"]))
        events = await stage.client.turn(
            "My dog is called Rex.", edit_message_id=told["message_id"]
        )
        assert text_of(events) == "Rex", "what was replaced is in no summary any more"
        assert await stage.client.messages() != messages
        events = await stage.client.turn("Again.", retry_message_id=messages[0]["message_id"])
        assert text_of(events) == "I do not know your dog."
        assert compactions(stage.brain) == []


@pytest.mark.parametrize("step", ["unwritten", "written"])
async def test_u9_a_kill_while_condensing_leaves_the_old_state_or_the_new(
    step: str, tmp_path: Path
) -> None:
    launch = (sys.executable, str(DOOMED), step, "compaction_event")
    async with provider_peer("anthropic", windowed(DOG, repeat=True)) as peer:
        env = peered(tmp_path, peer, **SMALL, **light(tmp_path))
        brain = tmp_path / "brain.sqlite"
        async with engine_process(env, launch) as doomed, Client(doomed.url) as client:
            await client.turn("My dog is called Biscuit.")
            await talk_to_the_end(client, peer)
            assert await doomed.stopped() == -SIGKILL
        events = rows(brain, "SELECT 1 FROM channel_events WHERE type = 'compaction_event'")
        assert len(compactions(brain)) == len(events) == (step == "written")
        async with served(env) as engine:
            events_after = await engine.client.turn("And now?")
            assert text_of(events_after) == "Biscuit"
        assert statuses(brain)[-2:] == ["errored", "completed"]
        assert unpaired(brain) == []
    check_brain(brain)


async def talk_to_the_end(client: Client, peer: Peer) -> None:
    """Talk until the Engine is dead."""
    for number in range(12):
        try:
            events = await client.turn(chat(number) * 8)
        except (OSError, trio.BrokenResourceError):
            return
        if "completed" not in phases(events):
            return
    raise AssertionError(f"it lives on after {len(peer.requests)} requests")
