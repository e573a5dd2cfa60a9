"""The figures of docs/performance.md, one script for each: `.venv/bin/python -m bench.NAME`."""
