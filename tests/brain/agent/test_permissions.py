"""Which tool calls run, which ask first, and which may not run at all."""

from pathlib import Path

import pytest

from september.brain.agent.permissions import Allow, Ask, Deny, decide
from september.brain.agent.tools import Tool, ToolContext, ToolOutput
from september.brain.channels.events import JsonObject
from september.brain.herald.conversation import ToolDef


async def nothing(arguments: JsonObject, context: ToolContext) -> ToolOutput:
    return ToolOutput("")


def tool(name: str, *, requires_permission: bool = False) -> Tool:
    return Tool(ToolDef(name, "", {"type": "object"}), nothing, requires_permission)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read_file", {"path": "/etc/passwd"}),
        ("grep", {"pattern": "x", "path": "/etc"}),
        ("find", {"pattern": "*"}),
        ("knowledge_search", {"query": "x"}),
        ("web_search", {"query": "x"}),
        ("anything.else", {}),
        ("bash", {"command": "git status"}),
        ("write_file", {"path": "new.txt", "content": ""}),
        ("write_file", {"path": "a/b/../c.txt", "content": ""}),
    ],
)
def test_reading_and_work_inside_the_roots_never_ask(
    name: str, arguments: JsonObject, workspace: Path
) -> None:
    assert decide(tool(name), arguments, (), workspace) == Allow()


def test_a_tool_that_requires_permission_asks_every_time(workspace: Path) -> None:
    careful = tool("read_file", requires_permission=True)
    assert isinstance(decide(careful, {"path": "x"}, (), workspace), Ask)
    shell = tool("bash", requires_permission=True)
    assert isinstance(decide(shell, {"command": "ls"}, (), workspace), Ask)


def test_a_dangerous_command_asks_with_its_reason(workspace: Path) -> None:
    decision = decide(tool("bash"), {"command": "rm -rf /etc"}, (), workspace)
    assert decision == Ask("it removes /etc, outside the allowed folders")


@pytest.mark.parametrize("path", ["/etc/motd", "../out.txt", "link/out.txt"])
def test_writing_outside_the_roots_asks_and_would_grant_that_path_alone(
    path: str, workspace: Path, tmp_path: Path
) -> None:
    (workspace / "link").symlink_to(tmp_path)
    decision = decide(tool("write_file"), {"path": path, "content": "x"}, (), workspace)
    assert isinstance(decision, Ask)
    assert decision.grants == ((workspace / path).resolve(),)


def test_writing_in_a_further_root_is_free(workspace: Path, tmp_path: Path) -> None:
    arguments: JsonObject = {"path": str(tmp_path / "out.txt"), "content": "x"}
    assert decide(tool("write_file"), arguments, (tmp_path,), workspace) == Allow()


def test_nul_is_denied(workspace: Path) -> None:
    assert isinstance(decide(tool("bash"), {"command": "ls\0"}, (), workspace), Deny)
    assert isinstance(decide(tool("write_file"), {"path": "a\0b"}, (), workspace), Deny)
