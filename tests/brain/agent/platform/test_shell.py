"""The bash tool runs in the sandbox and says how it ended."""

from pathlib import Path
from typing import Protocol

import pytest
import trio
from msgspec.structs import replace

from september.actors.testing import running
from september.brain.agent.platform.tools import platform_tools
from september.brain.agent.tools import ToolContext, ToolOutput
from september.brain.channels.events import Event, ToolProgress
from september.brain.sandbox.sandbox import Sandbox
from september.errors import SeptemberError


class Desk(Protocol):
    context: ToolContext

    @property
    def workspace(self) -> Path: ...

    async def __call__(self, tool: str, **arguments: object) -> ToolOutput: ...


async def test_output_and_exit_code(desk: Desk) -> None:
    assert await desk("bash", command="echo hi") == ToolOutput("hi\n")
    assert await desk("bash", command="true") == ToolOutput("[no output]")
    failed = await desk("bash", command="echo oops >&2; exit 3")
    assert failed == ToolOutput("oops\n[exit code 3]", "nonzero_exit")
    assert (await desk("bash", command="exit 3")).text == "[exit code 3]"


async def test_it_works_where_the_file_tools_work(desk: Desk) -> None:
    await desk("write_file", path="in.txt", content="from the tool")
    assert (await desk("bash", command="cat in.txt; echo -n x > out.txt")).text == "from the tool"
    assert (await desk("read_file", path="out.txt")).text == "x"


async def test_what_a_command_prints_is_told_while_it_runs(desk: Desk) -> None:
    told = trio.Event()
    gate = desk.workspace / "go"

    async def emit(event: Event) -> None:
        assert isinstance(event, ToolProgress)
        assert (event.tool, event.message, event.total) == ("bash", "one ***\n", None)
        assert event.progress == len("one secret\ntw")
        gate.touch()
        told.set()

    def masked(text: str) -> str:
        return text.replace("secret", "***")

    desk.context = replace(desk.context, emit=emit, scrub=masked)
    waits = f"echo one secret; echo -n tw; until [ -e {gate} ]; do sleep 0.01; done; echo o"
    assert (await desk("bash", command=waits)).text == "one secret\ntwo\n"
    assert told.is_set()


async def test_a_timeout_says_what_to_do(desk: Desk) -> None:
    late = await desk("bash", command="echo begun; sleep 60", timeout_s=0.3)
    assert late.error == "timeout"
    assert late.text.startswith("begun\n[stopped after 0.3 s")


async def test_long_output_continues_in_a_file_that_read_file_reads(desk: Desk) -> None:
    output = await desk("bash", command="seq 100000")
    assert output.truncated
    name = output.text.rsplit("in the file ", 1)[1].rstrip("]")
    assert (await desk("read_file", path=name)).error is None


async def test_a_command_too_long_for_the_kernel_is_refused(desk: Desk) -> None:
    assert (await desk("bash", command="ä" * 99_000)).error == "invalid_command"


async def test_without_a_sandbox_the_refusal_reaches_the_caller(desk: Desk) -> None:
    async with running(Sandbox(binaries=())) as missing:
        context = replace(desk.context, sandbox=missing)
        with pytest.raises(SeptemberError, match="PERMISSION_DENIED"):
            await platform_tools()["bash"].run({"command": "true"}, context)
