-- The index of text files: what file_search looks in. A file is known by its path, size, time and
-- hash; what is no text stays known with the reason. Times are ms (UTC), `mtime_ns` nanoseconds.

CREATE TABLE indexed_files (
    file_id    INTEGER PRIMARY KEY AUTOINCREMENT,
    path       TEXT NOT NULL UNIQUE,
    size       INTEGER NOT NULL,
    mtime_ns   INTEGER NOT NULL,
    hash       TEXT NOT NULL,
    skipped    TEXT,
    indexed_at INTEGER NOT NULL
) STRICT;

CREATE TABLE file_chunks (
    chunk_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id    INTEGER NOT NULL REFERENCES indexed_files (file_id) ON DELETE CASCADE,
    path       TEXT NOT NULL,
    first_line INTEGER NOT NULL,
    last_line  INTEGER NOT NULL,
    text       TEXT NOT NULL
) STRICT;
CREATE INDEX file_chunks_file ON file_chunks (file_id);
CREATE VIRTUAL TABLE file_chunks_fts USING fts5 (
    path, text, content = 'file_chunks', content_rowid = 'chunk_id', tokenize = 'porter unicode61'
);
CREATE VIRTUAL TABLE file_words USING fts5vocab (file_chunks_fts, row);

CREATE TABLE file_chunks_vec (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL UNIQUE,
    space INTEGER NOT NULL, code BLOB NOT NULL
) STRICT;
CREATE TABLE file_chunks_vec_exact (item INTEGER PRIMARY KEY, embedding BLOB NOT NULL) STRICT;

CREATE TRIGGER file_chunks_added AFTER INSERT ON file_chunks BEGIN
    INSERT INTO file_chunks_fts (rowid, path, text) VALUES (new.chunk_id, new.path, new.text);
END;
CREATE TRIGGER file_chunks_removed AFTER DELETE ON file_chunks BEGIN
    INSERT INTO file_chunks_fts (file_chunks_fts, rowid, path, text)
    VALUES ('delete', old.chunk_id, old.path, old.text);
    DELETE FROM file_chunks_vec WHERE item = old.chunk_id;
    DELETE FROM file_chunks_vec_exact WHERE item = old.chunk_id;
END;
