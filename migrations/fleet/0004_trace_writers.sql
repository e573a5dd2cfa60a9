-- Which processes write traces here. A span's id begins with its process, so that the spans which a
-- process that died left open can be told from those of one that lives (fleet/trace_writers.py).

CREATE TABLE trace_writers (
    span_prefix  TEXT NOT NULL,
    orchestrator INTEGER NOT NULL,
    PRIMARY KEY (span_prefix, orchestrator)
);
