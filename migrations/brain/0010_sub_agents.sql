-- Sub-agents: a conversation and a turn of their own inside the turn that called them.
-- `nested_path` are the ids of the tool calls that lead to it, outermost first, joined by '/'.

ALTER TABLE conversations ADD COLUMN parent_task_id TEXT
    REFERENCES conversations (task_id) ON DELETE CASCADE;
CREATE INDEX conversations_parent ON conversations (parent_task_id)
    WHERE parent_task_id IS NOT NULL;

ALTER TABLE turns ADD COLUMN parent_turn_id TEXT REFERENCES turns (turn_id) ON DELETE CASCADE;
ALTER TABLE turns ADD COLUMN nested_path TEXT;
CREATE INDEX turns_parent ON turns (parent_turn_id) WHERE parent_turn_id IS NOT NULL;
