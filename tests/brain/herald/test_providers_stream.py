"""The same answers through each provider: the Engine must not see whose they are."""

from itertools import pairwise
from typing import Any

import pytest

from september.brain.herald.arguments import unreadable
from september.brain.herald.conversation import (
    AudioBlock,
    Base64Source,
    BlockStarted,
    BlockStopped,
    DocumentBlock,
    Finished,
    ImageBlock,
    StoredSource,
    SystemPart,
    TextBlock,
    TextPiece,
    ThinkingBlock,
    ThinkingPiece,
    TokenUsage,
    UrlSource,
    VideoBlock,
)
from september.brain.herald.provider import Fault, ProviderError
from tests.peers import Call, Peer, Say, Stop, Think, Usage, script
from tests.peers.adapters import (
    CLOCK,
    PROVIDERS,
    SEND,
    adapter,
    ask,
    calls,
    collect,
    finish,
    results,
    user,
)

each = pytest.mark.parametrize("name", PROVIDERS)


def body(peer: Peer, number: int = -1) -> Any:
    return peer.requests[number].body


@each
async def test_text_arrives_in_pieces_and_whole(name: str) -> None:
    async with adapter(name, script(Say("Hello, dear user."))) as (provider, _):
        pieces = await collect(provider, ask(name))
    texts = [piece.text for piece in pieces if isinstance(piece, TextPiece)]
    assert len(texts) > 1
    assert "".join(texts) == "Hello, dear user."
    finished = pieces[-1]
    assert isinstance(finished, Finished)
    assert finished.message.blocks == (TextBlock("Hello, dear user."),)
    assert finished.message.role == "assistant"
    assert finished.stop_reason == "end_turn"
    assert finished.model == ask(name).model


@each
async def test_blocks_start_and_stop_in_order_around_their_pieces(name: str) -> None:
    reply = [Think("first thoughts"), Say("then words"), Call("clock")]
    async with adapter(name, script(reply)) as (provider, _):
        pieces = await collect(provider, ask(name, tools=(CLOCK,), thinking=True))
    frame = [piece for piece in pieces if isinstance(piece, BlockStarted | BlockStopped)]
    kinds = ["thinking", "text", "tool_use"]
    expected = [
        event
        for index, kind in enumerate(kinds)
        for event in (("BlockStarted", index, kind), ("BlockStopped", index, kind))
    ]
    assert [(type(p).__name__, p.index, p.block_type) for p in frame] == expected
    for before, after in pairwise(pieces):
        if isinstance(before, BlockStopped):
            assert not isinstance(after, TextPiece | ThinkingPiece)


@each
async def test_thinking_is_kept_apart_from_the_answer_and_named_after_its_provider(
    name: str,
) -> None:
    async with adapter(name, script([Think("let me see"), Say("42")])) as (provider, _):
        pieces = await collect(provider, ask(name, thinking=True, max_tokens=8000))
    thought = "".join(piece.text for piece in pieces if isinstance(piece, ThinkingPiece))
    assert thought == "let me see"
    finished = pieces[-1]
    assert isinstance(finished, Finished)
    first, second, *_ = finished.message.blocks
    assert isinstance(first, ThinkingBlock)
    assert (first.text, first.provider) == ("let me see", name)
    assert second == TextBlock("42")


@each
async def test_a_tool_call_keeps_its_own_name_and_arguments(name: str) -> None:
    wire_name = "slack__send_message"
    reply = Call(wire_name, {"channel": "#general", "text": "höher"})
    async with adapter(name, script(reply)) as (provider, peer):
        finished = await finish(provider, ask(name, tools=(SEND, CLOCK)))
    (call,) = calls(finished.message)
    assert call.name == "slack.send_message"
    assert call.input == {"channel": "#general", "text": "höher"}
    assert call.id
    assert finished.stop_reason == "tool_use"
    assert wire_name in str(body(peer)["tools"])


@each
async def test_five_parallel_calls_come_in_order_with_ids_of_their_own(name: str) -> None:
    reply = [Call("clock", {"zone": f"z{number}", "n": number}) for number in range(5)]
    async with adapter(name, script(reply, Say("done"))) as (provider, peer):
        request = ask(name, tools=(CLOCK,))
        finished = await finish(provider, request)
        found = calls(finished.message)
        assert [call.input for call in found] == [
            {"zone": f"z{number}", "n": number} for number in range(5)
        ]
        assert len({call.id for call in found}) == 5
        answers = results(finished.message, *(f"noon {number}" for number in range(5)))
        await finish(provider, ask(name, user("hello"), finished.message, answers, tools=(CLOCK,)))
    assert not any(request.refused for request in peer.requests)
    assert "noon 4" in str(body(peer))


@each
async def test_a_failed_tools_result_is_replayed_as_an_error(name: str) -> None:
    async with adapter(name, script([Think("hm"), Call("clock")], Say("sorry"))) as (
        provider,
        peer,
    ):
        request = ask(name, tools=(CLOCK,), thinking=True, max_tokens=4096)
        first = await finish(provider, request)
        answer = results(first.message, "the clock is broken", is_error=True)
        messages = (*request.messages, first.message, answer)
        second = await finish(provider, ask(name, *messages, tools=(CLOCK,), thinking=True))
    assert second.message.blocks == (TextBlock("sorry"),)
    sent = str(body(peer))
    mark = {"anthropic": "'is_error': True", "openai": "Error: the clock", "gemini": "'error': "}
    assert mark[name] in sent


@each
async def test_thinking_goes_back_unchanged_within_a_tool_loop(name: str) -> None:
    """The Anthropic and Gemini peers check every signature that comes back."""
    reply = [Think("secret plan", redacted=name == "anthropic"), Think("more"), Call("clock")]
    async with adapter(name, script(reply, Say("done"))) as (provider, peer):
        first = await finish(provider, ask(name, tools=(CLOCK,), thinking=True))
        again = ask(name, user("hi"), first.message, results(first.message, "noon"), tools=(CLOCK,))
        await finish(provider, again)
    sent = str(body(peer)["contents" if name == "gemini" else "messages"])
    kept = {
        "anthropic": ["redacted_thinking", "'signature': 'sig_", "'thinking': 'more'"],
        "openai": ["'reasoning_content': "],
        "gemini": ["thoughtSignature"],
    }
    assert all(text in sent for text in kept[name])


@each
async def test_broken_arguments_become_a_call_the_loop_can_refuse(name: str) -> None:
    reply = [Say("ok"), Call("clock", raw='{"zone": "CE')]
    async with adapter(name, script(reply, Say("again"))) as (provider, _):
        request = ask(name, tools=(CLOCK,))
        if name == "gemini":  # its service keeps the broken call to itself
            with pytest.raises(ProviderError) as caught:
                await finish(provider, request)
            assert caught.value.fault is Fault.UNAVAILABLE
            return
        finished = await finish(provider, request)
        (call,) = calls(finished.message)
        assert "not valid JSON" in (unreadable(call.input) or "")
        assert call.input["_raw"] == '{"zone": "CE'
        answer = results(finished.message, "unreadable", is_error=True)
        await finish(provider, ask(name, user("hi"), finished.message, answer, tools=(CLOCK,)))


@each
@pytest.mark.parametrize("chunk", [1, 3, 7])
async def test_characters_split_across_chunks_stay_whole(name: str, chunk: int) -> None:
    text = "Grüße 👩‍👩‍👧 — 漢字\u2028line\u0085end"
    reply = [Say(text, size=3), Call("clock", {"où": "là 🕰"})]
    async with adapter(name, script(reply, chunk=chunk)) as (provider, _):
        finished = await finish(provider, ask(name, tools=(CLOCK,)))
    assert finished.message.blocks[0] == TextBlock(text)
    assert calls(finished.message)[0].input == {"où": "là 🕰"}


@each
async def test_an_empty_answer_is_a_message_without_blocks(name: str) -> None:
    async with adapter(name, script(Usage(3, 1))) as (provider, _):
        finished = await finish(provider, ask(name))
    assert finished.message.blocks == ()
    assert finished.stop_reason == "end_turn"


@each
@pytest.mark.parametrize("reason", ["max_tokens", "refusal"])
async def test_other_stop_reasons_have_one_name(name: str, reason: str) -> None:
    async with adapter(name, script([Say("I was go"), Stop(reason)])) as (provider, _):
        assert (await finish(provider, ask(name))).stop_reason == reason


@each
async def test_usage_counts_everything_read_with_the_cached_part_in_it(name: str) -> None:
    counts = Usage(input=1000, output=50, hit=600, written=300)
    async with adapter(name, script([Think("hm"), Say("ok"), counts])) as (provider, _):
        usage = (await finish(provider, ask(name))).usage
    written = 0 if name == "gemini" else 300  # Gemini does not say what it wrote
    assert usage == TokenUsage(
        input_tokens=1000, output_tokens=50, cache_hit_tokens=600, cache_write_tokens=written
    )


@each
async def test_a_second_call_hits_the_cache_of_the_first(name: str) -> None:
    system = (SystemPart("You are careful. " * 100, cache=True), SystemPart("Today is Monday."))
    async with adapter(name, script(Say("one"), Say("two"))) as (provider, _):
        first = await finish(provider, ask(name, user("hi"), system=system, tools=(CLOCK,)))
        longer = (user("hi"), first.message, user("more"))
        second = await finish(provider, ask(name, *longer, system=system, tools=(CLOCK,)))
    assert first.usage.cache_hit_tokens == 0
    assert second.usage.cache_hit_tokens > 400
    assert second.usage.cache_hit_tokens < second.usage.input_tokens


async def test_anthropic_has_breakpoints_after_tools_marked_system_parts_and_last_message() -> None:
    system = tuple(SystemPart(f"part {n}", cache=n != 1) for n in range(4))
    async with adapter("anthropic", script(Say("ok"), repeat=True)) as (provider, peer):
        await finish(provider, ask("anthropic", system=system, tools=(SEND, CLOCK)))
        marked = {"type": "ephemeral"}
        sent = body(peer)
        assert [tool.get("cache_control") for tool in sent["tools"]] == [None, marked]
        assert [part.get("cache_control") for part in sent["system"]] == [None, None, *[marked] * 2]
        assert sent["messages"][-1]["content"][-1]["cache_control"] == marked
        await finish(provider, ask("anthropic", system=system, tools=(SEND,), cache=False))
        assert "cache_control" not in str(body(peer))


@each
async def test_structured_output_uses_the_providers_own_way(name: str) -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "integer"}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    async with adapter(name, script(Say('{"answer": 42}'))) as (provider, peer):
        await finish(provider, ask(name, response_schema=schema))
    sent = body(peer)
    if name == "anthropic":
        assert sent["output_config"]["format"]["type"] == "json_schema"
        assert sent["output_config"]["format"]["schema"]["properties"].keys() == {"answer"}
    elif name == "openai":
        assert sent["response_format"]["json_schema"]["strict"] is True
        assert sent["response_format"]["json_schema"]["schema"] == schema
    else:
        assert sent["generationConfig"]["responseMimeType"] == "application/json"
        assert sent["generationConfig"]["responseJsonSchema"] == schema


async def test_an_older_gemini_gets_the_schema_in_words_when_it_also_has_tools() -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}}
    async with adapter("gemini", script(Say("{}"))) as (provider, peer):
        request = ask("gemini", model="gemini-2.5-pro", response_schema=schema, tools=(CLOCK,))
        await finish(provider, request)
    assert "responseMimeType" not in str(body(peer))
    assert '{"answer":{"type":"integer"}}' in str(body(peer)["systemInstruction"])


PIXEL = "iVBORw0KGgo="
PDF = "JVBERi0xLjcK"
WAV = "UklGRiQAAABXQVZF"
MP4 = "AAAAIGZ0eXBpc29t"
CAT = "https://example.org/cat.png"

NATIVE = {
    "anthropic": (
        ImageBlock(Base64Source("image/png", PIXEL)),
        ImageBlock(UrlSource(CAT)),
        DocumentBlock(Base64Source("application/pdf", PDF), "report.pdf"),
        DocumentBlock(UrlSource("https://example.org/report.pdf")),
    ),
    "openai": (
        ImageBlock(Base64Source("image/png", PIXEL)),
        ImageBlock(UrlSource(CAT)),
        AudioBlock(Base64Source("audio/wav", WAV)),
    ),
    "gemini": (
        ImageBlock(Base64Source("image/png", PIXEL)),
        AudioBlock(Base64Source("audio/wav", WAV)),
        VideoBlock(Base64Source("video/mp4", MP4)),
    ),
}
WIRED = {
    "anthropic": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {"type": "image", "source": {"type": "url", "url": CAT}},
        {
            "type": "document",
            "title": "report.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        },
        {
            "type": "document",
            "source": {"type": "url", "url": "https://example.org/report.pdf"},
            "cache_control": {"type": "ephemeral"},
        },
    ],
    "openai": [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "image_url", "image_url": {"url": CAT}},
        {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
    ],
    "gemini": [
        {"inlineData": {"mime_type": "image/png", "data": PIXEL}},
        {"inlineData": {"mime_type": "audio/wav", "data": WAV}},
        {"inlineData": {"mime_type": "video/mp4", "data": MP4}},
    ],
}


@each
async def test_media_reach_the_provider_in_its_own_form(name: str) -> None:
    async with adapter(name, script(Say("a cat"))) as (provider, peer):
        await finish(provider, ask(name, user("see", *NATIVE[name])))
    said = (body(peer).get("messages") or body(peer)["contents"])[-1]
    assert (said.get("content") or said["parts"])[1:] == WIRED[name]


@each
async def test_what_a_wire_cannot_carry_is_said_in_words(name: str) -> None:
    film = VideoBlock(StoredSource("media-1", "video/mp4"))
    async with adapter(name, script(Say("?"))) as (provider, peer):
        await finish(provider, ask(name, user("see", film)))
    assert "The video that was attached here is left out" in str(body(peer))


@each
async def test_the_system_prompt_and_the_output_limit_are_passed_on(name: str) -> None:
    system = (SystemPart("Be brief."), SystemPart("  "), SystemPart("Be kind."))
    async with adapter(name, script(Say("ok"))) as (provider, peer):
        await finish(provider, ask(name, system=system, max_tokens=123))
    sent = body(peer)
    where = {"anthropic": "system", "openai": "messages", "gemini": "systemInstruction"}
    assert "Be brief." in str(sent[where[name]])
    assert "Be kind." in str(sent[where[name]])
    limits = (sent.get("max_tokens"), sent.get("generationConfig", {}).get("maxOutputTokens"))
    assert 123 in limits


async def test_thinking_suits_the_claude_it_is_for() -> None:
    async with adapter("anthropic", script(Say("ok"), repeat=True)) as (provider, peer):
        for model, thinking in (
            ("claude-opus-4-5", {"type": "enabled", "budget_tokens": 2000}),
            ("claude-opus-4-6", {"type": "adaptive", "display": "summarized"}),
            ("claude-sonnet-5-5", {"type": "adaptive", "display": "summarized"}),
            ("qwen-3", {"type": "enabled", "budget_tokens": 2000}),
        ):
            await finish(provider, ask("anthropic", model=model, thinking=True, max_tokens=4000))
            assert body(peer)["thinking"] == thinking
        small = ask("anthropic", model="qwen-3", thinking=True, max_tokens=1000)
        await finish(provider, small)
        assert "thinking" not in body(peer)
