"""The Anthropic Messages API from the server's side."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import uuid4

import msgspec

from .counting import PrefixCache, tokens
from .media import appears_to_be, decoded
from .script import Call, ContextOverflow, Overloaded, RateLimit, Reply, Say, Status, Step, Think
from .waits import wait_headers
from .wire import Answer, Json, Received, Refused, Writer, pieces, sse, stop_of, usage_of

_FIELDS = frozenset(
    "model max_tokens messages system tools tool_choice stream thinking output_config metadata "
    "stop_sequences temperature top_k top_p service_tier cache_control".split()
)
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_MEDIA_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_NO_PREFILL = re.compile(r"claude-[a-z]+-(4-[6-9]|[5-9])")


def sign(thought: str) -> str:
    """The signature this service puts on a thought; it takes back no other."""
    return "sig_" + hashlib.sha256(f"anthropic:{thought}".encode()).hexdigest()


def redact(thought: str) -> str:
    """What a redacted thought looks like."""
    return "redacted_" + thought.encode().hex()


class AnthropicWire:
    """`POST /v1/messages`, streaming only."""

    name = "anthropic"

    def __init__(self, key: str) -> None:
        self.key = key
        self._cache = PrefixCache()

    def check(self, request: Received) -> None:
        """Raise Refused for what Anthropic refuses, in its words."""
        self._check_head(request)
        body = request.body
        unknown = sorted(body.keys() - _FIELDS)
        _require(not unknown, f"{', '.join(unknown)}: Extra inputs are not permitted")
        for name in ("model", "max_tokens", "messages"):
            _require(name in body, f"{name}: Field required")
        _require(body["max_tokens"] >= 1, "max_tokens: must be greater than or equal to 1")
        _require(body.get("stream") is True, "this peer streams only")
        _check_tools(body.get("tools"))
        _check_messages(body)
        _check_thinking(body)
        _check_cache(body)
        _check_schema(body.get("output_config", {}).get("format"))

    def writer(self, request: Received, reply: Reply) -> Writer:
        """A writer for one reply."""
        hit, written = self._cache.marked(_marked_prefixes(request.body))
        return _Writer(request.body, reply, hit, written)

    def refusal(self, step: Step) -> Answer:
        """The HTTP answer to a scripted refusal."""
        match step:
            case RateLimit():
                error = _error(429, "rate_limit_error", "Number of requests has exceeded the limit")
                return Answer(error.status, error.body, wait_headers(step))
            case Overloaded():
                return _error(529, "overloaded_error", "Overloaded")
            case ContextOverflow():
                return self.malformed("prompt is too long: 212345 tokens > 200000 maximum")
            case Status(status, message):
                return _error(status, _ERROR_TYPES.get(status, "api_error"), message)
            case _:
                raise TypeError(step)

    def malformed(self, reason: str) -> Answer:
        """The service's 400."""
        return _error(400, "invalid_request_error", reason)

    def _check_head(self, request: Received) -> None:
        headers = request.headers
        if request.path.split("?")[0] != "/v1/messages" or request.method != "POST":
            raise Refused(_error(404, "not_found_error", "Not Found"), "wrong path")
        given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if given != self.key:
            raise Refused(_error(401, "authentication_error", "invalid x-api-key"), "wrong key")
        _require("anthropic-version" in headers, "anthropic-version: header is required")


_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def _error(status: int, kind: str, message: str) -> Answer:
    body: Json = {"type": "error", "error": {"type": kind, "message": message}}
    return Answer(status, {**body, "request_id": "req_peer"})


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise _refused(reason)


def _refused(reason: str) -> Refused:
    return Refused(_error(400, "invalid_request_error", reason), reason)


# --- what is refused --------------------------------------------------------------------------


def _check_tools(tools: Any) -> None:
    names: list[str] = [tool["name"] for tool in tools or ()]
    for index, tool in enumerate(tools or ()):
        where = f"tools.{index}.custom"
        pattern_holds = _NAME.fullmatch(tool["name"]) is not None
        _require(pattern_holds, f"{where}.name: String should match pattern '{_NAME.pattern}'")
        typed = tool.get("input_schema", {}).get("type") == "object"
        _require(typed, f"{where}.input_schema.type: Field required")
        combined = tool["input_schema"].keys() & {"anyOf", "oneOf", "allOf"}
        _require(
            not combined,
            f"{where}.input_schema: input_schema does not support oneOf, allOf, or anyOf at the "
            "top level",
        )
    _require(len(names) == len(set(names)), "tools: Tool names must be unique.")


def _check_messages(body: Json) -> None:
    messages: list[Json] = body["messages"]
    _require(bool(messages), "messages: at least one message is required")
    _require(messages[0]["role"] == "user", 'messages: first message must use the "user" role')
    for index, message in enumerate(messages):
        _check_message(message, f"messages.{index}")
    _check_pairs(_combined(messages))
    if _NO_PREFILL.match(body["model"]):
        ends = messages[-1]["role"] == "user"
        _require(ends, "This model does not support assistant message prefill.")
    ids = [block["id"] for block in _blocks(messages, "tool_use")]
    _require(
        not ids or bool(body.get("tools")),
        "Requests which include `tool_use` or `tool_result` blocks must define tools",
    )
    _require(len(ids) == len(set(ids)), "messages: `tool_use` ids must be unique")


def _check_message(message: Json, where: str) -> None:
    role = message["role"]
    _require(role in ("user", "assistant"), f'{where}: Unexpected role "{role}"')
    content = _content(message)
    _require(bool(content), f"{where}: all messages must have non-empty content")
    for index, block in enumerate(content):
        _check_block(block, role, f"{where}.content.{index}")
    if role == "assistant":
        ends_thinking = content[-1]["type"] in ("thinking", "redacted_thinking")
        _require(
            not ends_thinking,
            f"{where}: The final block in an assistant message cannot be `thinking`.",
        )


def _check_block(block: Json, role: str, where: str) -> None:
    match block["type"]:
        case "text":
            _require(bool(block["text"]), f"{where}: text content blocks must be non-empty")
            _require(
                bool(block["text"].strip()),
                f"{where}: text content blocks must contain non-whitespace text",
            )
        case "tool_use" if role == "assistant":
            _require(_NAME.fullmatch(block["name"]) is not None, f"{where}.name: bad pattern")
            _require(_ID.fullmatch(block["id"]) is not None, f"{where}.id: bad pattern")
            _require(isinstance(block["input"], dict), f"{where}.input: not a valid dictionary")
        case "tool_result" if role == "user":
            blank_error = block.get("is_error") and not block.get("content")
            _require(not blank_error, f"{where}: content cannot be empty if `is_error` is true")
        case "thinking" if role == "assistant":
            valid = block["signature"] == sign(block["thinking"])
            _require(valid, f"{where}: Invalid `signature` in `thinking` block")
        case "redacted_thinking" if role == "assistant":
            valid = block["data"].startswith("redacted_")
            _require(valid, f"{where}: Invalid `data` in `redacted_thinking` block")
        case "image" | "document" as kind if role == "user":
            _check_source(block["source"], kind, where)
            unknown = block.keys() - {"type", "source", "title", "context", "cache_control"}
            _require(not unknown, f"{where}.{kind}: Extra inputs are not permitted")
        case other:
            _require(False, f"{where}: `{other}` blocks are not permitted in `{role}` messages")


def _check_source(source: Json, kind: str, where: str) -> None:
    if source["type"] == "url":
        secure = source["url"].startswith("https://")
        _require(secure, f"{where}.{kind}.source.url: Only HTTPS URLs are supported.")
        return
    here = f"{where}.{kind}.source.base64"
    _require(source["type"] == "base64", f"{where}.{kind}.source.type: unexpected value")
    allowed = _MEDIA_TYPES if kind == "image" else ("application/pdf",)
    media_type = source["media_type"]
    _require(media_type in allowed, f"{here}.media_type: Input should be one of {allowed}")
    data = decoded(source["data"])
    if data is None:
        raise _refused(f"{here}.data: Invalid base64 data")
    _require(
        appears_to_be(media_type, data),
        f"{here}.data: The {kind} was specified using the {media_type} media type, but it does"
        " not appear to be one",
    )
    small = kind != "image" or len(data) <= 5 * 2**20
    _require(small, f"{here}: {kind} exceeds 5 MB maximum: {len(data)} bytes > 5242880 bytes")


def _check_pairs(messages: Sequence[Json]) -> None:
    """Every call answered at the head of the next message, every answer asked for."""
    for index, message in enumerate(messages):
        asked = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
        follows: list[Json] = messages[index + 1]["content"] if messages[index + 1 :] else []
        head = _leading_results(follows)
        missing = [call for call in asked if call not in head]
        _require(
            not missing,
            f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately "
            f"after: {', '.join(missing)}. Each `tool_use` block must have a corresponding "
            "`tool_result` block in the next message.",
        )
        given = [block["tool_use_id"] for block in follows if block["type"] == "tool_result"]
        stray = [call for call in given if call not in asked]
        _require(
            not stray,
            f"messages.{index + 1}: unexpected `tool_use_id` found in `tool_result` blocks: "
            f"{', '.join(stray)}.",
        )
        _require(len(given) == len(set(given)), "each tool_use must have a single result")
    first = [block for block in messages[0]["content"] if block["type"] == "tool_result"]
    _require(not first, "messages.0: unexpected `tool_use_id` found in `tool_result` blocks")


def _leading_results(content: Iterable[Json]) -> list[str]:
    ids: list[str] = []
    for block in content:
        if block["type"] != "tool_result":
            break
        ids.append(block["tool_use_id"])
    return ids


def _check_thinking(body: Json) -> None:
    thinking = body.get("thinking", {})
    if thinking.get("type") != "enabled":
        return
    budget = thinking["budget_tokens"]
    _require(budget >= 1024, "thinking.enabled.budget_tokens: Input should be at least 1024")
    _require(budget < body["max_tokens"], "`max_tokens` must be greater than the budget")
    messages = _combined(body["messages"])
    if any(block["type"] == "tool_result" for block in messages[-1]["content"]):
        first = messages[-2]["content"][0]["type"]
        _require(
            first in ("thinking", "redacted_thinking"),
            f"Expected `thinking` or `redacted_thinking`, but found `{first}`. When `thinking` is "
            "enabled, a final `assistant` message must start with a thinking block.",
        )


def _check_cache(body: Json) -> None:
    marked = [block for block in _cacheable(body) if "cache_control" in block]
    _require(
        len(marked) <= 4,
        f"A maximum of 4 blocks with cache_control may be provided. Found {len(marked)}.",
    )
    for block in marked:
        _require("thinking" not in block.get("type", ""), "cache_control: not on thinking blocks")


def _check_schema(output_format: Json | None) -> None:
    if output_format is not None and output_format["schema"].get("type") == "object":
        closed = output_format["schema"].get("additionalProperties") is False
        _require(closed, "output_config.format.schema: 'additionalProperties' must be false")


def _combined(messages: Iterable[Json]) -> list[Json]:
    """Consecutive messages of a role count as one, as the service counts them."""
    combined: list[Json] = []
    for message in messages:
        if combined and combined[-1]["role"] == message["role"]:
            combined[-1]["content"] += _content(message)
        else:
            combined.append({"role": message["role"], "content": [*_content(message)]})
    return combined


def _content(message: Json) -> list[Json]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _blocks(messages: Iterable[Json], kind: str) -> Iterator[Json]:
    for message in messages:
        yield from (block for block in _content(message) if block["type"] == kind)


def _cacheable(body: Json) -> Iterator[Json]:
    """Everything a breakpoint may stand on, in the order of the prompt."""
    yield from body.get("tools") or ()
    system = body.get("system") or ()
    yield from () if isinstance(system, str) else system
    for message in body["messages"]:
        yield from _content(message)


def _marked_prefixes(body: Json) -> Iterator[str]:
    prefix = body["model"]
    for block in _cacheable(body):
        plain = {key: value for key, value in block.items() if key != "cache_control"}
        prefix += msgspec.json.encode(plain).decode()
        if "cache_control" in block:
            yield prefix


# --- what is answered -------------------------------------------------------------------------


class _Writer:
    """message_start, blocks of deltas, message_delta, message_stop."""

    def __init__(self, body: Json, reply: Reply, hit: int, written: int) -> None:
        self._body = body
        self._reply = reply
        self._index = 0
        self._words = 0
        given = usage_of(reply)
        if given is not None:
            self._input, self._hit, self._written = given.input, given.hit, given.written
        else:
            self._input, self._hit, self._written = tokens(body), hit, written
        self._output = given.output if given else None

    def open(self) -> Iterator[bytes]:
        yield _event(
            "message_start",
            message={
                "id": "msg_peer",
                "type": "message",
                "role": "assistant",
                "model": self._body["model"],
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {**self._input_usage(), "output_tokens": 1},
            },
        )
        yield _event("ping")

    def content(self, step: Say | Think) -> Iterator[bytes]:
        self._words += tokens(step.text)
        match step:
            case Say():
                yield self._start({"type": "text", "text": ""})
                for piece in pieces(step.text, step.size):
                    yield self._delta({"type": "text_delta", "text": piece})
            case Think(redacted=True):
                yield self._start({"type": "redacted_thinking", "data": redact(step.text)})
            case Think():
                yield self._start({"type": "thinking", "thinking": "", "signature": ""})
                for piece in pieces(step.text, step.size):
                    yield self._delta({"type": "thinking_delta", "thinking": piece})
                yield self._delta({"type": "signature_delta", "signature": sign(step.text)})
        yield self._stop()

    def call(self, step: Call) -> Iterator[bytes]:
        text = msgspec.json.encode(step.input).decode() if step.raw is None else step.raw
        self._words += tokens(text)
        call_id = step.id or f"toolu_{uuid4().hex[:24]}"
        yield self._start({"type": "tool_use", "id": call_id, "name": step.tool, "input": {}})
        yield self._delta({"type": "input_json_delta", "partial_json": ""})
        for piece in pieces(text, step.size):
            yield self._delta({"type": "input_json_delta", "partial_json": piece})
        yield self._stop()

    def close(self) -> Iterator[bytes]:
        calls = any(isinstance(step, Call) for step in self._reply)
        reason = stop_of(self._reply) or ("tool_use" if calls else "end_turn")
        output = max(1, self._words) if self._output is None else self._output
        yield _event(
            "message_delta",
            delta={"stop_reason": reason, "stop_sequence": None},
            usage={**self._input_usage(), "output_tokens": output},
        )
        yield _event("message_stop")

    def fail(self, kind: str) -> bytes:
        error_type, message = {
            "overloaded": ("overloaded_error", "Overloaded"),
            "rate_limit": ("rate_limit_error", "Rate limited"),
            "server": ("api_error", "Internal server error"),
        }[kind]
        return _event("error", error={"type": error_type, "message": message})

    def _input_usage(self) -> Json:
        return {
            "input_tokens": max(0, self._input - self._hit - self._written),
            "cache_read_input_tokens": self._hit,
            "cache_creation_input_tokens": self._written,
        }

    def _start(self, block: Json) -> bytes:
        return _event("content_block_start", index=self._index, content_block=block)

    def _delta(self, delta: Json) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)

    def _stop(self) -> bytes:
        self._index += 1
        return _event("content_block_stop", index=self._index - 1)


def _event(event_type: str, **fields: Any) -> bytes:
    return sse({"type": event_type, **fields}, event_type)
