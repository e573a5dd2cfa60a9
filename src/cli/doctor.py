"""`september doctor`: check that this machine can run an Engine."""

import sys
from collections.abc import Mapping
from functools import partial
from typing import Final

import click
from rich.text import Text

from .checks import CHECKS, Verdict, run
from .listing import Column, Listing
from .settings import written
from .terminal import show

_MARKS: Final[Mapping[Verdict, tuple[str, str]]] = {
    Verdict.OK: ("✓ ok", "green"),
    Verdict.LIMITED: ("! limited", "yellow"),
    Verdict.MISSING: ("✗ missing", "bold red"),
}


@click.command()
def command() -> None:
    """Check that this machine can run an Engine.

    What is `limited` can run without; what is `missing` cannot, and makes the exit code 1.
    """
    texts = written()
    findings = [(name, run(check, texts)) for name, check in CHECKS]
    fold = partial(Column, fold=True)
    rows = Listing("check", "", fold("found"), fold("what to do"))
    for name, finding in findings:
        rows.add_row(name, Text(*_MARKS[finding.verdict]), finding.found, finding.remedy)
    show(rows)
    if any(finding.verdict is Verdict.MISSING for _, finding in findings):
        sys.exit(1)
