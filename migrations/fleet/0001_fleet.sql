-- The fleet: who may ask for Engines, which Engines there are, and what was done to them.

CREATE TABLE fleet (
    only_one   BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_one),
    id         UUID NOT NULL DEFAULT gen_random_uuid(),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

INSERT INTO fleet DEFAULT VALUES;

CREATE TABLE products (
    id           UUID PRIMARY KEY,
    slug         TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    api_key_hash TEXT NOT NULL UNIQUE,
    policy       JSONB NOT NULL DEFAULT '{}',
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- `generation` fences: every claim raises it, and every later change names the one it was given.
-- `operation` is the intent, written before the backend is touched; whoever finds it with no
-- living claimant carries it on. `claimed_by` is the number of an orchestrator, alive as long as
-- it holds the advisory lock of that number.
CREATE TABLE engines (
    id                   UUID PRIMARY KEY,
    product_id           UUID NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    user_id              TEXT NOT NULL,
    status               TEXT NOT NULL CHECK (
        status IN ('provisioning', 'running', 'sleeping', 'stopped', 'failed', 'destroying')
    ),
    generation           BIGINT NOT NULL DEFAULT 1,
    operation            TEXT,
    operation_by         TEXT,
    operation_started_at TIMESTAMPTZ,
    claimed_by           INTEGER,
    image                TEXT NOT NULL,
    next_image           TEXT,
    snapshot             TEXT,
    url                  TEXT,
    container_id         TEXT,
    engine_key_hash      TEXT NOT NULL,
    engine_key_enc       TEXT NOT NULL,
    next_key_hash        TEXT,
    next_key_enc         TEXT,
    health_failures      INTEGER NOT NULL DEFAULT 0,
    last_health_at       TIMESTAMPTZ,
    last_used_at         TIMESTAMPTZ NOT NULL DEFAULT now(),
    next_wake_at         TIMESTAMPTZ,
    restart_attempts     INTEGER NOT NULL DEFAULT 0,
    next_restart_at      TIMESTAMPTZ,
    running_since        TIMESTAMPTZ,
    boot_duration_ms     INTEGER,
    failure              TEXT,
    created_at           TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (product_id, user_id)
);

CREATE INDEX idx_engines_status ON engines (status);
CREATE INDEX idx_engines_operation ON engines (operation) WHERE operation IS NOT NULL;

CREATE TABLE port_allocations (
    port         INTEGER PRIMARY KEY,
    engine_id    UUID NOT NULL UNIQUE REFERENCES engines (id) ON DELETE CASCADE,
    allocated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE audit_log (
    id          BIGSERIAL PRIMARY KEY,
    timestamp   TIMESTAMPTZ NOT NULL DEFAULT now(),
    product_id  UUID,
    user_id     TEXT,
    engine_id   UUID,
    action      TEXT NOT NULL,
    actor       TEXT NOT NULL DEFAULT 'system',
    metadata    JSONB NOT NULL DEFAULT '{}',
    duration_ms INTEGER
);

CREATE INDEX idx_audit_log_timestamp ON audit_log (timestamp);
CREATE INDEX idx_audit_log_action ON audit_log (action);

-- The numbers of orchestrators: each one that starts takes the next.
CREATE SEQUENCE orchestrator_numbers AS INTEGER CYCLE;
