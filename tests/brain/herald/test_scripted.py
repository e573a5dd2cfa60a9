"""The scripted provider: which rule plays, what it says, how it fails."""

from collections.abc import Mapping

import pytest
import trio
from trio.testing import MockClock

from september.brain.herald.conversation import (
    Block,
    BlockStarted,
    BlockStopped,
    ChatMessage,
    Finished,
    ModelRequest,
    Piece,
    SystemPart,
    TextBlock,
    TextPiece,
    ThinkingPiece,
    TokenUsage,
    ToolResultBlock,
    ToolUseBlock,
)
from september.brain.herald.provider import Fault, ProviderError
from september.brain.herald.scripted import ScriptedProvider

from .stage import provider


def said(text: str) -> ChatMessage:
    return ChatMessage("user", (TextBlock(text),))


def request(*messages: ChatMessage, **more: object) -> ModelRequest:
    fields: dict[str, object] = {"model": "m", "system": (), "messages": messages, **more}
    return ModelRequest(**fields)  # type: ignore[arg-type]  # fields of one struct


async def play(actor: ScriptedProvider, wanted: ModelRequest) -> list[Piece]:
    async with actor.stream(wanted) as pieces:
        return [piece async for piece in pieces]


async def answer(actor: ScriptedProvider, wanted: ModelRequest) -> Finished:
    last = (await play(actor, wanted))[-1]
    assert isinstance(last, Finished)
    return last


async def text_of(actor: ScriptedProvider, wanted: ModelRequest) -> str:
    return "".join(
        block.text
        for block in (await answer(actor, wanted)).message.blocks
        if isinstance(block, TextBlock)
    )


def say(text: str, **conditions: object) -> Mapping[str, object]:
    return {"steps": [{"text": text}], **conditions}


async def turn(actor: ScriptedProvider, text: str, results: Mapping[str, str]) -> list[Block]:
    """A whole turn as the loop runs it; `results` are what the tools answer."""
    messages: list[ChatMessage] = [said(text)]
    while True:
        finished = await answer(actor, request(*messages))
        messages.append(finished.message)
        calls = [block for block in finished.message.blocks if isinstance(block, ToolUseBlock)]
        if not calls:
            return [block for message in messages for block in message.blocks]
        answered = [ToolResultBlock(one.id, one.name, results[one.name]) for one in calls]
        messages.append(ChatMessage("user", tuple(answered)))


async def test_the_first_rule_whose_conditions_all_hold_plays() -> None:
    actor = provider(
        say("system", system="planner"),
        say("model", model="^big"),
        say("hello ${1}", match="hello (.+)"),
        say("anything"),
    )
    assert await text_of(actor, request(said("hello world"))) == "hello world"
    assert await text_of(actor, request(said("bye"))) == "anything"
    assert await text_of(actor, request(said("bye"), model="big-1")) == "model"
    plan = request(said("bye"), system=(SystemPart("You are the planner"),))
    assert await text_of(actor, plan) == "system"


async def test_a_text_streams_in_pieces_and_takes_its_time(autojump_clock: MockClock) -> None:
    actor = provider({"steps": [{"text": "0123456789", "piece_chars": 4, "delay_ms": 500}]})
    began = trio.current_time()
    pieces = await play(actor, request(said("x")))
    assert trio.current_time() - began == 1.0
    assert pieces[:-1] == [
        BlockStarted(0, "text"),
        TextPiece("0123"),
        TextPiece("4567"),
        TextPiece("89"),
        BlockStopped(0, "text"),
    ]


async def test_thinking_is_shown_only_where_it_is_asked_for() -> None:
    actor = provider({"steps": [{"thinking": "hm"}, {"text": "yes"}]})
    plain = await play(actor, request(said("x")))
    thoughtful = await play(actor, request(said("x"), thinking=True))
    assert not any(isinstance(piece, ThinkingPiece) for piece in plain)
    assert ThinkingPiece("hm") in thoughtful


async def test_a_turn_of_several_steps_sees_what_its_tools_answered() -> None:
    actor = provider(
        {
            "match": "count (?P<what>.+)",
            "step": 0,
            "steps": [
                {"text": "Counting."},
                {"tool": "bash", "input": {"command": "ls ${what}", "more": ["${what}", 3]}},
                {"tool": "grep", "input": {"pattern": "${user}"}},
            ],
        },
        say("none", after_tool="grep", result="^0"),
        say("${result.bash|last} and ${result.grep|quote}", after_tool="bash"),
    )
    blocks = await turn(actor, "count files", {"bash": "a\n2 files\n", "grep": "x\ny"})
    calls = [block for block in blocks if isinstance(block, ToolUseBlock)]
    assert calls[0].input == {"command": "ls files", "more": ["files", 3]}
    assert calls[0].id != calls[1].id
    assert blocks[-1] == TextBlock("2 files and > x\n> y")
    blocks = await turn(actor, "count files", {"bash": "0", "grep": "0"})
    assert blocks[-1] == TextBlock("none")


async def test_the_step_is_counted_from_the_last_thing_the_user_said() -> None:
    actor = provider(say("first", step=0), say("later"))
    before = (said("old"), ChatMessage("assistant", (TextBlock("old answer"),)))
    assert await text_of(actor, request(*before, said("new"))) == "first"


async def test_a_rule_may_be_used_up() -> None:
    actor = provider(say("once", times=1), say("then"))
    texts = [await text_of(actor, request(said("x"))) for _ in range(3)]
    assert texts == ["once", "then", "then"]


async def test_the_same_conversation_goes_the_same_way_with_the_same_ids() -> None:
    rules = {"steps": [{"tool": "bash"}]}
    wanted = request(said("x"))
    first, second = await answer(provider(rules), wanted), await answer(provider(rules), wanted)
    assert first == second
    other = await answer(provider(rules), request(said("y")))
    assert other.message != first.message


async def test_a_literal_dollar_brace_can_be_written() -> None:
    assert await text_of(provider(say("$${HOME} $HOME")), request(said("x"))) == "${HOME} $HOME"


async def test_a_tool_that_has_not_run_leaves_a_dash() -> None:
    assert await text_of(provider(say("got ${result.bash}")), request(said("x"))) == "got -"


async def test_tool_input_that_is_not_json_reaches_the_loop_as_an_adapter_would_pass_it() -> None:
    actor = provider({"steps": [{"tool": "bash", "raw_input": '{"command": "l'}]})
    (block,) = (await answer(actor, request(said("x")))).message.blocks
    assert isinstance(block, ToolUseBlock)
    assert block.input["_raw"] == '{"command": "l'


@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.value)
async def test_every_fault_can_be_played_after_some_text(fault: Fault) -> None:
    step = {"fault": fault.value, "retry_after": 3, "message": "because"}
    actor = provider({"steps": [{"text": "so far"}, step]})
    pieces: list[Piece] = []
    with pytest.raises(ProviderError) as caught:
        async with actor.stream(request(said("x"))) as stream:
            async for piece in stream:
                pieces.append(piece)
    assert TextPiece("so far") in pieces
    assert caught.value.fault is fault
    assert (caught.value.retry_after, caught.value.message) == (3, "because")


async def test_a_stall_is_silence_that_becomes_a_timeout(autojump_clock: MockClock) -> None:
    actor = provider({"steps": [{"fault": "stall"}]})
    began = trio.current_time()
    with pytest.raises(ProviderError) as caught:
        await play(actor, request(said("x")))
    assert caught.value.fault is Fault.TIMEOUT
    assert trio.current_time() - began == 60


async def test_usage_is_what_the_rule_says_or_an_estimate() -> None:
    told = provider(say("x", usage={"input_tokens": 7, "cache_hit_tokens": 5}))
    assert (await answer(told, request(said("x")))).usage == TokenUsage(
        input_tokens=7, cache_hit_tokens=5
    )
    guessed = (await answer(provider(say("y" * 400)), request(said("x" * 4000)))).usage
    assert guessed.input_tokens == pytest.approx(1000, abs=10)
    assert guessed.output_tokens == pytest.approx(100, abs=5)


async def test_the_stop_reason_follows_from_the_blocks_unless_the_rule_says_otherwise() -> None:
    calls = {"steps": [{"tool": "bash"}]}
    assert (await answer(provider(calls), request(said("x")))).stop_reason == "tool_use"
    cut_off = say("x", stop_reason="max_tokens")
    assert (await answer(provider(cut_off), request(said("x")))).stop_reason == "max_tokens"


async def test_without_a_fitting_rule_it_says_what_it_is_and_how_to_get_a_model() -> None:
    text = await text_of(provider(say("x", match="never")), request(said("What is love?")))
    assert "no language model" in text
    assert "LLM_PROVIDER" in text
    assert "LLM_API_KEY" in text


async def test_the_model_it_names_is_no_model() -> None:
    finished = await answer(provider(say("x")), request(said("x"), model="gpt-4o"))
    assert finished.model == "scripted:test (no language model)"


async def test_a_request_for_structured_output_without_a_rule_gets_the_emptiest_answer() -> None:
    schema = {
        "type": "object",
        "required": ["facts", "title", "sure", "kind", "count", "note"],
        "properties": {
            "facts": {"type": "array", "items": {"type": "string"}},
            "title": {"type": "string"},
            "sure": {"type": "boolean"},
            "kind": {"enum": ["new", "old"]},
            "count": {"type": "integer"},
            "note": {"type": ["string", "null"]},
            "left_out": {"type": "string"},
        },
    }
    actor = provider(say("x", match="never"))
    text = await text_of(actor, request(said("x"), response_schema=schema))
    assert text == '{"facts":[],"title":"","sure":false,"kind":"new","count":0,"note":null}'


async def test_leaving_in_mid_text_is_immediate() -> None:
    actor = provider({"steps": [{"text": "x" * 100, "delay_ms": 1e9}]})
    with trio.fail_after(5):
        async with actor.stream(request(said("x"))) as pieces:
            async for piece in pieces:
                if isinstance(piece, TextPiece):
                    break
