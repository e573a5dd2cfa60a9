"""A demonstration of one Engine alone, without an orchestrator."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from .child import Child, child
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
from .settings import Texts
from .terminal import console


@dataclass(frozen=True, slots=True)
class EngineDemo:
    """An Engine with a fresh brain in `folder`, and the key to it."""

    folder: Path
    model: Model
    key: str

    async def play(self, message: str, once: bool) -> int:
        """Start, play, stay; return the exit code. Raises SeptemberError if it cannot start."""
        out = console()
        out.print(f"{self.model.remark}\n", style="bold", soft_wrap=True)
        out.print(f"> {message}\n", soft_wrap=True)
        log = self.folder / "engine.log"
        async with child(["engine"], self.model.environment, log) as engine:
            completed = await play_turn(engine.url, self.key, message)
            if once:
                return 0 if completed else 1
            self._show_ways_in(engine)
            return await stay(engine)

    def _show_ways_in(self, engine: Child) -> None:
        rows = {
            "health": f"{engine.url}/health",
            "docs": f"{engine.url}/docs",
            "chat": f"{program()} chat --url {engine.url} --key {self.key}",
            "brain": relative(self.folder / "brain.sqlite"),
            "log": relative(self.folder / "engine.log"),
        }
        text = f"\nThe Engine stays up until Ctrl-C.\n\n{listing(rows)}\n"
        console().print(text, soft_wrap=True)


def prepare(texts: Texts, folder: Path) -> EngineDemo:
    """Choose key, port and provider. Raises ConfigError for settings that cannot work."""
    key = secrets.token_hex(16)
    ours = {
        "ENGINE_API_KEY": key,
        "ENGINE_KEY_HASH": "",  # whatever is set elsewhere belongs to another Engine
        "SQLITE_DB_PATH": str(folder / "brain.sqlite"),
        "ENGINE_PORT": texts.get("ENGINE_PORT") or str(free_port(8000)),
    }
    return EngineDemo(folder, choose_model(texts, ours), key)
