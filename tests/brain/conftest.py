"""A real brain for tests: the store actor on a fresh file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from september.actors import ActorRef, ChildSpec, SupervisorSpec, Tree, ref_of, running_tree
from september.brain.channels.log import EventLog, LogMessage
from september.brain.store.brain_file import BrainFile
from september.brain.store.database import Database
from september.brain.store.store import Store, StoreMessage


class Brain:
    """A running store and event log, and how to crash them."""

    def __init__(self, path: Path) -> None:
        file = BrainFile(path)
        self.path = path
        self.store: ChildSpec[StoreMessage] = ChildSpec("store", lambda: Store(file))
        self.events: ChildSpec[LogMessage] = ChildSpec(
            "events", lambda: EventLog(Database(ref_of(self.store)))
        )
        self.tree: Tree

    @property
    def database(self) -> Database:
        return Database(self.tree.ref(self.store))

    @property
    def log(self) -> ActorRef[LogMessage]:
        return self.tree.ref(self.events)


@pytest.fixture
async def brain(tmp_path: Path) -> AsyncIterator[Brain]:
    made = Brain(tmp_path / "brain.sqlite")
    async with running_tree(SupervisorSpec("brain", (made.store, made.events))) as tree:
        made.tree = tree
        yield made
