-- Traces: one row for each observation of the actor runtime, one for each trace.
-- Times are microseconds since the epoch (UTC). Rows go by age and by size (raven/rows.py).

CREATE TABLE trace_rows (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    trace_id     TEXT NOT NULL,
    span_id      TEXT NOT NULL,
    parent_id    TEXT NOT NULL,
    kind         TEXT NOT NULL,
    path         TEXT NOT NULL,
    incarnation  INTEGER NOT NULL,
    message_type TEXT NOT NULL,
    message      TEXT NOT NULL,
    at           INTEGER NOT NULL,
    wait_us      INTEGER NOT NULL,
    handling_us  INTEGER NOT NULL,
    outcome      TEXT NOT NULL,
    detail       TEXT NOT NULL,
    task_id      TEXT NOT NULL,
    turn_id      TEXT NOT NULL,
    failed       INTEGER NOT NULL,
    size         INTEGER NOT NULL
) STRICT;
CREATE INDEX trace_rows_trace ON trace_rows (trace_id);
CREATE INDEX trace_rows_span ON trace_rows (span_id);
CREATE INDEX trace_rows_turn ON trace_rows (turn_id) WHERE turn_id <> '';
CREATE INDEX trace_rows_fault ON trace_rows (path, id) WHERE failed = 1;

CREATE TABLE traces (
    trace_id   TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    rows       INTEGER NOT NULL,
    failures   INTEGER NOT NULL,
    slowest_us INTEGER NOT NULL,
    task_id    TEXT NOT NULL,
    turn_id    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX traces_started ON traces (started_at);
CREATE INDEX traces_task ON traces (task_id, started_at) WHERE task_id <> '';
