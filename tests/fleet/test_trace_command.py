"""`september trace --fleet` asks an orchestrator, with its admin's key."""

from pathlib import Path

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
