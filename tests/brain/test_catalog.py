"""The catalog: what is in it is checked as a whole, by file and field."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from september.brain.catalog import CatalogError, load_catalog
from september.brain.skills.prompt import parameters

STOCK = Path(__file__).resolve().parents[2] / "catalog"
PLATFORM = frozenset({"bash", "read_file", "ask_user", "skill"})

TOOL = {
    "name": "count_lines",
    "description": "Count the lines of a file.",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}},
    "implementation": {"kind": "platform", "ref": "read_file"},
}
SKILL = {"name": "poet", "description": "Writes verse."}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small catalog that is sound."""
    root = tmp_path / "catalog"
    put(root / "agents/assistant/agent.json", agent())
    (root / "agents/assistant/system-prompt.md").write_text("Help.")
    shutil.copy(STOCK / "core_soul.json", root)
    put(root / "tools/count_lines.json", TOOL)
    put(root / "skills/poet/skill.json", SKILL)
    (root / "skills/poet/prompt.md").write_text("Write a {{form|sonnet}} on {{subject}}.")
    return root


def agent(**more: object) -> dict[str, object]:
    return {"name": "assistant", "description": "Helps.", "tools": ["bash"], **more}


def put(file: Path, value: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))


def load(root: Path) -> None:
    load_catalog(root).check(PLATFORM)


def test_a_sound_catalog_is_read_whole(folder: Path) -> None:
    catalog = load_catalog(folder)
    catalog.check(PLATFORM)
    assert list(catalog.tools) == ["count_lines"]
    assert list(parameters(catalog.skills["poet"].prompt)) == ["form", "subject"]


def _agents_tools(root: Path) -> None:
    put(root / "agents/assistant/agent.json", agent(tools="bash"))


def _unknown_tool(root: Path) -> None:
    put(root / "agents/assistant/agent.json", agent(tools=["bash", "count_linse"]))


def _unknown_field(root: Path) -> None:
    put(root / "agents/assistant/agent.json", agent(toolz=[]))


def _missing_field(root: Path) -> None:
    put(root / "agents/assistant/agent.json", {"name": "assistant", "tools": []})


def _prompt_elsewhere(root: Path) -> None:
    path = "../../../secret.md"
    put(root / "agents/assistant/agent.json", agent(system_prompt_path=path))


def _other_name(root: Path) -> None:
    put(root / "agents/assistant/agent.json", {**agent(), "name": "helper"})


def _no_json(root: Path) -> None:
    (root / "tools/count_lines.json").write_text("{,}")


def _tool_name(root: Path) -> None:
    put(root / "tools/count_lines.json", {**TOOL, "name": "Count Lines"})


def _tool_schema(root: Path) -> None:
    schema = {"type": "object", "properties": {"path": {"type": "strnig"}}}
    put(root / "tools/count_lines.json", {**TOOL, "input_schema": schema})


def _tool_schema_elsewhere(root: Path) -> None:
    schema = {"type": "object", "properties": {"path": {"$ref": "http://127.0.0.1:1/x.json"}}}
    put(root / "tools/count_lines.json", {**TOOL, "input_schema": schema})


def _tool_schema_of_no_object(root: Path) -> None:
    put(root / "tools/count_lines.json", {**TOOL, "input_schema": {"type": "array"}})


def _tool_kind(root: Path) -> None:
    put(root / "tools/count_lines.json",
        {**TOOL, "implementation": {"kind": "python", "ref": "x"}})  # fmt: skip


def _tool_ref(root: Path) -> None:
    put(root / "tools/count_lines.json",
        {**TOOL, "implementation": {"kind": "skill", "ref": "poett"}})  # fmt: skip


def _mcp_ref(root: Path) -> None:
    put(root / "tools/count_lines.json",
        {**TOOL, "implementation": {"kind": "mcp", "ref": "github"}})  # fmt: skip


def _skill_name(root: Path) -> None:
    put(root / "skills/poet/skill.json", {**SKILL, "name": "Poet!"})


def _empty_skill(root: Path) -> None:
    (root / "skills/poet/prompt.md").unlink()


def _script_that_nothing_runs(root: Path) -> None:
    (root / "skills/poet/scripts").mkdir()
    (root / "skills/poet/scripts/rhyme.exe").write_text("MZ")


def _binary_prompt(root: Path) -> None:
    (root / "skills/poet/prompt.md").write_bytes(b"\xff\xfe")


BROKEN: list[tuple[Callable[[Path], None], str, str, str]] = [
    (_agents_tools, "agents/assistant/agent.json", "tools", "expected `array`"),
    (_unknown_tool, "agents/assistant/agent.json", "tools[1]", "did you mean 'count_lines'"),
    (_unknown_field, "agents/assistant/agent.json", "toolz", "unknown field"),
    (_missing_field, "agents/assistant/agent.json", "description", "missing required field"),
    (_prompt_elsewhere, "agents/assistant/agent.json", "system_prompt_path", "no file"),
    (_other_name, "agents/assistant/agent.json", "name", "make them equal"),
    (_no_json, "tools/count_lines.json", "", "no valid JSON"),
    (_tool_name, "tools/count_lines.json", "name", "regex"),
    (_tool_schema, "tools/count_lines.json", "input_schema.properties.path.type", "strnig"),
    (_tool_schema_elsewhere, "tools/count_lines.json", "input_schema", "another document"),
    (_tool_schema_of_no_object, "tools/count_lines.json", "input_schema.type", "object"),
    (_tool_kind, "tools/count_lines.json", "implementation.kind", "python"),
    (_tool_ref, "tools/count_lines.json", "implementation.ref", "did you mean 'poet'"),
    (_mcp_ref, "tools/count_lines.json", "implementation.ref", "server"),
    (_skill_name, "skills/poet/skill.json", "name", "regex"),
    (_empty_skill, "skills/poet/prompt.md", "prompt", "prompt, scripts, or both"),
    (_script_that_nothing_runs, "skills/poet/skill.json", "scripts.rhyme.exe", "begin it with #!"),
    (_binary_prompt, "skills/poet/prompt.md", "", "cannot be read"),
]


@pytest.mark.parametrize(("breaks", "file", "field", "words"), BROKEN)
def test_what_is_broken_is_refused_by_file_and_field(
    folder: Path, breaks: Callable[[Path], None], file: str, field: str, words: str
) -> None:
    breaks(folder)
    with pytest.raises(CatalogError) as refused:
        load(folder)
    assert refused.value.details["file"] == str(folder / file)
    assert refused.value.details.get("field", "") == field
    assert refused.value.message.startswith(f"CATALOG_DIR: {folder / file}: {field}")
    assert words in refused.value.message


def test_the_stock_catalog_has_skills_that_need_no_parameter() -> None:
    catalog = load_catalog(None)
    assert {"summarizer", "fact-checker", "code-reviewer"} <= set(catalog.skills)
    for skill in catalog.skills.values():
        assert all(parameters(skill.prompt).values()), skill.name
