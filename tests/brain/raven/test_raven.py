"""Raven: what it keeps, what it does not do, and how it stays within its bounds."""

from pathlib import Path
from typing import Protocol

import trio

from september.actors import Trace, span_scope
from september.actors.testing import wait_idle
from september.brain.raven import queries, rows, stumps
from september.brain.store.database import Database
from september.traces.keeper import Flush
from september.traces.recorder import SILENT, joining
from september.traces.row import TraceRow
from september.traces.stump import CUT_SHORT

from .stage import Recorded, recorded


class AnyBrain(Protocol):
    """The fixture of tests/brain: a running store."""

    @property
    def database(self) -> Database: ...


async def count(stage: Recorded, query: str) -> int:
    database = stage.engine.database
    found = await database.read(lambda db: db.execute(query).fetchone())
    assert found is not None
    return int(found[0])


async def test_an_idle_engine_records_nothing_of_its_own_recording(tmp_path: Path) -> None:
    async with recorded(tmp_path) as stage:
        await stage.turn()
        await wait_idle(stage.engine.tree)  # the turn is put away after its last event
        with span_scope(SILENT):
            await stage.engine.raven.call(Flush())
            before = await count(stage, "SELECT max(id) FROM trace_rows")
            await trio.sleep(1)  # time for four rounds of Raven
            await stage.engine.raven.call(Flush())
            assert await count(stage, "SELECT max(id) FROM trace_rows") == before


async def test_no_row_of_a_turn_dangles_and_the_callers_trace_goes_on(tmp_path: Path) -> None:
    async with recorded(tmp_path) as stage:
        header = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
        body = {"task_id": "task", "message": "go"}
        await stage.http.post("/execute", json=body, headers=header)
        detail = await stage.get(f"/traces/{'ab' * 16}")
    gaps = [line["row"]["path"] for line in detail["lines"] if line["gap"]]
    assert gaps == ["POST /execute"]
    names = {line["row"]["path"] for line in detail["lines"]}
    assert {"invoke_agent assistant", "chat", "attempt scripted"} <= names


def row(number: int, at: int) -> TraceRow:
    return TraceRow(
        kind="span", at=at, trace_id=f"{number:032x}", span_id=f"{number:016x}", path="work"
    )


async def test_rows_go_by_age_and_by_size_oldest_first(brain: AnyBrain) -> None:
    batch = [row(number, number) for number in range(1, 101)]
    await brain.database.write(lambda db: rows.keep(db, batch))
    total = await brain.database.read(rows.stored_size)
    freed = await brain.database.write(lambda db: rows.prune(db, before=11, excess=0))
    assert freed == sum(one.size for one in batch[:10])
    await brain.database.write(lambda db: rows.prune(db, before=0, excess=total // 2))
    left = await brain.database.read(
        lambda db: db.execute("SELECT min(at), count(*) FROM trace_rows").fetchone()
    )
    kept = await brain.database.read(
        lambda db: db.execute("SELECT count(*) FROM traces").fetchone()
    )
    assert left == (61, 40) and kept == (40,)


async def test_a_row_is_read_as_it_was_kept(brain: AnyBrain) -> None:
    odd = 'a \0 nul, "quotes", \\u0041, {"json": 1}, é \U0001f600'
    kept = TraceRow(
        kind="span",
        at=2**52,
        trace_id="ab" * 16,
        span_id="cd" * 8,
        path=odd,
        incarnation=3,
        message=odd,
        handling_us=2**40,
        outcome="null",
        detail=odd,
        task_id=odd,
    )
    await brain.database.write(lambda db: rows.keep(db, [kept]))
    found = await brain.database.read(lambda db: queries.trace(db, "ab" * 16))
    assert list(found) == [kept]


def test_a_repaired_turn_joins_its_own_trace() -> None:
    trace = Trace()
    with trace.span("repair turn", traceparent=joining("ab" * 16)):
        pass
    assert trace.recent()[-1].trace_id == "ab" * 16


async def test_a_boot_says_what_the_killed_process_left_half_told(brain: AnyBrain) -> None:
    def part(number: int, parent: int, path: str, at: int) -> TraceRow:
        return TraceRow(
            kind="span",
            at=at,
            trace_id="ab" * 16,
            span_id=f"{number:016x}",
            parent_id=f"{parent:016x}",
            path=path,
            handling_us=10,
            turn_id="turn-1",
        )

    left = [
        part(1, 9, "chat", 100),
        part(2, 9, "execute_tool bash", 200),
        part(3, 1, "attempt scripted", 100),
        part(4, 77, "POST /execute", 300),  # its parent is the client's
        part(5, 88, "chat", 900),  # this process's own: it may still end
    ]
    await brain.database.write(lambda db: rows.keep(db, left))
    for added in (1, 0):
        assert await brain.database.write(lambda db: stumps.complete(db, before=500)) == added
    kept = await brain.database.read(lambda db: queries.trace(db, "ab" * 16))
    (stump,) = [row for row in kept if row.outcome == CUT_SHORT]
    assert (stump.span_id, stump.at, stump.ended_at) == (f"{9:016x}", 100, 210)
    assert stump.turn_id == "turn-1" and stump.failed
