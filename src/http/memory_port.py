"""What HTTP needs of an Engine's memory: requests and answers as structs, and one protocol.

Times are ISO-8601 with milliseconds and Z.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from ..brain.memory.bundle import Bundle

Store: TypeAlias = Literal["episodes", "knowledge", "social"]


class FoundEpisode(Struct, frozen=True, kw_only=True):
    """An episode that a search found; scores compare within one answer only."""

    id: str
    key: str
    description: str
    value: str
    occurred_at: str
    source: str
    score: float


class FoundFact(Struct, frozen=True, kw_only=True):
    """A fact that a search found. `valid_until` is null while it holds."""

    id: str
    subject: str
    content: str
    type: str
    confidence: float
    source: str
    valid_from: str
    valid_until: str | None
    score: float


class GraphEdge(Struct, frozen=True, kw_only=True):
    """How a node stands to another."""

    id: str
    from_id: str
    to_id: str
    relation: str
    confidence: float
    source: str
    valid_from: str
    valid_until: str | None


class FoundNode(Struct, frozen=True, kw_only=True):
    """A person or thing that a search found, with its relations in force."""

    id: str
    name: str
    kind: str
    description: str
    source: str
    edges: Sequence[GraphEdge]
    score: float


class SoulView(Struct, frozen=True, kw_only=True):
    """Who the assistant is."""

    identity: str
    values: Sequence[str]
    patterns: Sequence[str]


class SoulChange(Struct, frozen=True, kw_only=True):
    """Something the soul took up, and when it gave it up again."""

    id: str
    part: Literal["identity", "value", "pattern"]
    text: str
    source: str
    created_at: str
    retired_at: str | None


class FullSoul(SoulView, frozen=True, kw_only=True):
    """Who the assistant is, and how it became so."""

    history: Sequence[SoulChange]


class NewEpisode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that happened. `occurred_at` is milliseconds since the epoch; None: now."""

    key: str
    description: str
    value: str
    occurred_at: int | None = None
    source: str = "user"


class NewFact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that is so. Times are milliseconds since the epoch."""

    subject: str
    content: str
    type: str = "fact"
    confidence: float = 0.8
    source: str = "user"
    valid_from: int | None = None
    valid_until: int | None = None


class NewNode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person or thing."""

    name: str
    kind: str = "person"
    description: str = ""


class NewEdge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A relation between two nodes, which are named and made where they are missing."""

    from_name: str
    to_name: str
    relation: str
    confidence: float = 0.8


class Remembered(Struct, frozen=True, kw_only=True):
    """What was written, by id, in the order given."""

    ids: Sequence[str]


class LearnedFact(Struct, frozen=True, kw_only=True):
    """The row that holds the fact; `closed` are the facts it put out of force."""

    id: str
    outcome: Literal["added", "confirmed", "superseded", "outdated"]
    closed: Sequence[str]


class RememberedGraph(Struct, frozen=True, kw_only=True):
    """Ids of nodes and edges, in the order given."""

    nodes: Sequence[str]
    edges: Sequence[str]


class Tombstone(Struct, frozen=True, kw_only=True):
    """A memory that no search finds any more."""

    store: Store
    id: str
    forgotten_at: str


class EmbeddingProgress(Struct, frozen=True, kw_only=True):
    """How many memories still wait for their vector; they are found by their words meanwhile."""

    space: str
    total: int
    pending: int


class PartCounts(Struct, frozen=True, kw_only=True):
    """Rows of one part that were added, and those whose id was known and stayed as it was."""

    added: int
    kept: int


class Imported(Struct, frozen=True, kw_only=True):
    """What an import did."""

    counts: Mapping[str, PartCounts]
    embedding: EmbeddingProgress
    status: Literal["imported"] = "imported"


class StoreIntegrity(Struct, frozen=True, kw_only=True):
    """One store: whether rows, keyword index and vectors agree."""

    store: Store
    sound: bool
    rows: int
    waiting: int
    words_missing: int
    words_stray: int
    vectors_missing: int
    vectors_stray: int


class Integrity(Struct, frozen=True, kw_only=True):
    """What was found; with `repaired`, what had been found before the repair."""

    sound: bool
    repaired: bool
    stores: Sequence[StoreIntegrity]


class MemoryPort(Protocol):
    """An Engine's memory, as the routes see it."""

    async def search_episodes(self, query: str, limit: int) -> Sequence[FoundEpisode]:
        """What happened, best match first."""
        ...

    async def search_knowledge(
        self, query: str, limit: int, *, history: bool
    ) -> Sequence[FoundFact]:
        """What is known, best match first."""
        ...

    async def search_social(self, query: str, limit: int) -> Sequence[FoundNode]:
        """Who and what there is, best match first."""
        ...

    async def soul(self) -> FullSoul:
        """Who the assistant is."""
        ...

    async def write_episodes(self, episodes: Sequence[NewEpisode]) -> Remembered:
        """Remember what happened, in this order; all or none."""
        ...

    async def write_fact(self, fact: NewFact) -> LearnedFact:
        """Know a fact."""
        ...

    async def write_graph(
        self, nodes: Sequence[NewNode], edges: Sequence[NewEdge], source: str
    ) -> RememberedGraph:
        """Know people and things and how they stand to each other; all or none."""
        ...

    async def forget(self, memory_id: str) -> Tombstone:
        """Forget one memory."""
        ...

    async def export(self) -> Bundle:
        """All of memory as one document."""
        ...

    async def merge(self, document: Bundle) -> Imported:
        """Merge a document by id; all or nothing."""
        ...

    async def integrity(self, *, repair: bool) -> Integrity:
        """Whether rows and indexes agree."""
        ...

    async def progress(self) -> EmbeddingProgress:
        """How many memories still wait for their vector."""
        ...
