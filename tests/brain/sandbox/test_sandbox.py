"""Commands run confined, within their limits, and leave nothing running."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from september.actors import ActorRef, ActorStopped
from september.actors.testing import running
from september.brain.sandbox.sandbox import (
    CommandResult,
    Describe,
    Refusal,
    RunCommand,
    Sandbox,
    SandboxMessage,
    run_command,
)
from september.errors import SeptemberError

Ref = ActorRef[SandboxMessage]
Until = Callable[[Callable[[], bool]], Awaitable[float]]


async def run(
    sandbox: Ref, command: str, workspace: Path, *roots: Path, timeout_s: float = 30.0
) -> CommandResult:
    return await run_command(sandbox, RunCommand(command, workspace, roots, timeout_s))


async def test_output_keeps_the_order_of_both_streams_and_the_exit_code_comes_back(
    sandbox: Ref, workspace: Path
) -> None:
    result = await run(sandbox, "echo a; echo b >&2; echo c; exit 3", workspace)
    assert (result.output, result.exit_code) == ("a\nb\nc\n", 3)
    assert not result.truncated
    assert not result.timed_out


async def test_a_command_works_in_its_workspace_and_its_roots(
    sandbox: Ref, workspace: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "given").write_text("hello")
    result = await run(
        sandbox, f"pwd; cat {root}/given; echo x > made; echo y > {root}/made", workspace, root
    )
    assert result.output == f"{workspace}\nhello"
    assert (workspace / "made").read_text() == "x\n"
    assert (root / "made").read_text() == "y\n"


async def test_a_missing_workspace_is_made(sandbox: Ref, tmp_path: Path) -> None:
    result = await run(sandbox, "pwd", tmp_path / "a" / "b")
    assert result.output == f"{tmp_path}/a/b\n"


@pytest.mark.parametrize(
    "attempt",
    [
        "echo x > /usr/planted",
        "echo x > /etc/planted",
        "echo x > /planted",
        "echo x > /dev/planted",
        "cat /proc/sys/kernel/printk_ratelimit > /proc/sys/kernel/printk_ratelimit",
        ": >> /proc/sys/kernel/core_pattern",
        "cat /etc/shadow",
        "ls {outside}/secret",
        "cat {outside}/secret",
        "ln -s {outside}/secret link && cat link",
        "unshare -Ur true",
        "mount -t tmpfs none /tmp",
        "chroot / true",
        "exec 3<>/dev/tcp/127.0.0.1/{port}",
        "kill -0 {engine}",
        "mknod device b 259 0",
    ],
)
async def test_what_lies_outside_cannot_be_touched(
    sandbox: Ref, workspace: Path, tmp_path: Path, attempt: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listeners[0].socket.getsockname()[1]
    command = attempt.format(outside=tmp_path, port=port, engine=os.getpid())
    result = await run(sandbox, f"( {command} ) && echo GOT THROUGH", workspace)
    await listeners[0].aclose()
    assert result.exit_code != 0
    assert "GOT THROUGH" not in result.output
    assert "secret\n" not in result.output


async def test_nothing_of_the_engines_environment_reaches_a_command(
    sandbox: Ref, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_API_KEY", "sk-very-secret")
    command = RunCommand("env", workspace, (), environment=(("GIVEN", "yes"),))
    names = {line.split("=")[0] for line in (await run_command(sandbox, command)).output.split()}
    assert names <= {*("PATH", "HOME", "LANG", "TERM", "TMPDIR", "GIVEN", "PWD", "SHLVL", "_")} | {
        *("TZ", "LC_ALL", "LC_CTYPE", "LANGUAGE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS", "OLDPWD"),
    }
    assert "GIVEN" in names


async def test_inherit_hands_the_environment_on(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_ENGINE", "seen")
    async with running(Sandbox(scrub="inherit")) as sandbox:
        assert (await run(sandbox, "echo $OF_THE_ENGINE", workspace)).output == "seen\n"


async def test_the_network_is_there_only_when_it_is_given(workspace: Path) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listeners[0].socket.getsockname()[1]
    async with running(Sandbox(network=True)) as sandbox:
        result = await run(sandbox, f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo open", workspace)
    await listeners[0].aclose()
    assert result.output == "open\n"


async def test_output_beyond_the_limit_goes_to_a_file(small: Ref, workspace: Path) -> None:
    result = await run(small, "for i in $(seq 3000); do echo -n €uro; done", workspace)
    assert result.truncated
    assert result.overflow is not None
    rest = (workspace / result.overflow).read_text()
    assert result.output + rest == "€uro" * 3000
    assert 4090 <= len(result.output.encode()) <= 4096


async def test_endless_output_is_cut(small: Ref, workspace: Path) -> None:
    result = await run(small, "head -c 5000000 /dev/zero | tr '\\0' x", workspace)
    assert result.exit_code == 0
    assert result.overflow is not None
    assert (workspace / result.overflow).stat().st_size < 110_000


async def test_a_planted_link_does_not_catch_the_overflow(
    small: Ref, workspace: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    command = f"mv {workspace} {moved} 2>/dev/null; seq 10000"
    result = await run(small, command, workspace)
    assert result.overflow is not None
    assert (workspace / result.overflow).is_file()


async def test_the_deadline_ends_the_whole_tree(
    sandbox: Ref, workspace: Path, token: str, left: Callable[[], int]
) -> None:
    command = f"echo before; (setsid bash -c 'sleep {token} & disown' &); sleep {token}"
    began = trio.current_time()
    result = await run(sandbox, command, workspace, timeout_s=0.5)
    assert trio.current_time() - began < 1.5
    assert (result.timed_out, result.exit_code, result.output) == (True, None, "before\n")
    assert left() == 0


ESCAPES = [
    "sleep {token}",
    "sleep {token} & wait",
    "setsid sleep {token}",
    "(setsid bash -c 'nohup sleep {token} >/dev/null 2>&1 & disown') ; sleep {token}",
    "trap '' TERM HUP; setsid setsid bash -c '(sleep {token} &) ; sleep {token}'; sleep {token}",
    "python3 -c 'import os\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n"
    '  os.execlp("sleep", "sleep", "{token}")\nos.execlp("sleep", "sleep", "{token}")\'',
]


@pytest.mark.parametrize("command", ESCAPES)
async def test_cancelling_leaves_no_process_however_it_hides(
    either: Ref,
    command: str,
    workspace: Path,
    token: str,
    left: Callable[[], int],
    until: Until,
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, either, command.replace("{token}", token), workspace)
        await until(lambda: left() > 0)
        nursery.cancel_scope.cancel()
    assert await until(lambda: left() == 0) < 1


async def test_background_processes_end_with_the_command(
    either: Ref,
    workspace: Path,
    token: str,
    left: Callable[[], int],
) -> None:
    command = f"(setsid sleep {token} >/dev/null 2>&1 &) ; sleep {token} & echo done"
    result = await run(either, command, workspace)
    assert (result.exit_code, result.output) == (0, "done\n")
    assert left() == 0


async def test_stopping_the_sandbox_ends_its_commands(
    workspace: Path, token: str, left: Callable[[], int], until: Until
) -> None:
    async def one(sandbox: Ref) -> None:
        with pytest.raises(ActorStopped):
            await run(sandbox, f"sleep {token}", workspace)

    async with trio.open_nursery() as nursery:
        async with running(Sandbox()) as sandbox:
            nursery.start_soon(one, sandbox)
            await until(lambda: left() > 0)
        assert left() == 0


async def test_a_fork_bomb_is_stopped_and_the_next_command_runs(
    small: Ref, workspace: Path
) -> None:
    bomb = "for i in $(seq 400); do sleep 60 & done; wait"
    result = await run(small, bomb, workspace, timeout_s=20)
    assert not result.timed_out or "Resource temporarily unavailable" in result.output
    assert (await run(small, "echo fine", workspace)).output == "fine\n"


async def test_memory_and_file_size_are_limited(small: Ref, workspace: Path) -> None:
    hog = "python3 -c 'x = bytearray(1500 * 1024 * 1024)'"
    assert "MemoryError" in (await run(small, hog, workspace)).output
    big = await run(small, "head -c 2000000 /dev/zero > big", workspace)
    assert big.exit_code != 0
    assert (workspace / "big").stat().st_size <= 1_000_000


async def test_ten_commands_run_at_once_and_the_eleventh_waits(
    sandbox: Ref, workspace: Path, until: Until
) -> None:
    gate = workspace / "go"
    waits = f"while [ ! -e {gate} ]; do sleep 0.01; done"

    async def one(number: int) -> None:
        await run(sandbox, f"touch in{number}; {waits}", workspace)

    async with trio.open_nursery() as nursery:
        for number in range(11):
            nursery.start_soon(one, number)
        await until(lambda: len(os.listdir(workspace)) == 10)
        await trio.sleep(0.1)
        assert len(os.listdir(workspace)) == 10
        os.mknod(gate)
    assert len(os.listdir(workspace)) == 12


async def test_no_descriptor_is_lost(
    sandbox: Ref, workspace: Path, open_descriptors: Callable[[], int]
) -> None:
    await run(sandbox, "true", workspace)
    before = open_descriptors()
    for _ in range(5):
        await run(sandbox, "echo", workspace)
        await run(sandbox, "sleep 5", workspace, timeout_s=0.01)
    assert open_descriptors() == before


async def test_a_child_killed_by_a_signal_is_told_as_a_shell_tells_it(
    sandbox: Ref, unconfined: Ref, workspace: Path
) -> None:
    assert (await run(sandbox, "kill -9 $$", workspace)).exit_code == 137
    assert (await run(unconfined, "kill -9 $$", workspace)).exit_code == 137


async def test_without_bubblewrap_commands_are_refused_and_it_says_what_to_do(
    workspace: Path,
) -> None:
    for binaries in [(), (Path("/nonexistent/bwrap"),), (Path("/bin/false"),)]:
        async with running(Sandbox(binaries=binaries)) as sandbox:
            assert (await sandbox.call(Describe())).mode == "unavailable"
            answer = await sandbox.call(RunCommand("touch ran", workspace, ()))
            assert isinstance(answer, Refusal)
            with pytest.raises(SeptemberError) as refused:
                await run(sandbox, "touch ran", workspace)
        assert refused.value.code == "PERMISSION_DENIED"
        assert "apt install bubblewrap" in refused.value.message
        assert "SANDBOX_MODE=none" in refused.value.message
    assert not (workspace / "ran").exists()


async def test_it_says_what_confinement_is_in_force(sandbox: Ref, unconfined: Ref) -> None:
    assert (await sandbox.call(Describe())).mode == "bubblewrap"
    assert (await unconfined.call(Describe())).mode == "none"


async def test_a_command_waits_until_it_is_known_what_confines_it(workspace: Path) -> None:
    async with running(Sandbox()) as sandbox:
        assert (await sandbox.call(Describe(now=True))).mode == "probing"
        assert (await run(sandbox, "true", workspace)).exit_code == 0
        assert (await sandbox.call(Describe(now=True))).mode == "bubblewrap"


async def test_a_workspace_that_is_a_file_is_refused(sandbox: Ref, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SeptemberError, match="INVALID_REQUEST"):
        await run(sandbox, "true", tmp_path / "file")
    assert (await sandbox.call(Describe())).mode == "bubblewrap"


async def test_a_command_that_is_too_long_is_refused(sandbox: Ref, workspace: Path) -> None:
    with pytest.raises(SeptemberError, match="INVALID_REQUEST"):
        await run(sandbox, "true " + "x" * 3_000_000, workspace)
