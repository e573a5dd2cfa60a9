"""`september trace --fleet` and `september fleet` ask an orchestrator, with its admin's key."""

import json
from functools import partial
from pathlib import Path
from signal import SIGINT
from subprocess import PIPE

import trio

from tests.cli.engines import SEPTEMBER, clean_environment

from .api import served


async def test_an_orchestrator_is_asked_with_its_admin_key(
    database_url: str, tmp_path: Path
) -> None:
    async def september(*arguments: str, key: str = "admin-key") -> tuple[str, str]:
        env = clean_environment(ORCH_URL=api.url, ORCH_ADMIN_KEY=key, COLUMNS="160")
        done = await trio.run_process(
            [*SEPTEMBER, *arguments, "--fleet"],
            env=env,
            cwd=tmp_path,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        return done.stdout.decode(), done.stderr.decode()

    async with served(database_url) as api:
        key = await api.register()
        await api.ask("POST", "/engines/ada/admit", {"auto_provision": True}, **key)
        listed, _ = await september("trace", "ls")
        assert "POST /engines/ada/admit" in listed
        assert "discovery" in (await september("actors", "--once"))[0]
        _, refused = await september("trace", "ls", key="wrong")
        assert "X-Admin-Key" in refused


async def test_the_fleet_and_its_audit_are_told_to_people_and_programs(
    database_url: str, tmp_path: Path
) -> None:
    async def september(*arguments: str, status: int = 0, admin: str = "admin-key") -> str:
        env = clean_environment(ORCH_URL=api.url, ORCH_ADMIN_KEY=admin)
        command = [*SEPTEMBER, "fleet", *arguments]
        done = await trio.run_process(
            command, env=env, cwd=tmp_path, capture_stdout=True, capture_stderr=True, check=False
        )
        assert done.returncode == status, done.stderr
        return (done.stderr if status else done.stdout).decode()

    async with served(database_url) as api:
        key = await api.register()
        await api.ask("POST", "/engines/ada/admit", {"auto_provision": True}, **key)
        assert (await september("ls")).split("\n")[1].split()[:3] == ["ada", "running", "shop"]
        (engine,) = json.loads(await september("ls", "--json"))
        assert engine["user_id"] == "ada"
        assert "no Engine is failed" in await september("ls", "--status", "failed")
        entries = json.loads(await september("audit", "--no-checks", "--json"))
        assert [one["action"] for one in entries] == ["provision", "policy_register"]
        none = await september("audit", "--since", "0", "--user", "ada")
        assert "no entry fits" in none
        told = await september("ls", status=1, admin="")
        assert "set ORCH_ADMIN_KEY or give --admin-key" in told
        assert "ORCH_PLATFORM_KEY" in await september("show", "ada", status=1)
        assert "'running', 'sleeping'" in await september("ls", "--status", "nope", status=2)


async def test_the_audit_is_followed(database_url: str, tmp_path: Path) -> None:
    async with served(database_url) as api:
        key = await api.register()
        env = clean_environment(ORCH_URL=api.url, ORCH_ADMIN_KEY="admin-key")
        # The signal counts also where the suite runs in the background of a shell.
        command = [
            "env",
            "--default-signal=INT",
            *SEPTEMBER,
            "fleet",
            "audit",
            "--follow",
            "--no-checks",
            "--json",
        ]
        actions = list[str]()
        async with trio.open_nursery() as nursery:
            tail = await nursery.start(
                partial(trio.run_process, command, env=env, cwd=tmp_path, stdout=PIPE)
            )
            async for chunk in tail.stdout:
                actions += [json.loads(line)["action"] for line in chunk.splitlines()]
                if actions == ["policy_register"]:
                    await api.ask("POST", "/engines/ada/admit", {"auto_provision": True}, **key)
                if "provision" in actions:
                    break
            tail.send_signal(SIGINT)
        assert tail.returncode == 0 and actions == ["policy_register", "provision"]
