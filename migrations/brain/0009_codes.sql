-- Codes are now those of rotated vectors, and those from before say nothing. Every row waits for
-- its vector anew; until it has come, the row is found by its words.
DELETE FROM episodes_vec;
DELETE FROM episodes_vec_exact;
DELETE FROM knowledge_store_vec;
DELETE FROM knowledge_store_vec_exact;
DELETE FROM social_graph_vec;
DELETE FROM social_graph_vec_exact;
INSERT OR IGNORE INTO embedding_queue
SELECT 'episodes', rowid FROM episodes WHERE forgotten_at IS NULL;
INSERT OR IGNORE INTO embedding_queue
SELECT 'knowledge', rowid FROM knowledge_store WHERE forgotten_at IS NULL;
INSERT OR IGNORE INTO embedding_queue
SELECT 'social', rowid FROM social_graph_nodes WHERE forgotten_at IS NULL;
