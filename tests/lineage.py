"""No recorded span may have a parent that is nowhere: checked in every brain that a run left."""

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from september.brain.raven import stumps
from september.brain.store.connection import Connection

ORDERLY: Final[set[Path]] = set()
"""Brains whose Engine ran in the test's own process and ended in order: nothing may be missing."""

_ENTRY: Final = re.compile(r"[A-Z]+ /\S*")
"""A request: what caused it may be in the caller's process."""


@dataclass
class Lineage:
    """What was found in the brains of a run.

    A killed process cannot store what was going on. `killed` are the brains that it left so; what
    the next process does about it at its boot is done here, and then none may be missing either.
    """

    brains: int = 0
    rows: int = 0
    traces: int = 0
    killed: int = 0
    dangling: list[str] = field(default_factory=list[str])

    def check(self, folder: Path) -> None:
        """Look at every brain below `folder`."""
        for file in folder.rglob("*.sqlite"):
            with suppress(sqlite3.Error):  # tests leave files that are no brains, too
                self._check(file)

    def _check(self, file: Path) -> None:
        with closing(_copied(file)) as brain:
            rows, traces = brain.execute(
                "SELECT count(*), count(DISTINCT trace_id) FROM trace_rows"
            ).fetchone()
            missing = list(dangling(brain))
            if missing and file not in ORDERLY:
                self.killed += 1
                stumps.complete(cast("Connection", brain), sys.maxsize)
                missing = list(dangling(brain))
            missing += doubled(brain)
        self.dangling += [f"{file.parent.name}: {line}" for line in missing]
        self.brains += bool(rows)
        self.rows += rows
        self.traces += traces

    @property
    def told(self) -> str:
        """A line for the end of the run."""
        return (
            f"traces: {self.rows} rows of {self.traces} traces in {self.brains} brains"
            f" ({self.killed} of killed Engines), {len(self.dangling)} without their parent"
        )


def _copied(file: Path) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:")
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as brain:
            brain.backup(copy)
    except sqlite3.Error:
        copy.close()
        raise
    return copy


def doubled(brain: sqlite3.Connection) -> Iterator[str]:
    """The spans that are stored more than once."""
    for path, span_id in brain.execute(
        "SELECT path, span_id FROM trace_rows GROUP BY path, span_id HAVING count(*) > 1"
    ):
        yield f"{path} is stored twice as {span_id}"


def dangling(brain: sqlite3.Connection) -> Iterator[str]:
    """The rows whose parent is in no row, except requests."""
    for kind, path, message_type, trace_id, parent_id in brain.execute(
        "SELECT kind, path, message_type, trace_id, parent_id FROM trace_rows AS child"
        " WHERE parent_id <> '' AND NOT EXISTS"
        " (SELECT 1 FROM trace_rows WHERE span_id = child.parent_id)"
    ):
        if kind != "span" or not _ENTRY.fullmatch(path):
            yield f"{kind} {path} {message_type}: trace {trace_id} has no span {parent_id}"
