"""Assertions of the helpers explain themselves; figures that tests measured are printed last."""

import sys

import pytest

from tests.brain.assets.conftest import npm_modules as npm_modules
from tests.brain.assets.conftest import npm_server as npm_server

from .figures import FIGURES

for helper in ("brain", "client", "crash", "harness", "served", "stage", "waiting", "wire"):
    if f"tests.e2e.{helper}" not in sys.modules:  # another suite may have borrowed it already
        pytest.register_assert_rewrite(f"tests.e2e.{helper}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    for name, value in FIGURES.items():
        terminalreporter.write_line(f"{name}: {value}")
