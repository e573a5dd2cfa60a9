-- Answers that are remembered: a yes for a tool and a subject, in one task or ('') always.
CREATE TABLE permits (
    permit_id    TEXT PRIMARY KEY,
    tool         TEXT NOT NULL,
    subject_hash TEXT NOT NULL,
    shown        TEXT NOT NULL,
    task_id      TEXT NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX permits_subject ON permits (tool, subject_hash, task_id);

-- What was decided on every tool call, by rule or by a person.
CREATE TABLE permission_decisions (
    turn_id      TEXT NOT NULL,
    tool_call_id TEXT NOT NULL,
    task_id      TEXT NOT NULL,
    tool         TEXT NOT NULL,
    outcome      TEXT NOT NULL,
    concern      TEXT,
    reason       TEXT NOT NULL,
    scope        TEXT CHECK (scope IN ('task', 'always')),
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (turn_id, tool_call_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX permission_decisions_task ON permission_decisions (task_id, created_at);
