-- The Engine's first schema: conversations, turns, the durable event log, human-in-the-loop,
-- working memory, and the first long-term stores. Times are milliseconds since the epoch (UTC).

CREATE TABLE brain_meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE conversations (
    task_id    TEXT PRIMARY KEY,
    agent      TEXT NOT NULL,
    title      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX conversations_updated ON conversations (updated_at);

-- One /execute. `request` is what is needed to run it again after a restart.
CREATE TABLE turns (
    turn_id         TEXT PRIMARY KEY,
    task_id         TEXT NOT NULL REFERENCES conversations (task_id) ON DELETE CASCADE,
    status          TEXT NOT NULL CHECK (status IN
                        ('queued', 'running', 'waiting', 'completed', 'errored', 'cancelled')),
    agent           TEXT NOT NULL,
    request         TEXT NOT NULL,
    idempotency_key TEXT UNIQUE,
    trace_id        TEXT NOT NULL,
    error_code      TEXT,
    error_message   TEXT,
    input_tokens    INTEGER NOT NULL DEFAULT 0,
    output_tokens   INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    ended_at        INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX turns_task ON turns (task_id, created_at);
CREATE INDEX turns_open ON turns (status) WHERE status IN ('queued', 'running', 'waiting');

-- The transcript. An edited or retried message supersedes what came after it; nothing is deleted.
CREATE TABLE messages (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id    TEXT NOT NULL UNIQUE,
    task_id       TEXT NOT NULL REFERENCES conversations (task_id) ON DELETE CASCADE,
    turn_id       TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    blocks        TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    superseded_at INTEGER
) STRICT;
CREATE INDEX messages_task ON messages (task_id, seq) WHERE superseded_at IS NULL;

-- Tool calls of the last assistant message while their results are not yet in the transcript.
CREATE TABLE tool_calls (
    tool_call_id TEXT NOT NULL,
    turn_id      TEXT NOT NULL REFERENCES turns (turn_id) ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    tool         TEXT NOT NULL,
    input        TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('requested', 'started', 'finished')),
    output       TEXT,
    error        TEXT,
    truncated    INTEGER NOT NULL DEFAULT 0,
    duration_ms  INTEGER,
    PRIMARY KEY (turn_id, tool_call_id)
) STRICT, WITHOUT ROWID;

-- What clients have seen, in the order they saw it. AUTOINCREMENT: an id is never used twice,
-- not even after retention has removed the newest rows.
CREATE TABLE channel_events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id    TEXT NOT NULL,
    turn_id    TEXT NOT NULL,
    type       TEXT NOT NULL,
    data       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX channel_events_task ON channel_events (task_id, id);
CREATE INDEX channel_events_turn ON channel_events (turn_id, id);
CREATE INDEX channel_events_time ON channel_events (created_at);

CREATE TABLE channel_state_snapshots (
    task_id    TEXT PRIMARY KEY,
    state      TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE hitl_requests (
    request_id   TEXT PRIMARY KEY,
    task_id      TEXT NOT NULL,
    turn_id      TEXT NOT NULL,
    tool_call_id TEXT,
    kind         TEXT NOT NULL CHECK (kind IN ('permission', 'question', 'plan')),
    question     TEXT NOT NULL,
    tool         TEXT,
    input        TEXT,
    options      TEXT,
    status       TEXT NOT NULL CHECK (status IN ('pending', 'answered', 'expired', 'cancelled')),
    answer       TEXT,
    feedback     TEXT,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    resolved_at  INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX hitl_pending ON hitl_requests (task_id) WHERE status = 'pending';
CREATE UNIQUE INDEX hitl_call ON hitl_requests (turn_id, tool_call_id)
    WHERE tool_call_id IS NOT NULL;

CREATE TABLE working_memory_log (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id    TEXT NOT NULL,
    key        TEXT NOT NULL,
    value      TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX working_memory_task ON working_memory_log (task_id, key, id);
CREATE INDEX working_memory_expiry ON working_memory_log (expires_at);

-- A finished turn, kept for the Learning Centre.
CREATE TABLE trajectories (
    trajectory_id TEXT PRIMARY KEY,
    task_id       TEXT NOT NULL,
    turn_id       TEXT NOT NULL UNIQUE,
    outcome       TEXT NOT NULL,
    summary       TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    learned_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX trajectories_unlearned ON trajectories (created_at) WHERE learned_at IS NULL;

CREATE TABLE learning_signals (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id    TEXT NOT NULL,
    turn_id    TEXT,
    signal     TEXT NOT NULL,
    comment    TEXT,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE observability_events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    task_id    TEXT,
    turn_id    TEXT,
    trace_id   TEXT,
    data       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX observability_time ON observability_events (created_at);

CREATE TABLE episodes (
    rowid       INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    key         TEXT NOT NULL,
    description TEXT NOT NULL,
    value       TEXT NOT NULL,
    source      TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE VIRTUAL TABLE episodes_fts USING fts5 (
    key, description, value, content = 'episodes', content_rowid = 'rowid',
    tokenize = 'porter unicode61'
);
CREATE TRIGGER episodes_added AFTER INSERT ON episodes BEGIN
    INSERT INTO episodes_fts (rowid, key, description, value)
    VALUES (new.rowid, new.key, new.description, new.value);
END;
CREATE TRIGGER episodes_removed AFTER DELETE ON episodes BEGIN
    INSERT INTO episodes_fts (episodes_fts, rowid, key, description, value)
    VALUES ('delete', old.rowid, old.key, old.description, old.value);
END;
CREATE TRIGGER episodes_changed AFTER UPDATE OF key, description, value ON episodes BEGIN
    INSERT INTO episodes_fts (episodes_fts, rowid, key, description, value)
    VALUES ('delete', old.rowid, old.key, old.description, old.value);
    INSERT INTO episodes_fts (rowid, key, description, value)
    VALUES (new.rowid, new.key, new.description, new.value);
END;

CREATE TABLE knowledge_store (
    rowid       INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    subject     TEXT NOT NULL,
    content     TEXT NOT NULL,
    type        TEXT NOT NULL,
    confidence  REAL NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    source      TEXT NOT NULL,
    valid_from  INTEGER NOT NULL,
    valid_until INTEGER,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE VIRTUAL TABLE knowledge_fts USING fts5 (
    subject, content, content = 'knowledge_store', content_rowid = 'rowid',
    tokenize = 'porter unicode61'
);
CREATE TRIGGER knowledge_added AFTER INSERT ON knowledge_store BEGIN
    INSERT INTO knowledge_fts (rowid, subject, content)
    VALUES (new.rowid, new.subject, new.content);
END;
CREATE TRIGGER knowledge_removed AFTER DELETE ON knowledge_store BEGIN
    INSERT INTO knowledge_fts (knowledge_fts, rowid, subject, content)
    VALUES ('delete', old.rowid, old.subject, old.content);
END;
CREATE TRIGGER knowledge_changed AFTER UPDATE OF subject, content ON knowledge_store BEGIN
    INSERT INTO knowledge_fts (knowledge_fts, rowid, subject, content)
    VALUES ('delete', old.rowid, old.subject, old.content);
    INSERT INTO knowledge_fts (rowid, subject, content)
    VALUES (new.rowid, new.subject, new.content);
END;
