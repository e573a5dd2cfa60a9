"""A real brain with its memory: store, local embedder and indexer."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from september.actors import ActorRef, ChildSpec, SupervisorSpec, ref_of, running_tree
from september.brain.herald.embedder_local import LocalEmbedder
from september.brain.herald.embeddings import (
    Embedder,
    EmbedderActor,
    EmbedderMessage,
    Embeddings,
)
from september.brain.memory.indexer import Indexer, IndexerMessage
from september.brain.memory.memory import Memory
from september.brain.store.brain_file import BrainFile
from september.brain.store.database import Database
from september.brain.store.store import Store, StoreMessage


@dataclass(frozen=True)
class Mind:
    """A running memory and what it stands on."""

    path: Path
    database: Database
    memory: Memory
    embedder: Embedder
    indexer: ActorRef[IndexerMessage]


@asynccontextmanager
async def mind_in(path: Path, embedder: Embedder | None = None) -> AsyncGenerator[Mind]:
    """A memory on the brain at `path`."""
    used: Embedder = embedder or LocalEmbedder()
    file = BrainFile(path)
    store: ChildSpec[StoreMessage] = ChildSpec("store", lambda: Store(file))
    embedding: ChildSpec[EmbedderMessage] = ChildSpec("embedder", lambda: EmbedderActor(used))

    def embeddings(ref: ActorRef[EmbedderMessage]) -> Embeddings:
        return Embeddings(ref, used.name, used.dimension)

    indexer: ChildSpec[IndexerMessage] = ChildSpec(
        "indexer", lambda: Indexer(Database(ref_of(store)), embeddings(ref_of(embedding)))
    )
    async with running_tree(SupervisorSpec("mind", (store, embedding, indexer))) as tree:
        database = Database(tree.ref(store))
        memory = Memory(database, embeddings(tree.ref(embedding)), tree.ref(indexer))
        yield Mind(path, database, memory, used, tree.ref(indexer))


@pytest.fixture
async def mind(tmp_path: Path) -> AsyncGenerator[Mind]:
    async with mind_in(tmp_path / "brain.sqlite") as made:
        yield made
