-- Connectors: which MCP servers are known, connected, and what they offer. Times are ms, UTC.

CREATE TABLE server_registry (
    server_name TEXT PRIMARY KEY,
    definition  TEXT NOT NULL,
    source      TEXT NOT NULL CHECK (source IN ('catalog', 'call')),
    updated_at  INTEGER NOT NULL
) STRICT;

-- `credentials` is Fernet text under AD_ENCRYPTION_KEY; `version` grows with every change to it,
-- and a change names the version it was made from (compare and swap).
CREATE TABLE connections (
    ref_id      TEXT PRIMARY KEY,
    server_name TEXT NOT NULL UNIQUE REFERENCES server_registry (server_name),
    status      TEXT NOT NULL CHECK (status IN ('pending_oauth', 'connected', 'expired')),
    scopes      TEXT NOT NULL DEFAULT '[]',
    expires_at  INTEGER,
    credentials BLOB,
    version     INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE action_registry (
    server_name  TEXT NOT NULL REFERENCES server_registry (server_name) ON DELETE CASCADE,
    action       TEXT NOT NULL,
    definition   TEXT NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (server_name, action)
) STRICT;

-- An authorization that waits for its callback. Only the hash of `state` is kept.
CREATE TABLE oauth_flows (
    state_hash TEXT PRIMARY KEY,
    ref_id     TEXT NOT NULL REFERENCES connections (ref_id) ON DELETE CASCADE,
    sealed     BLOB NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
