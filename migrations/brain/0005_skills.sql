-- Skills that the user made, and how often each skill, stock or custom, was run. Times are ms, UTC.

CREATE TABLE custom_skills (
    name         TEXT PRIMARY KEY,
    description  TEXT NOT NULL,
    category     TEXT NOT NULL,
    prompt       TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    scripts      TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE skill_runs (
    name     TEXT PRIMARY KEY,
    runs     INTEGER NOT NULL,
    failures INTEGER NOT NULL
) STRICT;
