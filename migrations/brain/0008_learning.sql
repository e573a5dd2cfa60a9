-- Learning: what a pass draws from, one step for each finished turn or signal. A step is drawn
-- (its draft is kept), then applied in one transaction, so that a pass can be taken up anywhere.

ALTER TABLE learning_signals ADD COLUMN learned_at INTEGER;
CREATE INDEX learning_signals_unlearned ON learning_signals (created_at) WHERE learned_at IS NULL;

CREATE TABLE learning_steps (
    pass_id    TEXT NOT NULL REFERENCES learning_passes (pass_id) ON DELETE CASCADE,
    step       INTEGER NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('trajectory', 'signal')),
    item       TEXT NOT NULL,
    draft      TEXT,
    applied_at INTEGER,
    PRIMARY KEY (pass_id, step)
) STRICT, WITHOUT ROWID;
CREATE INDEX learning_passes_open ON learning_passes (status) WHERE status = 'running';

-- How sure a fact was before a pass confirmed it, so that undoing the pass restores it.
CREATE TABLE learning_confirmations (
    pass_id      TEXT NOT NULL REFERENCES learning_passes (pass_id) ON DELETE CASCADE,
    knowledge_id TEXT NOT NULL,
    confidence   REAL NOT NULL,
    confirmed_at INTEGER NOT NULL,
    PRIMARY KEY (pass_id, knowledge_id)
) STRICT, WITHOUT ROWID;
