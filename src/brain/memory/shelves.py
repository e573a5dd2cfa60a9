"""The stores that are searched, as the indexes see them: tables, columns, the text of a row."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from ..store.connection import Connection
from .memory_text import episode_text, knowledge_text, node_text


class Shelf(Struct, frozen=True):
    """One store. `name` is how the wire and the queue call it, `table` where its rows are.

    `columns` are indexed by keyword, and make the text that is embedded.
    """

    name: str
    table: str
    fts: str
    vectors: str
    columns: tuple[str, ...]
    text: Callable[..., str]

    def size(self, connection: Connection) -> int:
        """Rows that are not forgotten."""
        found = connection.execute(
            f"SELECT count(*) FROM {self.table} WHERE forgotten_at IS NULL"
        ).fetchone()
        return int(found[0]) if found else 0


EPISODES: Final = Shelf(
    "episodes",
    "episodes",
    "episodes_fts",
    "episodes_vec",
    ("key", "description", "value"),
    episode_text,
)
KNOWLEDGE: Final = Shelf(
    "knowledge",
    "knowledge_store",
    "knowledge_fts",
    "knowledge_store_vec",
    ("subject", "content"),
    knowledge_text,
)
SOCIAL: Final = Shelf(
    "social",
    "social_graph_nodes",
    "social_fts",
    "social_graph_vec",
    ("name", "kind", "description"),
    node_text,
)
SHELVES: Final = (EPISODES, KNOWLEDGE, SOCIAL)
