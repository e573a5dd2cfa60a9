"""A demonstration of the whole system: database, orchestrator, product, Engine, turn, table."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import click
import trio
from cryptography.fernet import Fernet
from msgspec import Struct

from ..config import SETTINGS
from ..errors import SeptemberError
from .child import Child, child, last_words
from .demo_scene import (
    Model,
    choose_model,
    free_port,
    listing,
    play_turn,
    program,
    relative,
    stay,
)
from .fleet_client import FleetClient, user_path
from .fleet_view import engines_table
from .settings import Texts
from .terminal import console

T = TypeVar("T")

USER: Final = "ada"
PRODUCT: Final = "demo"

_ORCHESTRATORS: Final = (
    "ENGINE_API_KEY",
    "ENGINE_KEY_HASH",
    "ENGINE_HOST",
    "ENGINE_PORT",
    "SQLITE_DB_PATH",
)
"""Settings of an Engine that its orchestrator chooses."""


class _Registered(Struct):
    platform_api_key: str


class _Engine(Struct):
    url: str
    api_key: str


class _Admitted(Struct):
    engine: _Engine


@dataclass(frozen=True, slots=True)
class FleetDemo:
    """An orchestrator with fresh data in `folder`, and the key of its admin."""

    folder: Path
    model: Model
    admin_key: str

    async def play(self, message: str, once: bool) -> int:
        """Start, play, stay; return the exit code. Raises SeptemberError if it cannot start."""
        console().print(f"{self.model.remark}\n", style="bold", soft_wrap=True)
        began = time.monotonic()
        command, log = ["orchestrator", "--stop-engines"], self.folder / "orchestrator.log"
        async with child(command, self.model.environment, log) as orchestrator:
            _told("orchestrator", f"{orchestrator.url}, on a PostgreSQL of its own", began)
            return await self._go_on(orchestrator, message, once)

    async def _go_on(self, orchestrator: Child, message: str, once: bool) -> int:
        platform_key, engine = await self._engine(orchestrator.url)
        console().print(f"\n> {message}\n", soft_wrap=True)
        completed = await play_turn(engine.url, engine.api_key, message)
        client = FleetClient(orchestrator.url, platform_key, self.admin_key)
        rows = await trio.to_thread.run_sync(lambda: list(client.engines(everywhere=True)))
        console().print()
        console().print(engines_table(rows))
        if once:
            return 0 if completed else 1
        self._show_ways_in(client, engine)
        return await stay(orchestrator)

    async def _engine(self, url: str) -> tuple[str, _Engine]:
        """Register a product, provision an Engine for a user and admit the user to it."""
        client = FleetClient(url, "", self.admin_key)
        body = {"slug": PRODUCT, "display_name": "Demonstration"}
        key = (await _step(client, _Registered, "/products/register", body)).platform_api_key
        _told("product", f"{PRODUCT} is registered and has its key")
        client, began = FleetClient(url, key, self.admin_key), time.monotonic()
        try:
            await _step(client, _Engine, "/engines/provision", {"user_id": USER})
        except SeptemberError as error:
            raise self._explained(error) from error
        _told("provision", f"{USER} has an Engine: a process with a brain of its own", began)
        began = time.monotonic()
        engine = (await _step(client, _Admitted, user_path(USER, "admit"), {})).engine
        _told("admit", f"{USER} goes on at {engine.url}, with a key", began)
        return key, engine

    def _explained(self, error: SeptemberError) -> SeptemberError:
        """The refusal, with what the Engine said last."""
        logs = list((self.folder / "engines").glob("*/engine.log"))
        words = f": {last_words(logs[0])}" if logs else ""
        return SeptemberError(error.code, error.message + words)

    def _show_ways_in(self, client: FleetClient, engine: _Engine) -> None:
        keys = self.folder / "keys"
        keys.touch(mode=0o600)
        keys.write_text(
            f"export ORCH_URL={client.url} ORCH_PLATFORM_KEY={client.platform_key}"
            f" ORCH_ADMIN_KEY={client.admin_key}\n"
        )
        rows = {
            "chat": f"{program()} chat --url {engine.url} --key {engine.api_key}",
            "fleet": f". {relative(keys)}; {program()} fleet top",
            "docs": f"{client.url}/docs  {engine.url}/docs",
            "observe": f"{engine.url}/observe",
            "data": relative(self.folder),
        }
        text = f"\nThe system stays up until Ctrl-C.\n\n{listing(rows)}\n"
        console().print(text, soft_wrap=True)


def prepare(texts: Texts, folder: Path) -> FleetDemo:
    """Choose keys, port and provider. Raises ConfigError for settings that cannot work."""
    admin_key = secrets.token_hex(16)
    any_key = {"ENGINE_API_KEY": secrets.token_hex(16)}  # settings are checked as a whole
    model = choose_model(texts, dict.fromkeys(_ORCHESTRATORS, "") | any_key)
    named = (row.name for row in SETTINGS if row.name not in _ORCHESTRATORS)
    passed = [name for name in named if model.environment.get(name) or texts.get(name)]
    ours = {
        "ORCH_DATABASE_URL": "",  # whatever is set elsewhere belongs to another fleet
        "ORCH_DATA_DIR": str(folder),
        "ORCH_MASTER_KEY": Fernet.generate_key().decode(),
        "ORCH_ADMIN_KEY": admin_key,
        "ORCH_HOST": "127.0.0.1",
        "ORCH_PORT": texts.get("ORCH_PORT") or str(free_port(8000)),
        "ORCH_ENGINE_BACKEND": "subprocess",
        "ORCH_ENGINE_ENV_PASSTHROUGH": ",".join(passed),
    }
    environment = {**model.environment, **ours}
    return FleetDemo(folder, Model(environment, model.remark), admin_key)


async def _step(client: FleetClient, kind: type[T], path: str, body: Mapping[str, object]) -> T:
    ask: Callable[[], T] = lambda: client.get(kind, "POST", path, body=body)  # noqa: E731
    return await trio.to_thread.run_sync(ask)


def _told(what: str, text: str, began: float | None = None) -> None:
    took = "" if began is None else f"  ({time.monotonic() - began:.1f} s)"
    click.echo(f"  {what:<13} {text}{took}")
