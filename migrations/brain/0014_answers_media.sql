-- Media that came with a person's answer, or from a tool: content blocks as JSON, naming the media
-- by id; NULL where there is none.
ALTER TABLE hitl_requests ADD COLUMN media TEXT;
ALTER TABLE tool_calls ADD COLUMN media TEXT;
