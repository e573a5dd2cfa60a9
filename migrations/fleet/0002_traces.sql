-- Traces: one row for each observation of the orchestrators' actors, one for each trace.
-- Times are microseconds since the epoch (UTC). Rows go by age and by size (fleet/trace_store.py).

CREATE TABLE trace_rows (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    trace_id     TEXT NOT NULL,
    span_id      TEXT NOT NULL,
    parent_id    TEXT NOT NULL,
    kind         TEXT NOT NULL,
    path         TEXT NOT NULL,
    incarnation  INTEGER NOT NULL,
    message_type TEXT NOT NULL,
    message      TEXT NOT NULL,
    at           BIGINT NOT NULL,
    wait_us      BIGINT NOT NULL,
    handling_us  BIGINT NOT NULL,
    outcome      TEXT NOT NULL,
    detail       TEXT NOT NULL,
    task_id      TEXT NOT NULL,
    turn_id      TEXT NOT NULL,
    failed       BOOLEAN NOT NULL,
    size         INTEGER NOT NULL
);

CREATE INDEX idx_trace_rows_trace ON trace_rows (trace_id);
CREATE INDEX idx_trace_rows_span ON trace_rows (span_id);
-- An actor is asked for by its whole path or by the last name in it; an Engine's spans end with its id.
CREATE INDEX idx_trace_rows_name ON trace_rows ((substring(path FROM '[^/ ]*$')), id);

CREATE TABLE traces (
    trace_id   TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at   BIGINT NOT NULL,
    spans      INTEGER NOT NULL,
    failures   INTEGER NOT NULL,
    slowest_us BIGINT NOT NULL,
    task_id    TEXT NOT NULL,
    turn_id    TEXT NOT NULL
);

CREATE INDEX idx_traces_started ON traces (started_at);
