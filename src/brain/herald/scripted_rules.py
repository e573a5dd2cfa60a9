"""Rules of the scripted provider: their file format, and what is wrong with a file.

A rules file is TOML or JSON:

    name = "greeting"                       # shows as the model's name
    [[rule]]
    match = "(?i)weather in (?P<city>.+)"   # every condition given must hold; the first rule wins
    step = 0                                # model messages this turn already has
    steps = [
      { text = "Looking up ${city}." },
      { tool = "bash", input = { command = "date" } },
    ]

Texts and tool inputs may hold `${...}`: a group of `match` by name or number, `user`, `model`,
`result.<tool>` (the last result of that tool in this turn) or `results` (all results the last
message brought), each with an optional filter `|first`, `|last` (a line) or `|quote`. `$${` is a
plain `${`.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast

import msgspec
from msgspec import Struct

from ...errors import ConfigError
from ..channels.events import JsonObject
from .conversation import StopReason, TokenUsage

FaultName: TypeAlias = Literal[
    "rate_limited",
    "overloaded",
    "unavailable",
    "timeout",
    "cut",
    "context_overflow",
    "auth",
    "rejected",
    "stall",
]
"""What a step can fail with: the values of `Fault`, or `stall`: silence until it is a timeout."""

FILTERS: Final = ("first", "last", "quote")
"""What may follow a `|` in a placeholder."""

PLACEHOLDER: Final = re.compile(r"\$?\$\{(?P<name>[\w.]+)(?:\|(?P<filter>\w+))?\}")
"""A placeholder, or with two dollars an escaped one."""


class Step(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One thing to do: exactly one of text, thinking, tool, fault and wait_s.

    A thinking step is played only where the request asks for extended thinking.
    `delay_ms` passes between the pieces of a text, which are `piece_chars` long (both default to
    the script's). `raw_input` is a tool's input as text that need not be JSON, for what models
    get wrong. `retry_after` (seconds) and `message` belong to a fault.
    """

    text: str | None = None
    thinking: str | None = None
    tool: str | None = None
    input: JsonObject = {}
    raw_input: str | None = None
    fault: FaultName | None = None
    retry_after: float | None = None
    message: str = ""
    wait_s: float | None = None
    delay_ms: float | None = None
    piece_chars: int | None = None


class Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Conditions, and the one model message that answers a request for which they all hold.

    `match`, `system`, `model` and `result` are regular expressions, searched in the last user
    text, the system prompt, the model's name and the last tool results. `after_tool` names a tool
    among those results. `times` is how often the rule may be used at all.
    """

    steps: tuple[Step, ...]
    name: str = ""
    match: str | None = None
    system: str | None = None
    model: str | None = None
    step: int | None = None
    after_tool: str | None = None
    result: str | None = None
    times: int | None = None
    usage: TokenUsage | None = None
    stop_reason: StopReason | None = None


class Script(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rules file. `delay_ms` and `piece_chars` are how its texts stream.

    `hint` is told to a user whose message fits no rule.
    """

    rules: tuple[Rule, ...] = msgspec.field(name="rule")
    name: str = "script"
    delay_ms: float = 0.0
    piece_chars: int = 24
    hint: str = ""


def load(path: Path) -> Script:
    """Read and check a rules file; `.json` is JSON, anything else TOML.

    Raises ConfigError for SCRIPTED_RULES that names the file, the rule and the field.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError("SCRIPTED_RULES", f"{path}: {error}") from error
    return parse(data, str(path))


def parse(data: object, origin: str) -> Script:
    """Check rules that are already decoded; `origin` is the file's name for the errors."""
    try:
        script = msgspec.convert(data, Script)
    except msgspec.ValidationError as error:
        raise _wrong(origin, _place(str(error), data)) from error
    for number, rule in enumerate(script.rules, 1):
        try:
            _check_rule(rule)
        except ValueError as error:
            raise _wrong(origin, f"{_title(number, rule.name)}: {error}") from error
    return script


def _wrong(origin: str, what: str) -> ConfigError:
    return ConfigError("SCRIPTED_RULES", f"{origin}: {what}")


def _title(number: int, name: str) -> str:
    return f"rule {number} ({name})" if name else f"rule {number}"


_PATH: Final = re.compile(r" - at `\$(?:\.rule\[(?P<rule>\d+)\])?\.?(?P<field>[^`]*)`$")


def _place(message: str, data: object) -> str:
    """Say msgspec's `$.rule[0].steps[1].text` in the words of the file's author."""
    found = _PATH.search(message)
    if found is None:
        return message
    what = message[: found.start()]
    where = f"field {found['field']}: " if found["field"] else ""
    if found["rule"] is None:
        return f"{where}{what}"
    index = int(found["rule"])
    return f"{_title(index + 1, _name_of(data, index))}: {where}{what}"


def _name_of(data: object, index: int) -> str:
    """The name of a rule in a file that does not validate, if it has one."""
    try:
        name = cast("dict[str, list[dict[str, object]]]", data)["rule"][index]["name"]
    except (KeyError, TypeError, IndexError):
        return ""
    return name if isinstance(name, str) else ""


def _check_rule(rule: Rule) -> None:
    groups: set[str] = set()
    for field in ("match", "system", "model", "result"):
        pattern = _pattern(field, getattr(rule, field))
        if field == "match" and pattern is not None:
            groups = {str(n) for n in range(pattern.groups + 1)} | set(pattern.groupindex)
    if not rule.steps:
        raise ValueError("field steps: is empty; give at least one step")
    for number, step in enumerate(rule.steps):
        try:
            _check_step(step, groups)
        except ValueError as error:
            raise ValueError(f"field steps[{number}]: {error}") from None


def _pattern(field: str, text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"field {field}: is not a regular expression: {error}") from None


def _check_step(step: Step, groups: set[str]) -> None:
    kinds = (step.text, step.thinking, step.tool, step.fault, step.wait_s)
    if sum(kind is not None for kind in kinds) != 1:
        raise ValueError("give exactly one of text, thinking, tool, fault, wait_s")
    if (step.input or step.raw_input is not None) and step.tool is None:
        raise ValueError("input and raw_input belong to a tool")
    if step.piece_chars is not None and step.piece_chars < 1:
        raise ValueError("piece_chars must be at least 1")
    for text in strings_in((step.text, step.thinking, step.input)):
        _check_placeholders(text, groups)


def strings_in(value: object) -> list[str]:
    """All strings inside a JSON-like value, keys left out."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(cast("JsonObject", value).values())
    if isinstance(value, list | tuple):
        return [text for item in cast("list[object]", value) for text in strings_in(item)]
    return []


def _check_placeholders(text: str, groups: set[str]) -> None:
    for found in PLACEHOLDER.finditer(text):
        name = found["name"]
        known = name in groups or name in {"user", "model", "results"} or name[:7] == "result."
        if found[0].startswith("$$"):
            continue
        if not known:
            raise ValueError(f"${{{name}}} is neither a group of match nor a known name")
        if found["filter"] not in (None, *FILTERS):
            raise ValueError(f"|{found['filter']} is no filter; use {', '.join(FILTERS)}")
