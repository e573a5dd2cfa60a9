"""What holds for the whole suite: no trace that any test has left may have a gap."""

from collections.abc import Iterator

import pytest

from tests.lineage import Lineage

LINEAGE = Lineage()


@pytest.fixture(scope="session", autouse=True)
def no_parent_is_missing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Check every brain of the run when it is over."""
    yield
    LINEAGE.check(tmp_path_factory.getbasetemp())
    assert not LINEAGE.dangling, "\n".join(LINEAGE.dangling[:40])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was looked at."""
    if LINEAGE.brains:
        terminalreporter.write_line(LINEAGE.told)
