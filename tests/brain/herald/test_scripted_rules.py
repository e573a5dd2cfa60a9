"""Rules files: what is refused, and in which words."""

import json
from pathlib import Path

import pytest

from september.brain.herald.scripted_rules import load, parse
from september.errors import ConfigError

HI = {"steps": [{"text": "hi"}]}


def complaint(rule: object) -> str:
    with pytest.raises(ConfigError) as caught:
        parse({"rule": [HI, rule]}, "rules.toml")
    assert caught.value.details == {"variable": "SCRIPTED_RULES"}
    return caught.value.message.removeprefix("SCRIPTED_RULES: ")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            {"name": "greet", "match": "(", "steps": [{"text": "x"}]},
            "rules.toml: rule 2 (greet): field match: is not a regular expression: "
            "missing ), unterminated subpattern at position 0",
        ),
        (
            {"name": "greet", "steps": []},
            "rules.toml: rule 2 (greet): field steps: is empty; give at least one step",
        ),
        (
            {"steps": [{"text": "a"}, {"text": "a", "tool": "b"}]},
            "rules.toml: rule 2: field steps[1]: "
            "give exactly one of text, thinking, tool, fault, wait_s",
        ),
        (
            {"steps": [{"text": "${city}"}], "match": "(?P<town>.)"},
            "rules.toml: rule 2: field steps[0]: "
            "${city} is neither a group of match nor a known name",
        ),
        (
            {"steps": [{"tool": "bash", "input": {"deep": [{"er": "${2}"}]}}], "match": "(.)"},
            "rules.toml: rule 2: field steps[0]: ${2} is neither a group of match nor a known name",
        ),
        (
            {"steps": [{"text": "${user|loud}"}]},
            "rules.toml: rule 2: field steps[0]: |loud is no filter; use first, last, quote",
        ),
        (
            {"steps": [{"text": "x", "input": {"a": 1}}]},
            "rules.toml: rule 2: field steps[0]: input and raw_input belong to a tool",
        ),
        (
            {"steps": [{"text": "x", "piece_chars": 0}]},
            "rules.toml: rule 2: field steps[0]: piece_chars must be at least 1",
        ),
        (
            {"name": "greet", "steps": [{"text": 5}]},
            "rules.toml: rule 2 (greet): field steps[0].text: Expected `str | null`, got `int`",
        ),
        (
            {"name": "greet", "steps": [{"fault": "bored"}]},
            "rules.toml: rule 2 (greet): field steps[0].fault: Invalid enum value 'bored'",
        ),
        (
            {"name": "greet", "steps": [{"text": "x"}], "mach": "x"},
            "rules.toml: rule 2 (greet): Object contains unknown field `mach`",
        ),
        (
            {"name": "greet"},
            "rules.toml: rule 2 (greet): Object missing required field `steps`",
        ),
    ],
)
def test_a_wrong_rule_is_named_with_its_file_and_field(rule: object, expected: str) -> None:
    assert complaint(rule) == expected


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    toml, as_json = tmp_path / "a.toml", tmp_path / "a.json"
    toml.write_text('name = "x"\n[[rule]]\nmatch = "a"\nsteps = [{ text = "b" }]\n')
    as_json.write_text(
        json.dumps({"name": "x", "rule": [{"match": "a", "steps": [{"text": "b"}]}]})
    )
    assert load(toml) == load(as_json)


@pytest.mark.parametrize(("name", "text"), [("a.toml", "[[rule"), ("a.json", "{"), ("b", "= 1")])
def test_a_file_that_cannot_be_read_as_what_it_is_says_where(
    tmp_path: Path, name: str, text: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match=name):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml")
