-- Media that came with messages, kept once for each task; transcripts name them by id. The text of
-- documents stands beside them in chunks. Times are milliseconds since the epoch (UTC).

CREATE TABLE media (
    media_id   TEXT PRIMARY KEY,
    task_id    TEXT NOT NULL REFERENCES conversations (task_id) ON DELETE CASCADE,
    media_type TEXT NOT NULL,
    data       BLOB NOT NULL,
    refused    TEXT NOT NULL,
    pages      INTEGER,
    problem    TEXT,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX media_task ON media (task_id);

CREATE TABLE ingestion_chunks (
    chunk_id INTEGER PRIMARY KEY AUTOINCREMENT,
    media_id TEXT NOT NULL REFERENCES media (media_id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    label    TEXT NOT NULL,
    text     TEXT NOT NULL,
    UNIQUE (media_id, position)
) STRICT;
CREATE VIRTUAL TABLE ingestion_fts USING fts5 (
    text, content = 'ingestion_chunks', content_rowid = 'chunk_id', tokenize = 'porter unicode61'
);
CREATE TRIGGER ingestion_added AFTER INSERT ON ingestion_chunks BEGIN
    INSERT INTO ingestion_fts (rowid, text) VALUES (new.chunk_id, new.text);
END;
CREATE TRIGGER ingestion_removed AFTER DELETE ON ingestion_chunks BEGIN
    INSERT INTO ingestion_fts (ingestion_fts, rowid, text)
    VALUES ('delete', old.chunk_id, old.text);
END;
