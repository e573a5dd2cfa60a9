-- Long-term memory: vectors beside the rows, tombstones, provenance, the social graph, the soul.
-- Times are milliseconds since the epoch (UTC). No memory is ever deleted: it is closed
-- (valid_until) or forgotten (forgotten_at), and then no longer in any index.

ALTER TABLE episodes ADD COLUMN forgotten_at INTEGER;
ALTER TABLE episodes ADD COLUMN trajectory_id TEXT;
ALTER TABLE episodes ADD COLUMN trace_id TEXT;
ALTER TABLE episodes ADD COLUMN pass_id TEXT;

-- Superseded rows keep their window; `confirmed_at` is when the fact was last told or seen.
ALTER TABLE knowledge_store ADD COLUMN confirmed_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE knowledge_store ADD COLUMN superseded_by TEXT;
ALTER TABLE knowledge_store ADD COLUMN forgotten_at INTEGER;
ALTER TABLE knowledge_store ADD COLUMN trajectory_id TEXT;
ALTER TABLE knowledge_store ADD COLUMN trace_id TEXT;
ALTER TABLE knowledge_store ADD COLUMN pass_id TEXT;
UPDATE knowledge_store SET confirmed_at = created_at;
CREATE INDEX knowledge_subject ON knowledge_store (subject COLLATE NOCASE);

CREATE TABLE knowledge_sources (
    knowledge_id TEXT NOT NULL REFERENCES knowledge_store (id) ON DELETE CASCADE,
    source       TEXT NOT NULL,
    added_at     INTEGER NOT NULL,
    PRIMARY KEY (knowledge_id, source)
) STRICT, WITHOUT ROWID;
INSERT INTO knowledge_sources SELECT id, source, created_at FROM knowledge_store;

CREATE TABLE social_graph_nodes (
    rowid         INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    kind          TEXT NOT NULL,
    description   TEXT NOT NULL,
    source        TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    forgotten_at  INTEGER,
    trajectory_id TEXT,
    trace_id      TEXT,
    pass_id       TEXT
) STRICT;
CREATE INDEX social_names ON social_graph_nodes (name COLLATE NOCASE);

CREATE TABLE social_graph_edges (
    id            TEXT PRIMARY KEY,
    from_id       TEXT NOT NULL REFERENCES social_graph_nodes (id) ON DELETE CASCADE,
    to_id         TEXT NOT NULL REFERENCES social_graph_nodes (id) ON DELETE CASCADE,
    relation      TEXT NOT NULL,
    confidence    REAL NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    source        TEXT NOT NULL,
    valid_from    INTEGER NOT NULL,
    valid_until   INTEGER,
    created_at    INTEGER NOT NULL,
    forgotten_at  INTEGER,
    trajectory_id TEXT,
    trace_id      TEXT,
    pass_id       TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX social_edges_from ON social_graph_edges (from_id);
CREATE INDEX social_edges_to ON social_graph_edges (to_id);

-- The soul as it has become; the catalog's template is what it began with.
CREATE TABLE soul_entries (
    id            TEXT PRIMARY KEY,
    part          TEXT NOT NULL CHECK (part IN ('identity', 'value', 'pattern')),
    text          TEXT NOT NULL,
    source        TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    retired_at    INTEGER,
    trajectory_id TEXT,
    trace_id      TEXT,
    pass_id       TEXT
) STRICT, WITHOUT ROWID;

-- Vectors. `item` is the row in the store; `space` names the embedder that made it. The codes
-- (2 bits for each dimension) are read as a whole into memory, in the order of `seq`, which only
-- grows; the exact vectors are read for the best candidates alone.
CREATE TABLE embedding_spaces (
    space INTEGER PRIMARY KEY AUTOINCREMENT,
    name  TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE episodes_vec (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL UNIQUE,
    space INTEGER NOT NULL, code BLOB NOT NULL
) STRICT;
CREATE TABLE episodes_vec_exact (item INTEGER PRIMARY KEY, embedding BLOB NOT NULL) STRICT;
CREATE TABLE knowledge_store_vec (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL UNIQUE,
    space INTEGER NOT NULL, code BLOB NOT NULL
) STRICT;
CREATE TABLE knowledge_store_vec_exact (item INTEGER PRIMARY KEY, embedding BLOB NOT NULL) STRICT;
CREATE TABLE social_graph_vec (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL UNIQUE,
    space INTEGER NOT NULL, code BLOB NOT NULL
) STRICT;
CREATE TABLE social_graph_vec_exact (item INTEGER PRIMARY KEY, embedding BLOB NOT NULL) STRICT;

-- Rows whose vector is missing or out of date: written with the row, so no crash loses one.
CREATE TABLE embedding_queue (
    store TEXT NOT NULL,
    item  INTEGER NOT NULL,
    PRIMARY KEY (store, item)
) STRICT, WITHOUT ROWID;

DROP TRIGGER episodes_removed;
DROP TRIGGER episodes_changed;
CREATE TRIGGER episodes_queued AFTER INSERT ON episodes BEGIN
    INSERT OR IGNORE INTO embedding_queue VALUES ('episodes', new.rowid);
END;
CREATE TRIGGER episodes_removed AFTER DELETE ON episodes WHEN old.forgotten_at IS NULL BEGIN
    INSERT INTO episodes_fts (episodes_fts, rowid, key, description, value)
    VALUES ('delete', old.rowid, old.key, old.description, old.value);
    DELETE FROM embedding_queue WHERE store = 'episodes' AND item = old.rowid;
    DELETE FROM episodes_vec WHERE item = old.rowid;
    DELETE FROM episodes_vec_exact WHERE item = old.rowid;
END;
CREATE TRIGGER episodes_changed AFTER UPDATE OF key, description, value, forgotten_at ON episodes
BEGIN
    INSERT INTO episodes_fts (episodes_fts, rowid, key, description, value)
    SELECT 'delete', old.rowid, old.key, old.description, old.value WHERE old.forgotten_at IS NULL;
    INSERT INTO episodes_fts (rowid, key, description, value)
    SELECT new.rowid, new.key, new.description, new.value WHERE new.forgotten_at IS NULL;
    DELETE FROM embedding_queue WHERE store = 'episodes' AND item = old.rowid;
    DELETE FROM episodes_vec WHERE item = old.rowid;
    DELETE FROM episodes_vec_exact WHERE item = old.rowid;
    INSERT OR IGNORE INTO embedding_queue
    SELECT 'episodes', new.rowid WHERE new.forgotten_at IS NULL;
END;

DROP TRIGGER knowledge_removed;
DROP TRIGGER knowledge_changed;
CREATE TRIGGER knowledge_queued AFTER INSERT ON knowledge_store BEGIN
    INSERT OR IGNORE INTO embedding_queue VALUES ('knowledge', new.rowid);
END;
CREATE TRIGGER knowledge_removed AFTER DELETE ON knowledge_store WHEN old.forgotten_at IS NULL
BEGIN
    INSERT INTO knowledge_fts (knowledge_fts, rowid, subject, content)
    VALUES ('delete', old.rowid, old.subject, old.content);
    DELETE FROM embedding_queue WHERE store = 'knowledge' AND item = old.rowid;
    DELETE FROM knowledge_store_vec WHERE item = old.rowid;
    DELETE FROM knowledge_store_vec_exact WHERE item = old.rowid;
END;
CREATE TRIGGER knowledge_changed AFTER UPDATE OF subject, content, forgotten_at ON knowledge_store
BEGIN
    INSERT INTO knowledge_fts (knowledge_fts, rowid, subject, content)
    SELECT 'delete', old.rowid, old.subject, old.content WHERE old.forgotten_at IS NULL;
    INSERT INTO knowledge_fts (rowid, subject, content)
    SELECT new.rowid, new.subject, new.content WHERE new.forgotten_at IS NULL;
    DELETE FROM embedding_queue WHERE store = 'knowledge' AND item = old.rowid;
    DELETE FROM knowledge_store_vec WHERE item = old.rowid;
    DELETE FROM knowledge_store_vec_exact WHERE item = old.rowid;
    INSERT OR IGNORE INTO embedding_queue
    SELECT 'knowledge', new.rowid WHERE new.forgotten_at IS NULL;
END;

CREATE VIRTUAL TABLE social_fts USING fts5 (
    name, kind, description, content = 'social_graph_nodes', content_rowid = 'rowid',
    tokenize = 'porter unicode61'
);
CREATE TRIGGER social_added AFTER INSERT ON social_graph_nodes BEGIN
    INSERT INTO social_fts (rowid, name, kind, description)
    VALUES (new.rowid, new.name, new.kind, new.description);
    INSERT OR IGNORE INTO embedding_queue VALUES ('social', new.rowid);
END;
CREATE TRIGGER social_removed AFTER DELETE ON social_graph_nodes WHEN old.forgotten_at IS NULL
BEGIN
    INSERT INTO social_fts (social_fts, rowid, name, kind, description)
    VALUES ('delete', old.rowid, old.name, old.kind, old.description);
    DELETE FROM embedding_queue WHERE store = 'social' AND item = old.rowid;
    DELETE FROM social_graph_vec WHERE item = old.rowid;
    DELETE FROM social_graph_vec_exact WHERE item = old.rowid;
END;
CREATE TRIGGER social_changed AFTER UPDATE OF name, kind, description, forgotten_at
ON social_graph_nodes
BEGIN
    INSERT INTO social_fts (social_fts, rowid, name, kind, description)
    SELECT 'delete', old.rowid, old.name, old.kind, old.description
    WHERE old.forgotten_at IS NULL;
    INSERT INTO social_fts (rowid, name, kind, description)
    SELECT new.rowid, new.name, new.kind, new.description WHERE new.forgotten_at IS NULL;
    DELETE FROM embedding_queue WHERE store = 'social' AND item = old.rowid;
    DELETE FROM social_graph_vec WHERE item = old.rowid;
    DELETE FROM social_graph_vec_exact WHERE item = old.rowid;
    INSERT OR IGNORE INTO embedding_queue
    SELECT 'social', new.rowid WHERE new.forgotten_at IS NULL;
END;

-- How many live rows hold a word (its stem): what makes a word rare.
CREATE VIRTUAL TABLE episodes_words USING fts5vocab (episodes_fts, row);
CREATE VIRTUAL TABLE knowledge_words USING fts5vocab (knowledge_fts, row);
CREATE VIRTUAL TABLE social_words USING fts5vocab (social_fts, row);

-- What was written before this migration waits for its vector too.
INSERT INTO embedding_queue SELECT 'episodes', rowid FROM episodes;
INSERT INTO embedding_queue SELECT 'knowledge', rowid FROM knowledge_store;

-- Learning. A pass is one round over one task; its rows carry its id, so that it can be undone.
CREATE TABLE learning_passes (
    pass_id     TEXT PRIMARY KEY,
    task_id     TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed', 'rolled_back')),
    extractor   TEXT NOT NULL,
    report      TEXT NOT NULL,
    trace_id    TEXT NOT NULL,
    started_at  INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX learning_passes_time ON learning_passes (started_at);

-- What a pass closed, so that undoing it opens it again.
CREATE TABLE learning_closures (
    pass_id      TEXT NOT NULL REFERENCES learning_passes (pass_id) ON DELETE CASCADE,
    knowledge_id TEXT NOT NULL,
    PRIMARY KEY (pass_id, knowledge_id)
) STRICT, WITHOUT ROWID;

-- Compaction: a summary stands for the messages up to and including `upto_seq`.
CREATE TABLE compactions (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id       TEXT NOT NULL REFERENCES conversations (task_id) ON DELETE CASCADE,
    upto_seq      INTEGER NOT NULL,
    summary       TEXT NOT NULL,
    tokens_before INTEGER NOT NULL,
    tokens_after  INTEGER NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX compactions_task ON compactions (task_id, id);
