"""Attacks on the sandbox (escapes.toml): none succeeds, and each could but for the sandbox."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from september.actors import ActorRef
from september.actors.testing import running
from september.brain.sandbox import landlock
from september.brain.sandbox.limits import MIB, Limits
from september.brain.sandbox.sandbox import (
    RunCommand,
    Sandbox,
    SandboxMessage,
    SandboxMode,
    run_command,
)

from .escapes import Attack, attacks, made_world
from .nobody import IDENTITY, NOBODY, SYSTEM_PYTHON, as_nobody, needs_nobody

TABLE = [one for one in attacks() if not one.call or platform.machine() == "x86_64"]
ROOT = Path(__file__).parents[3]
AT_ONCE = 4
SMALL = Limits(
    output=4096,
    overflow=100_000,
    memory=128 * MIB,
    processes=64,
    file_size=10 * MIB,
    scratch=10 * MIB,
)
LARGE = Limits(overflow=64 * MIB, memory=4096 * MIB, processes=4096, file_size=1024 * MIB)
SCOPES_SINCE = 6


def test_the_table_is_large_enough_to_mean_something() -> None:
    assert len(attacks()) >= 60
    assert len({one.name for one in attacks()}) == len(attacks())
    assert sum(not one.control for one in attacks()) >= 60, (
        "most can be shown to be able to succeed"
    )


async def test_no_attack_gets_out_of_the_sandbox() -> None:
    harm = await outcomes(TABLE, "bubblewrap", SMALL)
    assert {name: ways for name, ways in harm.items() if ways} == {}


@needs_nobody
async def test_no_attack_gets_out_of_an_ordinary_users_sandbox_either(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    this = [f"{__file__}::{test_no_attack_gets_out_of_the_sandbox.__name__}"]
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/nobody"]
    done = await trio.run_process(
        [SYSTEM_PYTHON, "-B", "-m", "pytest", *options, *this],
        capture_stdout=True,
        check=False,
        cwd=ROOT,
        env=as_nobody(tmp_path),
        **IDENTITY,
    )
    assert done.returncode == 0, done.stdout.decode()
    assert b"1 passed" in done.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="needs root: what an attack could do, root can do")
async def test_without_the_sandbox_the_same_attacks_succeed() -> None:
    """So the test above can fail. Rows whose `control` says why not are left out."""
    harm = await outcomes([one for one in TABLE if not one.control], "none", LARGE)
    assert [name for name, ways in harm.items() if not ways] == [], "attacks that prove nothing"


async def outcomes(
    table: Sequence[Attack], mode: SandboxMode, limits: Limits
) -> dict[str, list[str]]:
    """For each attack the ways in which it succeeded."""
    harm: dict[str, list[str]] = {}
    limit = trio.CapacityLimiter(AT_ONCE)
    async with (
        running(Sandbox(mode=mode, limits=limits)) as closed,
        running(Sandbox(mode=mode, limits=limits, network=True)) as open_,
        trio.open_nursery() as nursery,
    ):
        for attack in table:
            if attack.landlock and landlock.version() < SCOPES_SINCE:
                continue
            sandbox = open_ if attack.network else closed
            nursery.start_soon(attempt, sandbox, attack, harm, limit)
    return harm


async def attempt(
    sandbox: ActorRef[SandboxMessage],
    attack: Attack,
    harm: dict[str, list[str]],
    limit: trio.CapacityLimiter,
) -> None:
    async with limit:
        with made_world() as world:
            output = await said(sandbox, attack.argv(world), world.workspace, attack.timeout)
            if attack.then:
                shell = ("bash", "-c", world.filled(attack.then))
                output += await said(sandbox, shell, world.workspace, attack.timeout)
            ways = list(world.harm(output))
        if attack.errors and output.strip() not in attack.errors:
            ways.append(f"the kernel itself answered: {output}")
        harm[attack.name] = ways


async def said(
    sandbox: ActorRef[SandboxMessage], argv: tuple[str, ...], workspace: Path, timeout_s: float
) -> str:
    return (await run_command(sandbox, RunCommand(argv, workspace, (), timeout_s))).output
