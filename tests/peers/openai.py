"""OpenAI's chat completions from the server's side, with the reasoning of compatible servers."""

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import msgspec

from .counting import PrefixCache, tokens
from .media import appears_to_be, decoded
from .script import Call, ContextOverflow, Overloaded, RateLimit, Reply, Say, Status, Step, Think
from .waits import wait_headers
from .wire import Answer, Json, Received, Refused, Writer, pieces, sse, stop_of, usage_of

_FIELDS = frozenset(
    "model messages tools tool_choice stream stream_options max_tokens max_completion_tokens "
    "reasoning_effort response_format temperature top_p parallel_tool_calls user".split()
)
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ROLES = ("system", "developer", "user", "assistant", "tool")
_ASSISTANT_FIELDS = frozenset("role content tool_calls reasoning_content refusal name".split())


class OpenAIWire:
    """`POST /v1/chat/completions`, streaming only."""

    name = "openai"

    def __init__(self, key: str) -> None:
        self.key = key
        self._cache = PrefixCache()

    def check(self, request: Received) -> None:
        """Raise Refused for what OpenAI refuses, in its words."""
        self._check_head(request)
        body = request.body
        unknown = sorted(body.keys() - _FIELDS)
        _require(not unknown, f"Unrecognized request argument supplied: {', '.join(unknown)}")
        for name in ("model", "messages"):
            _require(bool(body.get(name)), f"Missing required parameter: '{name}'.")
        _require(body.get("stream") is True, "this peer streams only")
        _check_tools(body)
        for index, message in enumerate(body["messages"]):
            _check_message(message, f"messages[{index}]")
        _check_pairs(body["messages"])
        _check_format(body.get("response_format"))

    def writer(self, request: Received, reply: Reply) -> Writer:
        """A writer for one reply."""
        body = request.body
        prompt = [body.get("tools", []), body["messages"]]
        return _Writer(body, reply, self._cache.common(msgspec.json.encode(prompt).decode()))

    def refusal(self, step: Step) -> Answer:
        """The HTTP answer to a scripted refusal."""
        match step:
            case RateLimit():
                text = "Rate limit reached for requests. Please try again later."
                error = _error(429, text, "requests", "rate_limit_exceeded")
                return Answer(error.status, error.body, wait_headers(step))
            case Overloaded():
                return _error(503, "The engine is currently overloaded.", "server_error")
            case ContextOverflow():
                text = (
                    "This model's maximum context length is 128000 tokens. However, your messages "
                    "resulted in 130001 tokens. Please reduce the length of the messages."
                )
                return _error(400, text, "invalid_request_error", "context_length_exceeded")
            case Status(status, message, code):
                kind = "server_error" if status >= 500 else "invalid_request_error"
                return _error(status, message, kind, code or None)
            case _:
                raise TypeError(step)

    def malformed(self, reason: str) -> Answer:
        """The service's 400."""
        return _error(400, reason, "invalid_request_error")

    def _check_head(self, request: Received) -> None:
        if request.path != "/v1/chat/completions" or request.method != "POST":
            text = f"Invalid URL ({request.method} {request.path})"
            raise Refused(_error(404, text, "invalid_request_error"), text)
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if given != self.key:
            text = f"Incorrect API key provided: {given}. You can find your API key at ..."
            answer = _error(401, text, "invalid_request_error", "invalid_api_key")
            raise Refused(answer, "wrong key")


def _error(status: int, message: str, kind: str, code: str | None = None) -> Answer:
    error: Json = {"message": message, "type": kind, "param": None, "code": code}
    return Answer(status, {"error": error})


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise Refused(_error(400, reason, "invalid_request_error"), reason)


# --- what is refused --------------------------------------------------------------------------


def _check_tools(body: Json) -> None:
    _require(body.get("tools") != [], "[] is too short - 'tools'")
    for index, tool in enumerate(body.get("tools") or ()):
        _check_name(tool["function"]["name"], f"tools[{index}].function.name")
        parameters = tool["function"]["parameters"]
        where = f"tools[{index}].function.parameters"
        _require(parameters.get("type") == "object", f"Invalid schema for '{where}': not an object")
        combined = parameters.keys() & {"anyOf", "oneOf", "allOf", "enum", "not"}
        _require(
            not combined,
            f"Invalid schema for '{where}': schema must have type 'object' and not have "
            "'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level.",
        )


def _check_name(name: str, where: str) -> None:
    _require(
        _NAME.fullmatch(name) is not None,
        f"Invalid '{where}': string does not match pattern. Expected a string that matches the "
        "pattern '^[a-zA-Z0-9_-]+$'.",
    )


def _check_message(message: Json, where: str) -> None:
    role = message["role"]
    _require(role in _ROLES, f"Invalid value: '{role}' for '{where}.role'")
    content = message.get("content")
    match role:
        case "assistant":
            _check_assistant(message, where)
        case "tool":
            _require(isinstance(content, str), f"Invalid type for '{where}.content'")
        case _:
            _require(bool(content), f"Invalid '{where}.content': empty")
            for part in () if isinstance(content, str) else content or ():
                _check_part(part, f"{where}.content")


def _check_part(part: Json, where: str) -> None:
    match part["type"]:
        case "text":
            _require(isinstance(part["text"], str), f"Invalid type for '{where}[].text'")
        case "image_url":
            _check_image(part["image_url"]["url"])
        case "input_audio":
            sound = part["input_audio"]
            known = sound["format"] in ("wav", "mp3")
            _require(known, f"Invalid value: '{sound['format']}'. Supported: 'wav' and 'mp3'.")
            media_type = "audio/wav" if sound["format"] == "wav" else "audio/mpeg"
            data = decoded(sound["data"])
            sounds = data is not None and appears_to_be(media_type, data)
            _require(sounds, "The data provided for 'input_audio' is not a valid audio file.")
        case other:
            _require(False, f"Invalid value: '{other}' for '{where}[].type'")


def _check_image(url: str) -> None:
    """An address of the web, or the image itself as a data URL."""
    if url.startswith(("https://", "http://")):
        return
    head, comma, text = url.partition(";base64,")
    media_type = head.removeprefix("data:")
    data = decoded(text) if comma else None
    supported = media_type in ("image/png", "image/jpeg", "image/gif", "image/webp")
    _require(
        supported and data is not None and appears_to_be(media_type, data),
        "You uploaded an unsupported image. Please make sure your image is valid and has of one"
        " the following formats: ['png', 'jpeg', 'gif', 'webp'].",
    )


def _check_assistant(message: Json, where: str) -> None:
    unknown = message.keys() - _ASSISTANT_FIELDS
    _require(not unknown, f"Additional properties are not allowed in '{where}': {unknown}")
    says_something = bool(message.get("content")) or bool(message.get("tool_calls"))
    _require(says_something, f"Invalid value for '{where}.content': expected a string, got null.")
    _require(message.get("tool_calls") != [], f"[] is too short - '{where}.tool_calls'")
    for index, call in enumerate(message.get("tool_calls") or ()):
        here = f"{where}.tool_calls[{index}]"
        _check_name(call["function"]["name"], f"{here}.function.name")
        long = len(call["id"]) > 40
        _require(not long, f"Invalid '{here}.id': string too long. Expected at most 40.")
        arguments = call["function"]["arguments"]
        _require(_is_json_object(arguments), f"Invalid '{here}.function.arguments': not JSON")


def _is_json_object(text: Any) -> bool:
    """OpenAI takes any string; vLLM and others parse it, so the peer does too."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _check_pairs(messages: list[Json]) -> None:
    open_ids: list[str] = []
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            call_id = message["tool_call_id"]
            _require(
                call_id in open_ids,
                f"Invalid parameter: messages[{index}] with role 'tool' must be a response to a "
                "preceeding message with 'tool_calls'.",
            )
            open_ids.remove(call_id)
            continue
        _require_answered(open_ids)
        open_ids = [call["id"] for call in message.get("tool_calls") or ()]
    _require_answered(open_ids)


def _require_answered(open_ids: list[str]) -> None:
    _require(
        not open_ids,
        "An assistant message with 'tool_calls' must be followed by tool messages responding to "
        "each 'tool_call_id'. The following tool_call_ids did not have response messages: "
        + ", ".join(open_ids),
    )


def _check_format(response_format: Json | None) -> None:
    if response_format is None or response_format["type"] != "json_schema":
        return
    named = response_format["json_schema"]
    _require(bool(named.get("name")), "Missing required parameter: 'json_schema.name'.")
    if named.get("strict"):
        schema = named["schema"]
        closed = schema.get("additionalProperties") is False
        _require(closed, "Invalid schema: 'additionalProperties' is required to be false.")
        required = set(schema.get("required", ())) == set(schema.get("properties", {}))
        _require(required, "Invalid schema: 'required' must include every key in properties.")


# --- what is answered -------------------------------------------------------------------------


class _Writer:
    """Chunks of one choice, a usage chunk when asked for, [DONE]."""

    def __init__(self, body: Json, reply: Reply, hit: int) -> None:
        self._body = body
        self._reply = reply
        self._calls = 0
        self._words = 0
        self._thoughts = 0
        self._hit = hit

    def open(self) -> Iterator[bytes]:
        yield self._chunk({"role": "assistant", "content": "", "refusal": None})

    def content(self, step: Say | Think) -> Iterator[bytes]:
        self._words += tokens(step.text)
        for piece in pieces(step.text, step.size):
            if isinstance(step, Think):
                yield self._chunk({"reasoning_content": piece, "content": None})
            else:
                yield self._chunk({"content": piece})

    def call(self, step: Call) -> Iterator[bytes]:
        text = msgspec.json.encode(step.input).decode() if step.raw is None else step.raw
        self._words += tokens(text)
        call_id = step.id or f"call_{uuid4().hex[:24]}"
        index, self._calls = self._calls, self._calls + 1
        function = {"name": step.tool, "arguments": ""}
        first: Json = {"index": index, "id": call_id, "type": "function", "function": function}
        yield self._chunk({"tool_calls": [first]})
        for piece in pieces(text, step.size):
            yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def close(self) -> Iterator[bytes]:
        reasons = {"max_tokens": "length", "refusal": "content_filter"}
        implied = "tool_calls" if self._calls else "stop"
        yield self._chunk({}, finish=reasons.get(stop_of(self._reply), implied))
        if self._body.get("stream_options", {}).get("include_usage"):
            yield sse({**self._head(), "choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def fail(self, kind: str) -> bytes:
        error_type, code, message = {
            "overloaded": ("server_error", "503", "The server is overloaded"),
            "rate_limit": ("requests", "rate_limit_exceeded", "Rate limit reached"),
            "server": ("server_error", None, "The server had an error"),
        }[kind]
        return sse({"error": {"message": message, "type": error_type, "code": code, "param": None}})

    def _usage(self) -> Json:
        given = usage_of(self._reply)
        prompt = given.input if given else tokens(self._body)
        output = given.output if given else max(1, self._words)
        details: Json = {"cached_tokens": given.hit if given else self._hit}
        if given and given.written:
            details["cache_write_tokens"] = given.written
        return {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": details,
        }

    def _head(self) -> Json:
        return {
            "id": "chatcmpl-peer",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": self._body["model"],
        }

    def _chunk(self, delta: Json, finish: str | None = None) -> bytes:
        choice: Json = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return sse({**self._head(), "choices": [choice], "usage": None})
