"""Gemini's streamGenerateContent from the server's side."""

import base64
import hashlib
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

_PATH = re.compile(r"/v1(?:beta)?/models/([\w.-]+):streamGenerateContent\?alt=sse")
_FIELDS = frozenset(
    "contents systemInstruction tools toolConfig generationConfig safetySettings".split()
)
_CONFIG_FIELDS = frozenset(
    "maxOutputTokens temperature topP topK stopSequences thinkingConfig responseMimeType "
    "responseSchema responseJsonSchema candidateCount".split()
)
_SCHEMA_FIELDS = frozenset(
    "type format title description nullable enum maxItems minItems properties required "
    "minProperties maxProperties minLength maxLength pattern example anyOf propertyOrdering "
    "default items minimum maximum".split()
)
_TYPES = frozenset("STRING NUMBER INTEGER BOOLEAN ARRAY OBJECT NULL".split())
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")


_MARK = b"gemini-signature:"


def sign(subject: str) -> str:
    """The signature (base64) this service puts on a part."""
    return base64.b64encode(_MARK + hashlib.sha256(subject.encode()).digest()).decode()


def is_signature(text: str) -> bool:
    """Whether the service made this signature, or documents it as a stand-in."""
    plain = base64.b64decode(text.replace("-", "+").replace("_", "/"))
    return plain.startswith(_MARK) or plain == b"skip_thought_signature_validator"


class GeminiWire:
    """`POST /v1beta/models/{model}:streamGenerateContent?alt=sse`."""

    name = "gemini"

    def __init__(self, key: str) -> None:
        self.key = key
        self._cache = PrefixCache()

    def check(self, request: Received) -> None:
        """Raise Refused for what Gemini refuses, in its words."""
        model = self._check_head(request)
        body = request.body
        _require_known(body, _FIELDS, "")
        _require_known(body.get("generationConfig", {}), _CONFIG_FIELDS, " at 'generation_config'")
        _require(bool(body.get("contents")), "* GenerateContentRequest.contents: not specified")
        _check_declarations(body)
        for index, content in enumerate(body["contents"]):
            _check_content(content, f"contents[{index}]")
        _check_turns(body["contents"])
        if re.match(r"gemini-([3-9]|\d\d)", model):
            _check_signed(body["contents"])
        elif body.get("tools"):
            json_asked = "responseMimeType" in body.get("generationConfig", {})
            _require(
                not json_asked,
                "Function calling with a response mime type: 'application/json' is unsupported",
            )

    def writer(self, request: Received, reply: Reply) -> Writer:
        """A writer for one reply."""
        body = request.body
        prompt = [body.get("systemInstruction"), body.get("tools"), body["contents"]]
        hit = self._cache.common(msgspec.json.encode(prompt).decode())
        model = _PATH.fullmatch(request.path)
        return _Writer(model[1] if model else "", body, reply, hit)

    def refusal(self, step: Step) -> Answer:
        """The HTTP answer to a scripted refusal."""
        match step:
            case RateLimit():
                return _rate_limit(step)
            case Overloaded():
                return _error(503, "UNAVAILABLE", "The model is overloaded.")
            case ContextOverflow():
                return self.malformed(
                    "The input token count (1234567) exceeds the maximum number of tokens allowed "
                    "(1048576)."
                )
            case Status(code, message):
                return _error(code, _STATUSES.get(code, "UNKNOWN"), message)
            case _:
                raise TypeError(step)

    def malformed(self, reason: str) -> Answer:
        """The service's 400."""
        return _error(400, "INVALID_ARGUMENT", reason)

    def _check_head(self, request: Received) -> str:
        path = _PATH.fullmatch(request.path)
        if path is None or request.method != "POST":
            raise Refused(_error(404, "NOT_FOUND", "not found"), f"wrong path {request.path}")
        given = request.headers.get("x-goog-api-key")
        if given != self.key:
            text = "API key not valid. Please pass a valid API key."
            info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo"}
            detail: Json = {**info, "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
            raise Refused(_error(400, "INVALID_ARGUMENT", text, detail), "wrong key")
        return path[1]


_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def _error(code: int, status: str, message: str, *details: Json) -> Answer:
    error: Json = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return Answer(code, {"error": error})


def _rate_limit(step: RateLimit) -> Answer:
    """Gemini tells the wait in a RetryInfo; proxies in front of it in headers."""
    text = "You exceeded your current quota. Please try again later."
    if step.form != "body":
        return Answer(429, _error(429, "RESOURCE_EXHAUSTED", text).body, wait_headers(step))
    info = "type.googleapis.com/google.rpc.RetryInfo"
    detail: Json = {"@type": info, "retryDelay": f"{step.retry_after:g}s"}
    return _error(429, "RESOURCE_EXHAUSTED", text, detail)


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise Refused(_error(400, "INVALID_ARGUMENT", reason), reason)


def _require_known(value: Json, fields: frozenset[str], where: str) -> None:
    for name in value.keys() - fields:
        _require(
            False,
            f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.',
        )


# --- what is refused --------------------------------------------------------------------------


def _check_declarations(body: Json) -> None:
    names: list[str] = []
    for tool in body.get("tools") or ():
        for index, function in enumerate(tool["functionDeclarations"]):
            where = f"tools[0].function_declarations[{index}]"
            _require_known(function, frozenset(("name", "description", "parameters")), where)
            named = _NAME.fullmatch(function["name"]) is not None
            _require(named, f"* {where}.name: Invalid function name. Must start with a letter ...")
            names.append(function["name"])
            if "parameters" in function:
                check_schema(function["parameters"], f"{where}.parameters")
                filled = bool(function["parameters"].get("properties"))
                _require(filled, f"* {where}.parameters.properties: should be non-empty for OBJECT")
    _require(len(names) == len(set(names)), "Duplicate function declaration found")


def _camel_cased(value: Json) -> Json:
    """Fields in lowerCamelCase. proto3 JSON takes a proto's own snake_case names too, and the SDK
    sends those (https://protobuf.dev/programming-guides/json, "Field names").
    """
    return {re.sub(r"_([a-z])", lambda m: m[1].upper(), name): item for name, item in value.items()}


def check_schema(schema: Json, where: str) -> None:
    """Raise Refused for a schema outside Gemini's subset of OpenAPI."""
    schema = _camel_cased(schema)
    _require_known(schema, _SCHEMA_FIELDS, f" at '{where}'")
    if "anyOf" in schema:
        alone = schema.keys() <= {"anyOf"}
        _require(alone, f"{where}: when using any_of, it must be the only field set")
        for option in schema["anyOf"]:
            check_schema(option, f"{where}.any_of")
        return
    _require(schema.get("type") in _TYPES, f"* {where}.type: unknown type {schema.get('type')}")
    properties = schema.get("properties", {})
    for name, child in properties.items():
        check_schema(child, f"{where}.properties[{name}]")
    for name in schema.get("required", ()):
        _require(name in properties, f"* {where}.required: property is not defined: {name}")
    if schema["type"] == "ARRAY":
        _require("items" in schema, f"* {where}.items: missing field.")
        check_schema(schema["items"], f"{where}.items")
    if "enum" in schema:
        _require(schema["type"] == "STRING", f"* {where}.enum: only allowed for STRING type")
        _require(all(schema["enum"]), f"* {where}.enum: cannot be empty")


def _check_content(content: Json, where: str) -> None:
    _require(content.get("role") in ("user", "model"), "Please use a valid role: user, model.")
    parts = content.get("parts")
    _require(bool(parts), f"* GenerateContentRequest.{where}.parts: must not be empty.")
    for part in parts or ():
        _check_part(part, content["role"], where)
        signature = part.get("thoughtSignature")
        known = signature is None or is_signature(signature)
        _require(known, f"{where}: Thought signature is not valid.")


def _check_part(part: Json, role: str, where: str) -> None:
    data = part.keys() & {"text", "functionCall", "functionResponse", "inlineData", "fileData"}
    _require(len(data) == 1, f"{where}.parts: required oneof field 'data' must have one field")
    if "text" in part:
        filled = bool(part["text"]) or "thoughtSignature" in part
        _require(filled, f"{where}.parts: Unable to submit request: empty text parameter")
    if "inlineData" in part:
        _check_blob(part["inlineData"])
    # External addresses work for some models only; what the Engine sends must work for all.
    _require("fileData" not in part, "Cannot fetch content from the provided URL.")
    belongs = {"functionCall": "model", "functionResponse": "user", "inlineData": "user"}
    kind = next(iter(data))
    _require(belongs.get(kind, role) == role, f"{where}: {kind} does not belong to role {role}")


_BLOBS = frozenset(
    "image/png image/jpeg image/webp image/heic image/heif application/pdf audio/wav audio/mp3"
    " audio/mpeg audio/aiff audio/aac audio/ogg audio/flac video/mp4 video/mpeg video/quicktime"
    " video/mov video/avi video/x-msvideo video/x-flv video/webm video/wmv video/3gpp".split()
)


def _check_blob(blob: Json) -> None:
    blob = _camel_cased(blob)
    media_type = blob["mimeType"]
    _require(media_type in _BLOBS, f"Unsupported MIME type: {media_type}")
    data = decoded(blob["data"])
    usable = data is not None and appears_to_be(media_type, data)
    _require(usable, "Unable to process input image. Please retry or report.")


def _check_turns(contents: list[Json]) -> None:
    """Calls right after a user turn, as many responses right after the calls, same names."""
    _require(contents[0]["role"] == "user", "Please ensure that multiturn requests begin as user.")
    _require(contents[-1]["role"] == "user", "Please ensure that multiturn requests end as user.")
    before: Json = {"role": "user", "parts": []}
    for content in contents:
        calls = _named(before, "functionCall")
        responses = _named(content, "functionResponse")
        if calls or responses:
            _require(
                len(calls) == len(responses),
                "Please ensure that the number of function response parts is equal to the number "
                "of function call parts of the function call turn.",
            )
            _require(calls == responses, f"function responses {responses} do not match {calls}")
        if _named(content, "functionCall"):
            _require(
                before["role"] == "user",
                "Please ensure that function call turn comes immediately after a user turn or "
                "after a function response turn.",
            )
        before = content


def _named(content: Json, kind: str) -> list[tuple[str, str]]:
    parts = (part[kind] for part in content["parts"] if kind in part)
    return sorted((part["name"], part.get("id", "")) for part in parts)


def _check_signed(contents: list[Json]) -> None:
    """Within the current turn, the first call of each step carries a signature (Gemini 3)."""
    said = [i for i, content in enumerate(contents) if _is_said(content)]
    for content in contents[said[-1] if said else 0 :]:
        calls = [part for part in content["parts"] if "functionCall" in part]
        _require(
            not calls or "thoughtSignature" in calls[0],
            "Function call is missing a thought_signature in functionCall parts. This is required "
            "for tools to work correctly.",
        )


def _is_said(content: Json) -> bool:
    return content["role"] == "user" and not _named(content, "functionResponse")


# --- what is answered -------------------------------------------------------------------------


class _Writer:
    """Chunks of one candidate; the last one has the finishReason."""

    def __init__(self, model: str, body: Json, reply: Reply, hit: int) -> None:
        self._model = model
        self._body = body
        self._reply = reply
        self._hit = hit
        self._words = 0
        self._thoughts = 0
        self._signed_a_call = False
        self._malformed = ""

    def open(self) -> Iterator[bytes]:
        return iter(())

    def content(self, step: Say | Think) -> Iterator[bytes]:
        thinks = isinstance(step, Think)
        if thinks:
            self._thoughts += tokens(step.text)
        else:
            self._words += tokens(step.text)
        for piece in pieces(step.text, step.size):
            yield self._chunk([{"text": piece, "thought": True} if thinks else {"text": piece}])

    def call(self, step: Call) -> Iterator[bytes]:
        if step.raw is not None:
            self._malformed = f"Malformed function call: {step.tool}({step.raw}"
            return
        self._words += tokens(step.input)
        call_id = step.id or uuid4().hex[:8]
        part: Json = {"functionCall": {"id": call_id, "name": step.tool, "args": step.input}}
        if not self._signed_a_call:
            self._signed_a_call = True
            part["thoughtSignature"] = sign(call_id)
        yield self._chunk([part])

    def close(self) -> Iterator[bytes]:
        reasons = {"max_tokens": "MAX_TOKENS", "refusal": "SAFETY"}
        finish = reasons.get(stop_of(self._reply), "STOP")
        if self._malformed:
            yield self._chunk([], finish="MALFORMED_FUNCTION_CALL", message=self._malformed)
            return
        signed = not self._signed_a_call and self._thoughts
        last: list[Json] = [{"text": "", "thoughtSignature": sign("text")}] if signed else []
        yield self._chunk(last, finish=finish)

    def fail(self, kind: str) -> bytes:
        code, status, message = {
            "overloaded": (503, "UNAVAILABLE", "The model is overloaded."),
            "rate_limit": (429, "RESOURCE_EXHAUSTED", "Quota exceeded."),
            "server": (500, "INTERNAL", "Internal error encountered."),
        }[kind]
        error: Json = {"code": code, "message": message, "status": status}
        return sse({"error": error}, newline="\r\n")

    def _usage(self) -> Json:
        given = usage_of(self._reply)
        hit = given.hit if given else self._hit
        output = given.output if given else max(1, self._words + self._thoughts)
        thoughts = min(self._thoughts, output)
        counts: Json = {
            "promptTokenCount": given.input if given else tokens(self._body),
            "candidatesTokenCount": output - thoughts,
        }
        if thoughts:
            counts["thoughtsTokenCount"] = thoughts
        return {**counts, "cachedContentTokenCount": hit} if hit else counts

    def _chunk(self, parts: list[Json], finish: str = "", message: str = "") -> bytes:
        candidate: Json = {"index": 0}
        if parts:
            candidate["content"] = {"parts": parts, "role": "model"}
        if finish:
            candidate["finishReason"] = finish
        if message:
            candidate["finishMessage"] = message
        chunk: Any = {
            "candidates": [candidate],
            "usageMetadata": self._usage(),
            "modelVersion": self._model,
            "responseId": "peer",
        }
        return sse(chunk, newline="\r\n")
