"""One Engine for all tests of a module, and the command line as a function."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from .engines import SEPTEMBER, RunningEngine, clean_environment, running_engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with running_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL can reach, who is nobody where we are root: pytest's are closed."""
    with tempfile.TemporaryDirectory(prefix="open-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


class Run(Protocol):
    """Runs `september` with these arguments, in a folder of its own."""

    def __call__(
        self, *arguments: str, stdin: str = "", **settings: str
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def september(
        *arguments: str, stdin: str = "", **settings: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SEPTEMBER, *arguments],
            cwd=tmp_path,
            env=clean_environment(**settings),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return september
