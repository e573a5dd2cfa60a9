"""The parts the adapters share or need for odd servers: names, arguments, schemas, events."""

import json
from collections.abc import AsyncGenerator
from typing import Any, cast

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from september.brain.herald.arguments import parse_arguments, unreadable
from september.brain.herald.conversation import (
    Finished,
    Piece,
    TextBlock,
    ThinkingBlock,
    TokenUsage,
    ToolUseBlock,
)
from september.brain.herald.faults import FaultMapper, fault_of_status, retry_after
from september.brain.herald.gemini_schema import gemini_schema
from september.brain.herald.naming import ToolNames, wire_id
from september.brain.herald.openai_events import decode
from september.brain.herald.openai_wire import OpenAIReader, translate
from september.brain.herald.provider import Fault
from september.brain.herald.sse import GuardedEvents, StreamFault, payloads
from september.brain.herald.tool_schema import object_schema
from september.config import Secret
from tests.peers.adapters import CLOCK, SEND, ask, assistant, results, user
from tests.peers.gemini import check_schema

# --- names and ids ----------------------------------------------------------------------------


def test_dots_become_underscores_and_come_back() -> None:
    names = ToolNames(["slack.send_message", "clock"])
    assert names.wire("slack.send_message") == "slack__send_message"
    assert names.wire("clock") == "clock"
    assert names.own("slack__send_message") == "slack.send_message"
    assert names.own("invented") == "invented"


def test_names_that_would_clash_stay_apart_whatever_their_order() -> None:
    clashing = ["a.b", "a__b", "a..b", "a.b!"]
    names = ToolNames(clashing)
    wires = [names.wire(name) for name in clashing]
    assert wires == [ToolNames(reversed(clashing)).wire(name) for name in clashing]
    assert len(set(wires)) == 4
    assert names.wire("a__b") == "a__b"


@given(st.lists(st.text(max_size=90), max_size=12))
def test_any_names_are_allowed_unique_and_reversible(given_names: list[str]) -> None:
    names = ToolNames(given_names)
    wires = {name: names.wire(name) for name in given_names}
    assert len(set(wires.values())) == len(set(given_names))
    for name, wire in wires.items():
        assert 1 <= len(wire) <= 64
        assert wire.replace("-", "_").isidentifier()
        assert wire.isascii()
        assert names.own(wire) == name


@given(st.text(max_size=90))
def test_any_id_is_allowed_and_always_the_same(call_id: str) -> None:
    wire = wire_id(call_id)
    assert 1 <= len(wire) <= 40
    assert wire == wire_id(wire_id(call_id))


# --- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"a": ', "[1]", '"x"', "null", "{'a': 1}", "[" * 100_000])
def test_unreadable_arguments_say_why(text: str) -> None:
    arguments = parse_arguments(text)
    assert arguments["_raw"] == text
    assert unreadable(arguments)


@pytest.mark.parametrize("text", ["", "  ", "{}", '{"_raw": "x"}', '{"a": {"b": [1]}}'])
def test_readable_arguments_are_just_themselves(text: str) -> None:
    assert unreadable(parse_arguments(text)) is None


# --- schemas for Gemini -----------------------------------------------------------------------

MCP_LIKE: dict[str, object] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "additionalProperties": False,
    "required": ["path", "ghost"],
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {"next": {"$ref": "#/$defs/Node"}, "label": {"type": "string"}},
        },
        "Kind": {"enum": ["a", "b"], "description": "Which"},
    },
    "properties": {
        "path": {"type": "string", "format": "uri", "examples": ["x"], "minLength": 1},
        "kind": {"$ref": "#/$defs/Kind"},
        "tree": {"$ref": "#/$defs/Node"},
        "mode": {"const": "fast"},
        "level": {"enum": [1, 2, 3]},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "May be"},
        "either": {"oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": {}}]},
        "several": {"type": ["string", "number", "null"]},
        "when": {"type": "string", "format": "date-time"},
        "tags": {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
        "free": {"type": "array"},
        "anything": True,
        "both": {
            "allOf": [
                {"$ref": "#/$defs/Node"},
                {"properties": {"size": {"type": "integer", "exclusiveMinimum": 0}}},
            ]
        },
    },
}


def test_a_schema_as_mcp_servers_send_it_becomes_one_gemini_takes() -> None:
    schema: Any = gemini_schema(MCP_LIKE)
    check_schema(schema, "parameters")  # the peer's own check
    properties = schema["properties"]
    assert schema["required"] == ["path"]
    assert properties["path"] == {"type": "STRING", "minLength": 1}
    assert properties["kind"] == {"type": "STRING", "enum": ["a", "b"], "description": "Which"}
    assert properties["tree"]["properties"]["next"] == {"type": "OBJECT"}
    assert properties["mode"] == {"type": "STRING", "enum": ["fast"]}
    assert properties["level"] == {"type": "NUMBER"}
    maybe = {"type": "INTEGER", "nullable": True, "description": "May be"}
    assert properties["maybe"] == maybe
    assert [option["type"] for option in properties["either"]["anyOf"]] == ["STRING", "OBJECT"]
    assert [option["type"] for option in properties["several"]["anyOf"]] == ["STRING", "NUMBER"]
    assert properties["when"]["format"] == "date-time"
    assert properties["free"]["items"] == {"type": "STRING"}
    assert properties["both"]["properties"].keys() == {"next", "label", "size"}


def test_a_tool_without_arguments_has_no_schema() -> None:
    assert gemini_schema({"type": "object", "properties": {}}) is None
    assert gemini_schema({}) is None


ONE: dict[str, object] = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
}
OTHER: dict[str, object] = {
    "type": "object",
    "properties": {"b": {"type": "integer"}},
    "required": ["b"],
}


def test_alternatives_at_the_top_are_united() -> None:
    schema: Any = gemini_schema({"anyOf": [ONE, OTHER]})
    check_schema(schema, "parameters")
    assert schema["properties"].keys() == {"a", "b"}
    both = {**cast("Any", ONE["properties"]), **cast("Any", OTHER["properties"])}
    assert object_schema({"oneOf": [ONE, OTHER]}) == {"type": "object", "properties": both}
    assert object_schema({"allOf": [ONE, OTHER]})["required"] == ["a", "b"]


def test_a_reference_at_the_top_is_followed() -> None:
    schema = object_schema({"$ref": "#/$defs/One", "$defs": {"One": ONE}})
    assert schema["properties"] == ONE["properties"]
    assert schema["required"] == ["a"]


def test_an_ordinary_object_schema_is_not_changed() -> None:
    assert object_schema(ONE) == ONE
    assert object_schema({}) == {"type": "object"}


SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.sampled_from([True, {}, {"$ref": "#/$defs/x"}, {"$ref": "#"}, {"const": 1}]),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["string", "integer", "null", ["string", "null"], "array"])},
            optional={
                "enum": st.lists(st.one_of(st.text(max_size=3), st.integers())),
                "x": st.none(),
            },
        ),
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.just("object"),
            "properties": st.dictionaries(st.text("ab", min_size=1, max_size=2), inner, max_size=3),
            "required": st.lists(st.text("ab", min_size=1, max_size=2), max_size=2),
            "items": inner,
            "anyOf": st.lists(inner, max_size=3),
            "allOf": st.lists(inner, max_size=2),
            "additionalProperties": inner,
        },
    ),
    max_leaves=12,
)


def test_alternatives_within_alternatives_are_united() -> None:
    inner = {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}
    outer = {"title": "Either", "anyOf": [inner, {"type": "null"}]}
    schema = gemini_schema({"type": "object", "properties": {"a": outer}})
    assert schema is not None
    check_schema(schema, "parameters")
    options = cast("Any", schema)["properties"]["a"]["anyOf"]
    assert [option["type"] for option in options] == ["STRING", "INTEGER"]
    assert all(option["nullable"] for option in options)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=1), SCHEMAS), SCHEMAS)
def test_any_schema_becomes_one_gemini_takes(properties: dict[str, Any], other: Any) -> None:
    schema = gemini_schema({"type": "object", "properties": properties, "$defs": {"x": other}})
    if schema is not None:
        check_schema(schema, "parameters")


# --- events -----------------------------------------------------------------------------------


class Chunks(httpx2.AsyncByteStream):
    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        for chunk in self._chunks:
            yield chunk


async def guarded(*chunks: bytes) -> bytes:
    return b"".join([piece async for piece in GuardedEvents(Chunks(*chunks))])


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
async def test_events_pass_whole_however_they_were_chunked(newline: bytes) -> None:
    event = newline.join([b"event: x", 'data: {"a": "é\u2028"}'.encode(), b"", b""])
    stream = event * 3
    for size in range(1, len(stream) + 1):
        chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
        passed = await guarded(*chunks)
        assert passed.replace(newline, b"\n").strip() == stream.replace(newline, b"\n").strip()


async def test_an_error_is_found_whatever_ends_the_lines() -> None:
    for newline in ("\n", "\r\n", "\r"):
        event = newline.join(["event: error", 'data: {"error": {"message": "no"}}', "", ""])
        with pytest.raises(StreamFault):
            await guarded(event.encode())


async def test_half_an_event_and_the_end_mark_are_kept_back() -> None:
    stream = b'data: {"a": 1}\n\ndata: [DONE]\n\ndata: {"b": '
    assert await guarded(stream) == b'data: {"a": 1}\n\n'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"error": {"message": "no"}}', "no"),
        ('{"type": "error", "error": {"type": "x", "message": "no"}}', "no"),
        ('{"id": "1", "choices": [], "error": {"message": "no", "code": 502}}', "no"),
        ('{"error": "no"}', "no"),
    ],
)
async def test_an_error_event_is_raised_after_what_came_before(data: str, message: str) -> None:
    seen: list[bytes] = []
    with pytest.raises(StreamFault) as caught:
        async for piece in GuardedEvents(
            Chunks(f"data: 1\n\ndata: {data}\n\ndata: 2\n\n".encode())
        ):
            seen.append(piece)
    assert seen == [b"data: 1\n\n"]
    assert caught.value.text("message") == message


async def test_the_word_error_in_a_text_is_no_error() -> None:
    harmless = b'data: {"text": "the \\"error\\" was {\\"error\\": 1}", "error": null}\n\n'
    assert await guarded(harmless) == harmless


async def test_payloads_are_the_data_lines_of_each_event() -> None:
    stream = b'event: x\ndata: {"a":1}\n\n: ping\n\ndata:{"b":\ndata: 2}\n\n'
    assert payloads(stream) == [b'{"a":1}', b'{"b":\n2}']
    assert payloads(stream.replace(b"\n", b"\r\n")) == [b'{"a":1}', b'{"b":\n2}']
    assert payloads(b"") == []


# --- compatible servers -----------------------------------------------------------------------


def read(*chunks: dict[str, Any]) -> tuple[list[Piece], Finished]:
    request = ask("openai", tools=(CLOCK, SEND))
    reader = OpenAIReader(request, ToolNames.of(request))
    events = [decode(json.dumps(chunk)) for chunk in chunks]
    pieces = [piece for event in events for piece in reader.feed(event)]
    assert reader.whole
    return pieces, reader.finished()


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def fragment(arguments: str, **fields: Any) -> dict[str, Any]:
    return {**fields, "function": {"name": fields.pop("name", None), "arguments": arguments}}


def test_interleaved_fragments_find_their_calls() -> None:
    _, finished = read(
        delta(tool_calls=[fragment("", index=0, id="a", name="clock")]),
        delta(tool_calls=[fragment("", index=1, id="b", name="slack__send_message")]),
        delta(tool_calls=[fragment('{"x"', index=0), fragment('{"y"', index=1)]),
        delta(tool_calls=[fragment(":2}", index=1), fragment(":1}", index=0)]),
        delta("tool_calls"),
    )
    assert finished.message.blocks == (
        ToolUseBlock("a", "clock", {"x": 1}),
        ToolUseBlock("b", "slack.send_message", {"y": 2}),
    )


def test_a_server_that_numbers_every_call_zero_still_gets_them_apart() -> None:
    _, finished = read(
        delta(tool_calls=[fragment('{"n":1}', index=0, id="a", name="clock")]),
        delta(tool_calls=[fragment('{"n":2}', index=0, id="b", name="clock")]),
        delta("stop"),
    )
    found = [block for block in finished.message.blocks if isinstance(block, ToolUseBlock)]
    assert [(call.id, call.input) for call in found] == [("a", {"n": 1}), ("b", {"n": 2})]
    assert finished.stop_reason == "tool_use"  # although the server said "stop"


def test_calls_without_ids_get_some() -> None:
    _, finished = read(
        delta(tool_calls=[fragment("{}", index=0, name="clock")]),
        delta(tool_calls=[fragment("{}", index=1, name="clock")]),
        delta("tool_calls"),
    )
    ids = {block.id for block in finished.message.blocks if isinstance(block, ToolUseBlock)}
    assert len(ids) == 2
    assert "" not in ids


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_goes_back_under_the_name_it_came_in(field: str) -> None:
    _, finished = read(
        delta(**{field: "hm"}, role="assistant"),
        delta(content=None, tool_calls=[fragment("{}", index=0, id="a", name="clock")]),
        delta("tool_calls"),
    )
    assert finished.message.blocks[0] == ThinkingBlock("hm", "openai", field)
    request = ask("openai", user("hi"), finished.message, tools=(CLOCK,))
    sent: Any = translate(request, ToolNames.of(request), official=False)
    assert sent["messages"][1][field] == "hm"
    done = (user("hi"), finished.message, results(finished.message, "noon"), assistant("It is"))
    later = ask("openai", *done, user("go on"), tools=(CLOCK,))
    sent = translate(later, ToolNames.of(later), official=False)
    assert field not in sent["messages"][1]


def test_bare_chunks_and_null_usage_are_survived() -> None:
    _, finished = read(
        {"choices": []},
        {"choices": None, "model": None},
        delta(content="hi"),
        {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": None}},
    )
    assert finished.message.blocks == (TextBlock("hi"),)
    assert finished.usage == TokenUsage(input_tokens=5)


def test_deepseeks_own_cache_count_is_read() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 7}
    _, finished = read(delta("stop", content="x"), {"choices": [], "usage": usage})
    assert finished.usage.cache_hit_tokens == 7


def test_a_refusal_is_text_and_says_so() -> None:
    _, finished = read(delta(refusal="I will "), delta(refusal="not."), delta("stop"))
    assert finished.message.blocks == (TextBlock("I will not."),)
    assert finished.stop_reason == "refusal"


def test_openai_itself_gets_its_newer_limit() -> None:
    request = ask("openai", max_tokens=7)
    names = ToolNames.of(request)
    assert translate(request, names, official=True)["max_completion_tokens"] == 7
    assert translate(request, names, official=False)["max_tokens"] == 7


# --- faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "prompt is too long: 212345 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000",
        "This model's maximum context length is 8192 tokens",
        "the request exceeds the available context size. try increasing it",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ],
)
def test_every_way_to_say_too_long_is_understood(text: str) -> None:
    assert fault_of_status(400, text) is Fault.CONTEXT_OVERFLOW
    assert fault_of_status(429, text) is Fault.RATE_LIMITED


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_the_wait_is_read_from_whatever_header_has_it(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers) == seconds


def test_messages_are_scrubbed_and_short() -> None:
    faults = FaultMapper("openai", Secret("my-own-key-123"))
    error = faults.error(Fault.AUTH, f"key my-own-key-123, sk-proj-abc***xyz {'x' * 1000}")
    assert "my-own-key-123" not in str(error)
    assert "abc***" not in str(error)
    assert len(error.message) <= 500
