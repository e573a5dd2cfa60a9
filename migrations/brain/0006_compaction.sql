-- Compaction: who wrote a summary and in which turn, and up to where results of tools are shown
-- in part. `tokens_per_estimate` is how the task's provider counts, as its last call told.

ALTER TABLE compactions ADD COLUMN turn_id TEXT NOT NULL DEFAULT '';
ALTER TABLE compactions ADD COLUMN collapsed_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE compactions ADD COLUMN author TEXT NOT NULL DEFAULT '';
ALTER TABLE conversations ADD COLUMN tokens_per_estimate REAL NOT NULL DEFAULT 1.0;
