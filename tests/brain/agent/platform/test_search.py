"""grep and find see the task's folders, within limits, and can always be stopped."""

import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from september.brain.agent.platform import globs
from september.brain.agent.tools import ToolOutput


class Desk(Protocol):
    @property
    def workspace(self) -> Path: ...

    def __call__(self, tool: str, **arguments: object) -> Awaitable[ToolOutput]: ...


@pytest.fixture
def tree(desk: Desk, tmp_path: Path) -> Path:
    """A workspace with a little of everything."""
    root = desk.workspace
    for path, text in {
        "main.py": "import os\n\ndef main():\n    return 1\n",
        "src/a.py": "def a():\n    pass\n",
        "src/deep/b.ts": "function b() {}\n",
        "src/deep/c.py": "# Def in a comment\ndef c(): ...\n",
        ".git/config": "def secret",
        ".hidden": "def hidden\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "blob.py").write_bytes(b"def \0 binary")
    (tmp_path / "outside.py").write_text("def outside\n")
    (root / "link.py").symlink_to(tmp_path / "outside.py")
    (root / "up").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    return root


async def test_grep_answers_with_path_line_and_text(desk: Desk, tree: Path) -> None:
    output = await desk("grep", pattern=r"^def \w+\(")
    assert output == ToolOutput(
        "main.py:3:def main():\nsrc/a.py:1:def a():\nsrc/deep/c.py:2:def c(): ...\n"
    )


async def test_grep_takes_a_path_a_glob_and_any_case(desk: Desk, tree: Path) -> None:
    async def found(**arguments: object) -> list[str]:
        text = (await desk("grep", pattern="def", **arguments)).text
        return sorted({line.split(":")[0] for line in text.splitlines()})

    assert await found(path="src") == ["src/a.py", "src/deep/c.py"]
    assert await found(path="src/a.py") == ["src/a.py"]
    assert await found(path=str(tree / "src" / "deep")) == ["src/deep/c.py"]
    assert await found(glob="*.py") == ["main.py", "src/a.py", "src/deep/c.py"]
    assert await found(glob="src/*.py") == ["src/a.py"]
    assert await found(glob="src/**/*.py") == ["src/a.py", "src/deep/c.py"]
    any_case = await desk("grep", pattern="DEF IN", ignore_case=True)
    assert any_case.text == "src/deep/c.py:1:# Def in a comment\n"


async def test_grep_without_a_match_says_so(desk: Desk, tree: Path) -> None:
    assert await desk("grep", pattern="nowhere to be found") == ToolOutput("no match")


async def test_grep_stops_at_a_hundred_matches_and_clips_long_lines(desk: Desk) -> None:
    (desk.workspace / "many").write_text("needle\n" * 150)
    output = await desk("grep", pattern="needle")
    assert output.truncated
    assert output.text.count("needle\n") == 100
    assert "more than 100 matches" in output.text
    (desk.workspace / "many").write_text("x" * 100_000 + "needle" + "y" * 100_000)
    line = (await desk("grep", pattern="needle")).text
    assert "needle" in line
    assert len(line) < 500


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"pattern": "("}, "invalid_pattern"),
        ({"pattern": "x", "glob": "[z-a]"}, "invalid_glob"),
        ({"pattern": "x", "path": "missing"}, "not_found"),
        ({"pattern": "x", "path": "/etc"}, "outside_roots"),
        ({"pattern": "x", "path": "up"}, "outside_roots"),
        ({"pattern": "x", "path": "link.py"}, "outside_roots"),
    ],
)
async def test_grep_refuses_with_a_reason(
    desk: Desk, tree: Path, arguments: dict[str, str], error: str
) -> None:
    assert (await desk("grep", **arguments)).error == error


def searchers() -> list[str]:
    found: list[str] = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path("/proc", pid, "cmdline").read_bytes()
        except OSError:
            continue
        if b"searcher.py" in line and b"sh\0-c" not in line:
            found.append(pid)
    return found


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110  # another process has no trio.Event
            await trio.sleep(0.01)


async def test_a_pattern_that_runs_away_is_stopped_with_the_call(desk: Desk) -> None:
    (desk.workspace / "trap").write_text("a" * 40 + "!\n")
    before = searchers()
    with trio.move_on_after(0.5) as patience:
        await desk("grep", pattern="^(a+)+$")
    assert patience.cancelled_caught
    await until(lambda: searchers() == before)


async def test_find_lists_by_name_path_and_type(desk: Desk, tree: Path) -> None:
    async def found(**arguments: object) -> list[str]:
        return (await desk("find", **arguments)).text.splitlines()

    assert await found(pattern="*.py") == [
        *("blob.py", "link.py", "main.py", "src/a.py", "src/deep/c.py"),
    ]
    assert await found(pattern="src/**/*.ts") == ["src/deep/b.ts"]
    assert await found(type="folder") == [".git/", "src/", "up/", "src/deep/"]
    assert await found(path="src", type="file") == ["src/a.py", "src/deep/b.ts", "src/deep/c.py"]
    assert ".git/config" not in await found()
    assert await found(pattern="*.rs") == ["nothing found"]


async def test_find_is_limited_and_confined(desk: Desk, tree: Path) -> None:
    for number in range(1100):
        (tree / f"n{number}").touch()
    output = await desk("find", pattern="n*", type="file")
    assert output.truncated
    assert len(output.text.splitlines()) == 1001
    assert (await desk("find", path="/etc")).error == "outside_roots"
    assert (await desk("find", path="up")).error == "outside_roots"
    assert (await desk("find", path="main.py")).error == "not_found"
    assert (await desk("find", pattern="[z-a]")).error == "invalid_glob"


@pytest.mark.parametrize(
    ("glob", "matching", "other"),
    [
        ("*.py", ["a.py", ".py", "a.b.py"], ["a.pyc", "a/b.py"]),
        ("a?c", ["abc"], ["ac", "abbc", "a/c"]),
        ("[a-c]x", ["ax", "cx"], ["dx"]),
        ("[!a-c]x", ["dx"], ["ax"]),
        ("a*b*c", ["abc", "aXbYc", "abbc"], ["ab", "acb"]),
        ("src/**", ["src/a", "src/a/b"], ["src", "x/src/a"]),
        ("**/test_*.py", ["test_a.py", "x/y/test_b.py"], ["x/atest_.py"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/bb"]),
        ("a.b", ["a.b"], ["aXb"]),
        ("[", ["["], ["x"]),
    ],
)
def test_globs_mean_what_they_mean_in_a_shell(
    glob: str, matching: list[str], other: list[str]
) -> None:
    wanted = re.compile(globs.pattern(glob))
    assert [name for name in matching if not wanted.fullmatch(name)] == []
    assert [name for name in other if wanted.fullmatch(name)] == []


@given(st.text(st.sampled_from("a*?[]!-/.b"), max_size=40))
def test_no_glob_takes_long_or_fails_otherwise_than_as_a_bad_pattern(glob: str) -> None:
    try:
        wanted = re.compile(globs.pattern(glob))
    except re.error:
        return
    wanted.fullmatch("a" * 200 + "!")
