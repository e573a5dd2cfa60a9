-- A memory that comes forgotten, in an import, enters no index and waits for no vector.
DROP TRIGGER episodes_added;
DROP TRIGGER episodes_queued;
CREATE TRIGGER episodes_added AFTER INSERT ON episodes WHEN new.forgotten_at IS NULL BEGIN
    INSERT INTO episodes_fts (rowid, key, description, value)
    VALUES (new.rowid, new.key, new.description, new.value);
    INSERT OR IGNORE INTO embedding_queue VALUES ('episodes', new.rowid);
END;

DROP TRIGGER knowledge_added;
DROP TRIGGER knowledge_queued;
CREATE TRIGGER knowledge_added AFTER INSERT ON knowledge_store WHEN new.forgotten_at IS NULL
BEGIN
    INSERT INTO knowledge_fts (rowid, subject, content)
    VALUES (new.rowid, new.subject, new.content);
    INSERT OR IGNORE INTO embedding_queue VALUES ('knowledge', new.rowid);
END;

DROP TRIGGER social_added;
CREATE TRIGGER social_added AFTER INSERT ON social_graph_nodes WHEN new.forgotten_at IS NULL
BEGIN
    INSERT INTO social_fts (rowid, name, kind, description)
    VALUES (new.rowid, new.name, new.kind, new.description);
    INSERT OR IGNORE INTO embedding_queue VALUES ('social', new.rowid);
END;

-- What came so before waits no longer, and the keyword indexes are made anew.
DELETE FROM embedding_queue WHERE store = 'episodes' AND item IN
    (SELECT rowid FROM episodes WHERE forgotten_at IS NOT NULL);
DELETE FROM embedding_queue WHERE store = 'knowledge' AND item IN
    (SELECT rowid FROM knowledge_store WHERE forgotten_at IS NOT NULL);
DELETE FROM embedding_queue WHERE store = 'social' AND item IN
    (SELECT rowid FROM social_graph_nodes WHERE forgotten_at IS NOT NULL);
INSERT INTO episodes_fts (episodes_fts) VALUES ('delete-all');
INSERT INTO episodes_fts (rowid, key, description, value)
SELECT rowid, key, description, value FROM episodes WHERE forgotten_at IS NULL;
INSERT INTO knowledge_fts (knowledge_fts) VALUES ('delete-all');
INSERT INTO knowledge_fts (rowid, subject, content)
SELECT rowid, subject, content FROM knowledge_store WHERE forgotten_at IS NULL;
INSERT INTO social_fts (social_fts) VALUES ('delete-all');
INSERT INTO social_fts (rowid, name, kind, description)
SELECT rowid, name, kind, description FROM social_graph_nodes WHERE forgotten_at IS NULL;
