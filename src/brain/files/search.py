"""Searching the file index: by words and by meaning, fused by rank, the best place of each file."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from ..memory.fact_search import NEAR_ENOUGH, by_rank
from ..memory.vectors import Sight, VectorIndex
from ..memory.words import Query, stems
from ..store.connection import Connection
from .rows import below

POOL: Final = 100
"""Candidates that each list gives."""

SNIPPET_LINES: Final = 5
SNIPPET_WIDTH: Final = 200

_PATH_WEIGHT: Final = 3.0
"""What a word in a file's path counts, compared with one in its text."""

_WIDER: Final = 4
"""So many times the pool of nearest vectors are looked at: some belong to other folders."""


class FileHit(Struct, frozen=True):
    """A file that was found, with its best place. `score` compares within one search only."""

    path: str
    first_line: int
    snippet: str
    score: float


class _Row(Struct, frozen=True):
    path: str
    first_line: int
    text: str


def search(
    connection: Connection,
    query: Query,
    sight: Sight | None,
    index: VectorIndex,
    folders: Sequence[str],
    limit: int,
) -> tuple[FileHit, ...]:
    """The files below `folders` that answer best, best first."""
    words = _by_words(connection, query, folders)
    near: list[int] = []
    if sight is not None:
        cosines = index.seen(connection, sight).nearest(connection, _WIDER * POOL)
        near = [item for item, cosine in cosines.items() if cosine >= NEAR_ENOUGH]
    found = _rows(connection, {*words, *near}, folders)
    scores = by_rank((words, [item for item in near if item in found][:POOL]))
    hits: dict[str, FileHit] = {}
    for item in sorted(scores, key=lambda item: (-scores[item], item)):
        row = found[item]
        if row.path not in hits:
            line, snippet = _snippet(row, frozenset(query.stems))
            hits[row.path] = FileHit(row.path, line, snippet, round(scores[item], 4))
        if len(hits) == limit:
            break
    return tuple(hits.values())


def _by_words(connection: Connection, query: Query, folders: Sequence[str]) -> list[int]:
    match = query.match()
    if not match:
        return []
    places, values = _ranges(folders)
    rows = connection.execute(
        "SELECT chunk.chunk_id FROM file_chunks_fts JOIN file_chunks AS chunk"
        " ON chunk.chunk_id = file_chunks_fts.rowid"
        f" WHERE file_chunks_fts MATCH ? AND ({places})"
        f" ORDER BY bm25(file_chunks_fts, {_PATH_WEIGHT}, 1.0) LIMIT ?",
        (match, *values, POOL),
    )
    return [item for (item,) in rows]


def _rows(connection: Connection, items: set[int], folders: Sequence[str]) -> dict[int, _Row]:
    places, values = _ranges(folders)
    marks = ",".join("?" * len(items))
    rows = connection.execute(
        "SELECT chunk_id, path, first_line, text FROM file_chunks AS chunk"
        f" WHERE chunk_id IN ({marks}) AND ({places})",
        (*items, *values),
    )
    return {item: _Row(path, first, text) for item, path, first, text in rows}


def _ranges(folders: Sequence[str]) -> tuple[str, list[str]]:
    """A condition that a path is below one of the folders, and its values."""
    condition = " OR ".join(["(chunk.path >= ? AND chunk.path < ?)"] * len(folders)) or "FALSE"
    return condition, [edge for folder in folders for edge in below(folder)]


def _snippet(row: _Row, wanted: frozenset[str]) -> tuple[int, str]:
    """The lines around the one that says most of what was asked for, and the first one's number."""
    lines = row.text.split("\n")
    hits = [len(wanted.intersection(stems(line))) for line in lines]
    best = max(range(len(lines)), key=lambda place: (hits[place], -place))
    start = max(0, min(best - 1, len(lines) - SNIPPET_LINES))
    shown = [line[:SNIPPET_WIDTH] for line in lines[start : start + SNIPPET_LINES]]
    return row.first_line + start, "\n".join(shown).rstrip()
