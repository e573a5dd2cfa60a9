"""Passes in the brain: begun, drawn, applied step by step, ended; and taken back."""

from collections import Counter
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from ...errors import SeptemberError
from ..memory.episodes import Origin
from ..store.connection import Connection, Row
from .draft import Draft
from .material import signal, turn, unlearned
from .writing import take_back, write

PassStatus: TypeAlias = Literal["running", "done", "failed", "rolled_back"]

KEPT: Final = 50
"""Passes that a status shows at most."""


class Sample(Struct, frozen=True):
    """A question to which memory held the answer before the pass."""

    store: Literal["episodes", "knowledge"]
    id: str
    question: str


class Recall(Struct, frozen=True):
    """How many of the sample questions brought their memory back, before and after the pass."""

    questions: int
    before: int
    after: int


class Report(Struct, frozen=True, kw_only=True):
    """What a pass did, as kept with it. `reason` says why it was rolled back or failed."""

    counts: dict[str, int] = {}
    samples: tuple[Sample, ...] | None = None
    found_before: int = 0
    recall: Recall | None = None
    reason: str | None = None


class Pass(msgspec.Struct, frozen=True):
    """A pass. Times are ms; `trace_id` names the trace of the pass, which all its rows cite.

    `applied` of its `steps` are written to memory.
    """

    pass_id: str
    task_id: str
    status: PassStatus
    extractor: str
    report: Report
    trace_id: str
    started_at: int
    ended_at: int | None
    steps: int
    applied: int


class Step(msgspec.Struct, frozen=True):
    """One turn or signal of a pass. `draft` is None until it was drawn."""

    number: int
    kind: str
    item: str
    draft: Draft | None
    applied: bool

    @property
    def source(self) -> str:
        """What the rows that are drawn from it name as their source."""
        return f"{self.kind}:{self.item}"


_COLUMNS: Final = (
    "pass_id, task_id, status, extractor, report, trace_id, started_at, ended_at,"
    " (SELECT count(*) FROM learning_steps AS s WHERE s.pass_id = learning_passes.pass_id),"
    " (SELECT count(applied_at) FROM learning_steps AS s"
    "   WHERE s.pass_id = learning_passes.pass_id)"
)


def begin(
    connection: Connection, task_id: str, pass_id: str, trace_id: str, now: int
) -> Pass | None:
    """Begin a pass over what the task has; one that runs is taken up; None: nothing to learn."""
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM learning_passes WHERE task_id = ? AND status = 'running'",
        (task_id,),
    ).fetchone()
    if found is not None:
        return _pass(found)
    items = unlearned(connection, task_id)
    if not items:
        return None
    connection.execute(
        "INSERT INTO learning_passes (pass_id, task_id, status, extractor, report, trace_id,"
        " started_at) VALUES (?, ?, 'running', '', ?, ?, ?)",
        (pass_id, task_id, _encoded(Report()), trace_id, now),
    )
    connection.executemany(
        "INSERT INTO learning_steps (pass_id, step, kind, item) VALUES (?, ?, ?, ?)",
        [(pass_id, number, kind, item) for number, (kind, item) in enumerate(items)],
    )
    return shown(connection, pass_id)


def shown(connection: Connection, pass_id: str) -> Pass:
    """One pass. Raises NOT_FOUND."""
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM learning_passes WHERE pass_id = ?", (pass_id,)
    ).fetchone()
    if found is None:
        raise SeptemberError(
            "NOT_FOUND",
            f"pass_id: there is no pass {pass_id!r}; GET /learning/status lists the last ones",
            {"field": "pass_id", "pass_id": pass_id},
        )
    return _pass(found)


def latest(connection: Connection) -> tuple[Pass, ...]:
    """The last passes, newest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM learning_passes ORDER BY started_at DESC, pass_id LIMIT ?",
        (KEPT,),
    )
    return tuple(map(_pass, rows))


def running(connection: Connection) -> tuple[str, ...]:
    """The tasks with a pass that did not end: a process was killed within it."""
    rows = connection.execute(
        "SELECT task_id FROM learning_passes WHERE status = 'running' ORDER BY started_at"
    )
    return tuple(task_id for (task_id,) in rows)


def steps(connection: Connection, pass_id: str) -> tuple[Step, ...]:
    """The steps of a pass, in order."""
    rows = connection.execute(
        "SELECT step, kind, item, draft, applied_at IS NOT NULL FROM learning_steps"
        " WHERE pass_id = ? ORDER BY step",
        (pass_id,),
    )
    return tuple(
        Step(
            number,
            kind,
            item,
            msgspec.json.decode(draft, type=Draft) if draft is not None else None,
            bool(applied),
        )
        for number, kind, item, draft, applied in rows
    )


def keep_drafts(
    connection: Connection, pass_id: str, drafts: dict[int, Draft], extractor: str
) -> None:
    """Keep what was drawn: a pass that is taken up again writes exactly this."""
    connection.executemany(
        "UPDATE learning_steps SET draft = ? WHERE pass_id = ? AND step = ? AND draft IS NULL",
        [
            (msgspec.json.encode(draft).decode(), pass_id, number)
            for number, draft in drafts.items()
        ],
    )
    connection.execute(
        "UPDATE learning_passes SET extractor = ? WHERE pass_id = ?", (extractor, pass_id)
    )


def keep_report(connection: Connection, pass_id: str, report: Report) -> None:
    """Keep how far the pass is."""
    connection.execute(
        "UPDATE learning_passes SET report = ? WHERE pass_id = ?", (_encoded(report), pass_id)
    )


def apply(connection: Connection, pass_id: str, step: Step, now: int) -> None:
    """Write one step's draft to memory; done already, it is not done again."""
    connection.execute(
        "UPDATE learning_steps SET applied_at = ? WHERE pass_id = ? AND step = ?"
        " AND applied_at IS NULL",
        (now, pass_id, step.number),
    )
    if not connection.changes() or step.draft is None:
        return
    held = shown(connection, pass_id)
    at = _happened_at(connection, step)
    origin = Origin(_trajectory(connection, step), held.trace_id, pass_id)
    counts = Counter(held.report.counts)
    counts.update(write(connection, step.draft, step.source, at or now, origin))
    counts[_COUNTED[step.kind]] += 1
    kept = {name: count for name, count in counts.items() if count}
    keep_report(connection, pass_id, msgspec.structs.replace(held.report, counts=kept))


_COUNTED: Final = {"trajectory": "trajectories", "signal": "signals"}


def _happened_at(connection: Connection, step: Step) -> int | None:
    found = (
        turn(connection, step.item)
        if step.kind == "trajectory"
        else signal(connection, int(step.item))
    )
    return found.at if found is not None else None


def _trajectory(connection: Connection, step: Step) -> str:
    """The trajectory that a row cites: a signal's is that of the turn it speaks of."""
    if step.kind == "trajectory":
        return step.item
    found = connection.execute(
        "SELECT t.trajectory_id FROM learning_signals AS s JOIN trajectories AS t"
        " ON t.turn_id = s.turn_id WHERE s.id = ?",
        (int(step.item),),
    ).fetchone()
    return str(found[0]) if found is not None else f"signal:{step.item}"


def end(connection: Connection, pass_id: str, recall: Recall, now: int) -> Pass:
    """End a pass; one that lowered recall is taken back, and either way not tried again."""
    held = shown(connection, pass_id)
    if held.status != "running":
        return held
    fell = recall.after < recall.before
    reason = f"recall fell from {recall.before} to {recall.after} of {recall.questions}"
    report = msgspec.structs.replace(held.report, recall=recall, reason=reason if fell else None)
    if fell:
        take_back(connection, pass_id, now)
    _settle(connection, pass_id, now)
    _close(connection, pass_id, "rolled_back" if fell else "done", report, now)
    return shown(connection, pass_id)


def fail(connection: Connection, pass_id: str, reason: str, now: int) -> Pass:
    """End a pass that could not go on: what it wrote is taken back, what it was for waits."""
    held = shown(connection, pass_id)
    if held.status == "running":
        take_back(connection, pass_id, now)
        report = msgspec.structs.replace(held.report, reason=reason)
        _close(connection, pass_id, "failed", report, now)
    return shown(connection, pass_id)


def undo(connection: Connection, pass_id: str, now: int) -> Pass:
    """Take a finished pass back; twice is the same as once. Raises NOT_FOUND, TASK_BUSY."""
    held = shown(connection, pass_id)
    if held.status == "running":
        raise SeptemberError(
            "TASK_BUSY",
            f"pass {pass_id!r} still runs; undo it when GET /learning/status shows its end",
            {"pass_id": pass_id},
        )
    if held.status == "done":
        take_back(connection, pass_id, now)
        report = msgspec.structs.replace(held.report, reason="undone on request")
        _close(connection, pass_id, "rolled_back", report, now)
    return shown(connection, pass_id)


def _settle(connection: Connection, pass_id: str, now: int) -> None:
    """What the pass was for is learned."""
    for kind, table, key in (
        ("trajectory", "trajectories", "trajectory_id"),
        ("signal", "learning_signals", "id"),
    ):
        connection.execute(
            f"UPDATE {table} SET learned_at = ?1 WHERE {key} IN"
            " (SELECT item FROM learning_steps WHERE pass_id = ?2 AND kind = ?3)",
            (now, pass_id, kind),
        )


def _close(
    connection: Connection, pass_id: str, status: PassStatus, report: Report, now: int
) -> None:
    connection.execute(
        "UPDATE learning_passes SET status = ?, report = ?, ended_at = ? WHERE pass_id = ?",
        (status, _encoded(report), now, pass_id),
    )
    connection.execute("UPDATE learning_steps SET draft = NULL WHERE pass_id = ?", (pass_id,))


def _encoded(report: Report) -> str:
    return msgspec.json.encode(report).decode()


def _pass(row: Row) -> Pass:
    pass_id, task_id, status, extractor, report, *others = row
    held = msgspec.json.decode(report, type=Report)
    return Pass(pass_id, task_id, status, extractor, held, *others)
