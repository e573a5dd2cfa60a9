"""A summary is made by a model if one answers, in parts if need be, and else from the words."""

from collections.abc import Mapping

import pytest

from september.brain.agent.compaction.digest import TOLD, digest, prose, told
from september.brain.agent.compaction.sizing import Scale
from september.brain.agent.compaction.summary import NoSummary, Summariser, parts
from september.brain.agent.transcript import StoredMessage
from september.brain.herald.conversation import ChatMessage, TextBlock
from september.brain.herald.route import Models, Target
from tests.brain.herald.stage import MAIN, Stage, provider

LIGHT = Target("scripted", "light-model")
SUMMARY = '{"summary": "They talked about boats, number by number."}'


def talk(turns: int, words: int = 30) -> list[StoredMessage]:
    """A conversation about boats."""
    found: list[StoredMessage] = []
    for number in range(turns):
        for role, text in (("user", f"I own a boat of type {number}."), ("assistant", "boat ")):
            said = ChatMessage(
                "user" if role == "user" else "assistant", (TextBlock(text * words),)
            )
            found.append(StoredMessage(len(found) + 1, f"m{len(found)}", "t", said, 0))
    return found


def stage(*rules: Mapping[str, object], window: int = 100_000) -> Stage:
    """Scripted models, the light one first."""
    made = Stage(provider(*rules))
    made.models = Models(main=MAIN, light=LIGHT, window_override=window)
    return made


async def test_light_model_summarises_and_its_answer_is_named() -> None:
    async with stage({"model": "light", "steps": [{"text": SUMMARY}]}).running() as gateway:
        summariser = Summariser(gateway, Scale(), 200)
        text, author = await summariser.summarise("", talk(3))
        assert text == "They talked about boats, number by number."
        assert author.startswith("scripted:test")
        assert len(summariser.calls) == 1


async def test_the_main_model_takes_over_from_a_light_one_that_fails() -> None:
    rules = ({"model": "light", "steps": [{"fault": "auth"}]}, {"steps": [{"text": SUMMARY}]})
    async with stage(*rules).running() as gateway:
        text, _ = await Summariser(gateway, Scale(), 200).summarise("", talk(3))
        assert text == "They talked about boats, number by number."


async def test_what_exceeds_the_window_is_summarised_in_parts() -> None:
    made = stage({"steps": [{"text": SUMMARY}]}, window=2_000)
    async with made.running() as gateway:
        summariser = Summariser(gateway, Scale(), 100)
        gone = talk(40)
        await summariser.summarise("", gone)
        assert len(summariser.calls) > 5
        for call in summariser.calls:
            assert call.usage.input_tokens < 2_000, "head-room is left"


async def test_a_part_that_overflows_all_the_same_is_taken_in_halves() -> None:
    overflow = {"match": "type 1[.]", "times": 2, "steps": [{"fault": "context_overflow"}]}
    async with stage(overflow, {"steps": [{"text": SUMMARY}]}).running() as gateway:
        summariser = Summariser(gateway, Scale(), 200)
        text, _ = await summariser.summarise("", talk(4))
        assert text == "They talked about boats, number by number."
        assert len(summariser.calls) >= 2


@pytest.mark.parametrize("answer", ["", "ok", '{"summary": ""}', '{"summary": "Fine."}'])
async def test_an_answer_that_says_nothing_is_no_summary(answer: str) -> None:
    rule = {"steps": [{"text": answer}] if answer else [{"fault": "rejected"}]}
    async with stage(rule).running() as gateway:
        with pytest.raises(NoSummary):
            await Summariser(gateway, Scale(), 200).summarise("", talk(3))


def test_a_digest_keeps_what_was_told_from_one_to_the_next_within_its_bounds() -> None:
    text = ""
    for begin in range(0, 60, 6):
        text = digest(text, talk(60, words=1)[begin : begin + 6], 2_000)
        assert len(text) <= 2_000
    assert f"{TOLD}I own a boat of type 0." in text
    assert text.count(TOLD) == 30
    assert TOLD not in prose(text)


def test_where_there_is_no_room_for_all_the_newest_statements_stay() -> None:
    kept = told("", talk(60, words=1), 300)
    assert "type 59." in kept and "type 0." not in kept
    assert len(kept) <= 300


def test_parts_hold_every_character_once() -> None:
    lines = ["a" * 10, "b" * 95, "", "c" * 3, "d" * 40]
    found = list(parts(lines, 40))
    assert all(len(part) <= 40 for part in found)
    assert "".join(found).replace("\n", "") == "".join(lines)
