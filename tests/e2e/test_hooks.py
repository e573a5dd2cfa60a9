"""Hooks: commands of the catalog that allow, deny, ask, amend and add, and whose failures show."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from september.brain.catalog import catalog_root, load_catalog
from september.brain.catalog.files import CatalogError
from tests.peers import Call, Say, script

from .client import Event, named, phases, text_of
from .stage import Stage, staged

WRITE = Call("write_file", {"path": "a.txt", "content": "hello"})
TWICE = script([WRITE], [Say("Done.")])


def catalog(folder: Path, *hooks: dict[str, Any], scripts: dict[str, str] | None = None) -> str:
    """The stock catalog with these hooks; returns its path."""
    shutil.copytree(str(catalog_root(None)), folder)
    (folder / "hooks.json").write_text(json.dumps({"hooks": list(hooks)}))
    (folder / "hooks").mkdir()
    for name, text in (scripts or {}).items():
        (folder / "hooks" / name).write_text(text)
    return str(folder)


def hook(command: str, event: str = "pre_tool", **more: Any) -> dict[str, Any]:
    """A hook with this command."""
    return {"name": more.pop("name", "guard"), "event": event, "command": command, **more}


def answering(**answer: Any) -> str:
    """A command that answers with this object."""
    return f"cat > /dev/null; echo '{json.dumps(answer)}'"


def told(events: list[Event]) -> list[tuple[str, str]]:
    """What hooks had to say: outcome and message."""
    return [(one["outcome"], one["message"]) for one in named(events, "hook_result")]


def said(stage: Stage, number: int = -1) -> str:
    """What the model was sent, as text."""
    return str(stage.peer.requests[number].body)


async def test_a_hook_sees_the_call_and_a_plain_yes_is_not_told(tmp_path: Path) -> None:
    look = hook('cat > seen.json; test -r "$HOOKS_DIR/rule"', tools=["write_*"])
    flags = {"CATALOG_DIR": catalog(tmp_path / "c", look, scripts={"rule": "x"})}
    async with staged("openai", TWICE, tmp_path, **flags) as stage:
        events = await stage.client.turn()
        seen = json.loads((stage.workspace / "seen.json").read_text())
    assert told(events) == []
    assert seen["event"] == "pre_tool" and seen["tool"] == "write_file"
    assert seen["input"] == WRITE.input and seen["task_id"] == "task"
    assert seen["agent"] == "assistant" and seen["tool_call_id"]


@pytest.mark.parametrize(
    "command", ["echo 'not here'; exit 2", answering(decision="deny", reason="not here")]
)
async def test_a_hook_denies_and_the_model_hears_why(command: str, tmp_path: Path) -> None:
    flags = {"CATALOG_DIR": catalog(tmp_path / "c", hook(command))}
    async with staged("openai", TWICE, tmp_path, **flags) as stage:
        events = await stage.client.turn()
        assert not (stage.workspace / "a.txt").exists()
    (result,) = named(events, "tool_result")
    assert (result["error"], result["output"]) == ("denied_by_hook", "not here")
    assert told(events) == [("denied", "not here")] and "not here" in said(stage)


async def test_hooks_amend_the_input_in_turn_and_add_context(tmp_path: Path) -> None:
    first = hook(
        answering(input={"path": "b.txt", "content": "amended"}, context="kept in b.txt"), name="1"
    )
    second = hook("cat > seen.json", name="2")
    other = hook("exit 2", name="3", tools=["bash"])
    flags = {"CATALOG_DIR": catalog(tmp_path / "c", first, second, other)}
    async with staged("openai", TWICE, tmp_path, **flags) as stage:
        events = await stage.client.turn()
        assert (stage.workspace / "b.txt").read_text() == "amended"
        seen = json.loads((stage.workspace / "seen.json").read_text())
    assert seen["input"]["path"] == "b.txt"
    (result,) = named(events, "tool_result")
    assert result["error"] is None and "[hook 1] kept in b.txt" in result["output"]
    assert told(events) == [("amended", "")]


async def test_an_amended_input_is_checked_like_the_models_own(tmp_path: Path) -> None:
    flags = {"CATALOG_DIR": catalog(tmp_path / "c", hook(answering(input={"path": 1})))}
    async with staged("openai", TWICE, tmp_path, **flags) as stage:
        events = await stage.client.turn()
    (result,) = named(events, "tool_result")
    assert result["error"] == "invalid_input" and "a hook made" in result["output"]


@pytest.mark.parametrize("answer", ["yes", "no"])
async def test_a_hook_has_a_person_decide(answer: str, tmp_path: Path) -> None:
    asks = hook(answering(decision="ask", reason="It is Friday."))
    flags = {"CATALOG_DIR": catalog(tmp_path / "c", asks)}
    async with staged("openai", TWICE, tmp_path, **flags) as stage:
        async with stage.client.execute() as stream:
            asked = (await stream.until("hitl_request")).data
            assert asked["kind"] == "permission" and "It is Friday." in asked["question"]
            await stage.client.answer(answer)
            events = await stream.rest()
        assert (stage.workspace / "a.txt").exists() == (answer == "yes")
    (result,) = named(events, "tool_result")
    assert result["error"] == (None if answer == "yes" else "permission_denied")


FAILURES = [
    ("exit 7", "exit code 7"),
    ("sleep 60", "did not answer in time"),
    ('echo \'{"decision": "perhaps"}\'', "not valid"),
    ("echo '{'", "not valid"),
]


@pytest.mark.parametrize(("command", "why"), FAILURES)
@pytest.mark.parametrize("on_failure", [None, "allow"])
async def test_a_hook_that_fails_shows_and_never_blocks(
    command: str, why: str, on_failure: str | None, tmp_path: Path
) -> None:
    failing = hook(command, timeout_s=0.5, on_failure=on_failure)
    flags = {"CATALOG_DIR": catalog(tmp_path / "c", failing)}
    async with staged("openai", TWICE, tmp_path, **flags) as stage:
        events = await stage.client.turn()
        assert (stage.workspace / "a.txt").exists() == (on_failure == "allow")
    ((outcome, message),) = told(events)
    assert outcome == "failed" and why in message
    assert phases(events) == ["started", "completed"]


async def test_a_hook_after_a_tool_adds_and_withholds(tmp_path: Path) -> None:
    read = Call("bash", {"command": "echo number $((40 + 2))"})
    adds = hook(answering(context="looked at"), "post_tool", name="adds")
    held = "grep -q 'number 42' && exit 2 || exit 0"
    withholds = hook(held, "post_tool", name="no", tools=["bash"])
    flags = {"CATALOG_DIR": catalog(tmp_path / "c", adds, withholds)}
    async with staged("openai", script([WRITE, read], [Say("ok")]), tmp_path, **flags) as stage:
        events = await stage.client.turn()
    results = {one["tool"]: one for one in named(events, "tool_result")}
    assert "[hook adds] looked at" in results["write_file"]["output"]
    assert results["bash"]["error"] == "withheld_by_hook"
    assert "number 42" not in str(events) + said(stage)


async def test_a_stop_hook_sends_the_turn_on_but_not_for_ever(tmp_path: Path) -> None:
    picky = hook(answering(decision="continue", reason="Run the tests."), "stop")
    flags = {"CATALOG_DIR": catalog(tmp_path / "c", picky)}
    async with staged("openai", script([Say("Done. ")], repeat=True), tmp_path, **flags) as stage:
        events = await stage.client.turn()
        again = await stage.client.turn("More")
    assert text_of(events) == "Done. " * 4
    assert told(events) == [("continued", "Run the tests.")] * 3
    assert "Run the tests." in said(stage, 1) and phases(again) == ["started", "completed"]


@pytest.mark.parametrize(
    "flag",
    ["PRE_TOOL_HOOKS_ENABLED", "POST_TOOL_HOOKS_ENABLED", "STOP_HOOKS_ENABLED",
     "HOOKS_SETTINGS_LOAD_ENABLED"],
)  # fmt: skip
async def test_each_flag_turns_its_hooks_off(flag: str, tmp_path: Path) -> None:
    hooks = [
        hook(f"cat > {event}", event, name=event) for event in ("pre_tool", "post_tool", "stop")
    ]
    flags = {"CATALOG_DIR": catalog(tmp_path / "c", *hooks), flag: "false"}
    async with staged("openai", TWICE, tmp_path, **flags) as stage:
        await stage.client.turn()
        ran = {
            event
            for event in ("pre_tool", "post_tool", "stop")
            if (stage.workspace / event).exists()
        }
    off = {"HOOKS_SETTINGS_LOAD_ENABLED": {"pre_tool", "post_tool", "stop"}}
    left = {"PRE_TOOL": "pre_tool", "POST_TOOL": "post_tool", "STOP": "stop"}
    gone = off.get(flag) or {left[flag.removesuffix("_HOOKS_ENABLED")]}
    assert ran == {"pre_tool", "post_tool", "stop"} - gone


BAD = [
    ({"name": "x", "event": "before", "command": "true"}, "hooks[0].event"),
    ({"name": "x", "event": "stop"}, "command"),
    ({"name": "x", "event": "stop", "command": ""}, "hooks[0].command"),
    ({"name": "x", "event": "stop", "command": "true", "timeout_s": 100}, "hooks[0].timeout_s"),
    ({"name": "x", "event": "stop", "command": "true", "when": "now"}, "when"),
]


@pytest.mark.parametrize(("bad", "field"), BAD)
def test_a_broken_file_names_the_field(bad: dict[str, Any], field: str, tmp_path: Path) -> None:
    folder = Path(catalog(tmp_path / "c", bad))
    with pytest.raises(CatalogError, match=r"hooks\.json") as error:
        load_catalog(folder)
    assert field in str(error.value)
    assert load_catalog(folder, hooks=False).hooks == ()


def test_two_hooks_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = Path(catalog(tmp_path / "c", hook("true"), hook("false")))
    with pytest.raises(CatalogError, match="there twice"):
        load_catalog(folder)
