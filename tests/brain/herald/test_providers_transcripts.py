"""Conversations that no provider may refuse: moved between providers, cut, crashed, random."""

from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from september.brain.herald.conversation import (
    Base64Source,
    Block,
    ChatMessage,
    ImageBlock,
    ModelRequest,
    SystemPart,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from september.brain.herald.transcript import repaired
from tests.peers import Call, Peer, Say, Think, script
from tests.peers.adapters import (
    CLOCK,
    PROVIDERS,
    SEND,
    adapter,
    ask,
    assistant,
    finish,
    results,
    user,
)

each = pytest.mark.parametrize("name", PROVIDERS)
TOOLS = (CLOCK, SEND)


def assert_taken(peer: Peer) -> None:
    assert [request.refused for request in peer.requests] == [""] * len(peer.requests)


def use(call_id: str, name: str = "clock", **arguments: object) -> ToolUseBlock:
    return ToolUseBlock(call_id, name, dict(arguments))


def result(call_id: str, content: str = "noon", name: str = "clock") -> ToolResultBlock:
    return ToolResultBlock(call_id, name, content)


async def written_by(name: str) -> tuple[ChatMessage, ...]:
    """A conversation with thinking, parallel calls and an open question, as `name` writes it."""
    replies = (
        [
            Think("two calls"),
            Say("Looking."),
            Call("slack__send_message", {"channel": "#a"}),
            Call("clock"),
        ],
        [Think("done"), Say("It is noon.")],
        [Think("once more"), Call("clock")],
    )
    async with adapter(name, script(*replies)) as (provider, _):

        async def said(*messages: ChatMessage) -> ChatMessage:
            request = ask(name, *messages, tools=TOOLS, thinking=True, max_tokens=4000)
            return (await finish(provider, request)).message

        talk = [user("Send it and tell the time.")]
        talk.append(await said(*talk))
        talk.append(results(talk[-1], "sent", "noon"))
        talk.append(await said(*talk))
        talk.append(user("And now?"))
        talk.append(await said(*talk))
        return (*talk, results(talk[-1], "one o'clock"))


@pytest.mark.parametrize(("writer", "reader"), list(permutations(PROVIDERS, 2)))
@pytest.mark.parametrize("thinking", [False, True])
async def test_what_one_provider_began_another_goes_on_with(
    writer: str, reader: str, thinking: bool
) -> None:
    talk = await written_by(writer)
    async with adapter(reader, script(Say("one"), Say("two"))) as (provider, peer):
        for length in (3, 7):
            request = ask(reader, *talk[:length], tools=TOOLS, thinking=thinking, max_tokens=4000)
            await finish(provider, request)
        assert_taken(peer)
        sent = str(peer.requests[-1].body)
    assert "one o'clock" in sent
    assert "slack__send_message" in sent
    assert "two calls" not in sent  # another provider's thinking stays behind


@each
async def test_a_conversation_may_go_round_all_three_and_back(name: str) -> None:
    talk = [user("start")]
    order = [name, *(other for other in PROVIDERS if other != name), name]
    for writer in order:
        reply = [Think(f"{writer} thinks"), Call("clock", {"by": writer})]
        async with adapter(writer, script(reply, Say("ok"))) as (provider, peer):
            request = ask(writer, *talk, tools=TOOLS, thinking=True, max_tokens=4000)
            message = (await finish(provider, request)).message
            talk += [message, results(message, f"noon for {writer}")]
            again = ask(writer, *talk, tools=TOOLS, thinking=True, max_tokens=4000)
            await finish(provider, again)
            assert_taken(peer)


@pytest.mark.parametrize("model", ["claude-opus-4-5", "claude-sonnet-5"])
async def test_claude_may_think_again_only_where_the_running_loop_allows_it(model: str) -> None:
    foreign = (user("hi"), assistant(use("call_1")), user(result("call_1")))
    async with adapter("anthropic", script(Say("ok"), repeat=True)) as (provider, peer):
        request = ask("anthropic", *foreign, tools=TOOLS, thinking=True, model=model)
        await finish(provider, request)
        assert ("thinking" in peer.requests[-1].body) == (model == "claude-sonnet-5")
        later = (*foreign, assistant("noon"), user("thanks"))
        request = ask("anthropic", *later, tools=TOOLS, thinking=True, model=model)
        await finish(provider, request)
        assert "thinking" in peer.requests[-1].body
        assert_taken(peer)


BROKEN: dict[str, tuple[ChatMessage, ...]] = {
    "a call without its result": (user("a"), assistant("b", use("1")), user("c")),
    "a call at the very end": (user("a"), assistant(use("1"), use("2"))),
    "one of two results": (user("a"), assistant(use("1"), use("2")), user(result("2"))),
    "a result nobody asked for": (user("a", result("9")), assistant("b"), user(result("8"), "c")),
    "a result given twice": (user("a"), assistant(use("1")), user(result("1"), result("1"))),
    "a result after the text": (user("a"), assistant(use("1")), user("b", result("1"))),
    "results in the wrong order": (
        user("a"),
        assistant(use("1"), use("2")),
        user(result("2"), result("1")),
    ),
    "a result one message late": (
        user("a"),
        assistant(use("1")),
        user("b"),
        assistant("c"),
        user(result("1")),
    ),
    "one id for every call": (
        user("a"),
        assistant(use("call_0")),
        user(result("call_0", "first")),
        assistant(use("call_0"), use("call_0")),
        user(result("call_0", "second"), result("call_0", "third")),
    ),
    "no messages": (),
    "an assistant who speaks first": (assistant("hello"), user("a")),
    "an assistant who speaks last": (user("a"), assistant("b")),
    "an empty answer": (user("a"), assistant(), user("b")),
    "blank text": (user("a", "  "), assistant("\n", use("1")), user(result("1", " "), "")),
    "the same role twice": (user("a"), user("b"), assistant("c"), assistant(use("1"))),
    "only thinking": (user("a"), assistant(ThinkingBlock("x", "anthropic", "")), user("b")),
    "thinking at the end": (
        user("a"),
        assistant("b", ThinkingBlock("hm", "gemini"), ThinkingBlock("hm", "openai", "reasoning")),
        user("c"),
    ),
    "blocks of the other role": (
        user("a", use("1")),
        assistant("b", result("1"), ImageBlock(Base64Source("image/png", "iVBORw0KGgo="))),
        user("c"),
    ),
    "odd ids and names": (
        user("a"),
        assistant(use("functions.clock:0", "no such/tööl"), use("x" * 90, "a.b"), use("", "a__b")),
        user(result("functions.clock:0"), result("x" * 90), result("")),
    ),
    "an error without words": (
        user("a"),
        assistant(use("1")),
        user(ToolResultBlock("1", "clock", "", is_error=True)),
    ),
}


@each
@pytest.mark.parametrize("messages", BROKEN.values(), ids=BROKEN)
async def test_a_damaged_transcript_is_repaired_before_it_is_sent(
    name: str, messages: tuple[ChatMessage, ...]
) -> None:
    async with adapter(name, script(Say("ok"))) as (provider, peer):
        request = ModelRequest(
            model=ask(name).model, system=(), messages=messages, tools=TOOLS, thinking=True
        )
        await finish(provider, request)
        assert_taken(peer)


@each
async def test_a_conversation_with_tools_may_go_on_without_any(name: str) -> None:
    """As when a light model sums it up."""
    talk = await written_by(name)
    async with adapter(name, script(Say("ok"))) as (provider, peer):
        await finish(provider, ask(name, *talk))
        assert_taken(peer)


def test_a_valid_transcript_is_not_changed() -> None:
    talk = [
        user("a"),
        assistant(ThinkingBlock("t", "anthropic", "s"), "b", use("call_1"), use("call_2")),
        user(result("call_1"), result("call_2"), "c"),
        assistant("d"),
        user("e"),
    ]
    assert repaired(talk, "anthropic") == talk


def test_results_follow_the_ids_they_were_stored_with() -> None:
    repeated = BROKEN["one id for every call"]
    fixed = repaired(repeated, "openai")
    second = fixed[3].blocks
    answers = fixed[4].blocks
    assert [block.id for block in second if isinstance(block, ToolUseBlock)] == [
        block.tool_use_id for block in answers if isinstance(block, ToolResultBlock)
    ]
    contents = [block.content for block in answers if isinstance(block, ToolResultBlock)]
    assert contents == ["second", "third"]


# --- random transcripts -----------------------------------------------------------------------

TEXTS = st.text(max_size=12)
NAMES = st.sampled_from(["clock", "slack.send_message", "gone", "ünknown tool", ""])
IDS = st.sampled_from(["call_0", "call_1", "toolu_2", "functions.x:3", "", "y" * 60])
JSON = st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers(), st.booleans(), st.none()), max_size=2)
BLOCKS: st.SearchStrategy[Block] = st.one_of(
    st.builds(TextBlock, TEXTS),
    st.builds(ThinkingBlock, TEXTS, st.sampled_from([*PROVIDERS, ""])),
    st.builds(ToolUseBlock, IDS, NAMES, JSON),
    st.builds(ToolResultBlock, IDS, NAMES, TEXTS, st.booleans()),
    st.builds(ImageBlock, st.just(Base64Source("image/png", "iVBORw0KGgo="))),
)
MESSAGES = st.builds(
    ChatMessage,
    st.sampled_from(["user", "assistant"]),
    st.lists(BLOCKS, max_size=4).map(tuple[Block, ...]),
)


@each
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(talks=st.lists(st.lists(MESSAGES, max_size=7), min_size=8, max_size=8))
async def test_no_transcript_whatever_is_refused(name: str, talks: list[list[ChatMessage]]) -> None:
    async with adapter(name, script(Say("ok"), repeat=True)) as (provider, peer):
        for talk in talks:
            request = ModelRequest(
                model=ask(name).model,
                system=(SystemPart("s", cache=True), SystemPart("")),
                messages=tuple(talk),
                tools=TOOLS,
                thinking=True,
            )
            await finish(provider, request)
        assert_taken(peer)
