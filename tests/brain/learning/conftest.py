"""A mind to learn in."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.brain.memory.conftest import Mind, mind_in


@pytest.fixture
async def mind(tmp_path: Path) -> AsyncGenerator[Mind]:
    async with mind_in(tmp_path / "brain.sqlite") as made:
        yield made
