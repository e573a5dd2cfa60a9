"""An Engine in front of a scripted provider, and the checks that hold after every test."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers import Peer, Script, provider_peer
from tests.peers.adapters import PROVIDERS

from .brain import intact, logged, rows, unpaired
from .client import Client, Event, ids
from .harness import peered
from .served import Served, served

each_provider = pytest.mark.parametrize("provider", PROVIDERS)


@dataclass(frozen=True)
class Stage:
    """What a test works with."""

    peer: Peer
    engine: Served

    @property
    def client(self) -> Client:
        """A client of the Engine."""
        return self.engine.client

    @property
    def brain(self) -> Path:
        """The brain file."""
        return self.engine.brain

    @property
    def workspace(self) -> Path:
        """The folder of the task that tests use by default."""
        return self.engine.engine.config.workspace_root / "task"


@asynccontextmanager
async def staged(provider: str, script: Script, folder: Path, **more: str) -> AsyncGenerator[Stage]:
    """Run both, then check what no test may leave behind."""
    async with provider_peer(provider, script) as peer:
        async with served(peered(folder, peer, **more)) as engine:
            yield Stage(peer, engine)
        assert [request.refused for request in peer.requests if request.refused] == []
    check_brain(folder / "brain.sqlite")


def check_brain(brain: Path) -> None:
    """A sound file, valid transcripts, and an event log that tells each turn once."""
    assert intact(brain)
    for (task_id,) in rows(brain, "SELECT task_id FROM conversations"):
        assert unpaired(brain, task_id) == []
        check_log(logged(brain, task_id))


def check_log(events: list[Event]) -> None:
    """Ids strictly increase."""
    assert all(a < b for a, b in zip(ids(events), ids(events)[1:], strict=False)), ids(events)
