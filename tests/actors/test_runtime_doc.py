"""docs/runtime.md: every test it names as a proof exists."""

import re
from pathlib import Path

HERE = Path(__file__).parent
DOC = HERE.parents[1] / "docs" / "runtime.md"


def test_every_proof_the_document_names_is_a_test() -> None:
    tests = set(
        re.findall(r"def test_(\w+)", "".join(file.read_text() for file in HERE.glob("test_*.py")))
    )
    named = re.findall(r"`([a-z]+(?:_[a-z0-9]+){3,}_?…?)`", DOC.read_text())
    assert len(named) > 30
    for name in named:
        stem = name.rstrip("…")
        assert name in tests or (stem != name and any(one.startswith(stem) for one in tests)), name
