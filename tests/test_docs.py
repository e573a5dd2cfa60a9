"""What the documents say is so: commands, paths, settings, events, endpoints, links."""

import os
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import get_args

import click
import pytest

from september.brain.channels.events import Event, EventBase
from september.cli.app import COMMANDS
from september.cli.demo import command as demo
from september.cli.docs import PAGES
from september.config import FLEET_SETTINGS, SETTINGS
from september.errors import FLEET_STATUS, STATUS
from september.http.app import ENDPOINTS
from september.http.orchestrator import app as orchestrator

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
PAGES_BY_HAND = [README, ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md", *DECISIONS]
EVERY_PAGE = [*PAGES_BY_HAND, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

SOURCE_ROOTS = [ROOT, ROOT / "src", ROOT / "src" / "brain", ROOT / "tests"]
"""Where a path in a document may start: `agent/turn.py` is short for `src/brain/agent/turn.py`."""

NOT_SETTINGS = {"ENGINE_URL", "ORCH_PLATFORM_KEY", "DOCKER_GID", "DOCKER_HOST"}
"""Variables of the command line's own, of compose.yaml, of Docker."""


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def code_in(text: str) -> list[str]:
    """Fenced blocks and `spans`."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    return blocks + re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


@cache
def constants() -> frozenset[str]:
    """Names in capitals that the source defines: a page may speak of those too."""
    texts = [file.read_text() for file in (ROOT / "src").rglob("*.py")]
    return frozenset(re.findall(r"^ *([A-Z]+(?:_[A-Z]+)+)\b *[:=]", "\n".join(texts), re.MULTILINE))


@pytest.mark.parametrize("page", EVERY_PAGE, ids=named)
def test_every_command_in_a_page_exists(page: Path) -> None:
    for code in code_in(page.read_text()):
        for name in re.findall(r"(?:^|[/\s])september ([a-z]\w*)", code):
            assert name in COMMANDS, f"september {name}"


def test_the_readme_has_every_command() -> None:
    table = re.findall(r"^\| `september (\w+)` \|", README.read_text(), re.MULTILINE)
    assert sorted(table) == sorted(COMMANDS)


@pytest.mark.parametrize(
    "script", ["run", "test", ".ci/run", ".dev/venv", ".dev/docker", ".dev/npm"]
)
def test_a_script_can_be_executed(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


def test_the_options_of_run_are_those_of_the_demonstration() -> None:
    options = {name for option in demo.params for name in option.opts}
    assert isinstance(demo, click.Command)
    assert set(re.findall(r"\(?(--\w+): leaves", README.read_text())) == {"--once"} <= options


@pytest.mark.parametrize("page", PAGES_BY_HAND, ids=named)
def test_every_path_in_a_page_exists(page: Path) -> None:
    for code in code_in(page.read_text()):
        for path in re.findall(r"^(?:[\w.]+/)+[\w.]*$|^\w+\.(?:py|toml|md)$", code):
            assert any((root / path).exists() for root in SOURCE_ROOTS), path


def test_the_where_is_table_names_only_what_exists() -> None:
    table = README.read_text().partition("## Where is …?")[2].partition("\n## ")[0]
    paths = re.findall(r"`([^`]+)`", table)
    assert len(paths) > 15
    for path in paths:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", EVERY_PAGE, ids=named)
def test_every_link_in_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", EVERY_PAGE, ids=named)
def test_every_setting_in_a_page_exists(page: Path) -> None:
    settings = {row.name for row in (*SETTINGS, *FLEET_SETTINGS)}
    known = settings | STATUS.keys() | FLEET_STATUS.keys() | NOT_SETTINGS | constants()
    for code in code_in(page.read_text()):
        for name in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", code):
            assert name in known, name


@pytest.mark.parametrize("page", EVERY_PAGE, ids=named)
def test_every_endpoint_in_a_page_exists(page: Path) -> None:
    known = {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    known |= {(endpoint.method, endpoint.path) for endpoint in orchestrator.ENDPOINTS}
    for code in code_in(page.read_text()):
        for method, path in re.findall(r"\b(GET|POST|PUT|DELETE) (/[\w/{}-]*)", code):
            assert (method, path) in known, f"{method} {path}"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_made_from_the_code_is_what_the_code_makes_now(name: str) -> None:
    kept = (ROOT / "docs" / f"{name}.md").read_text()
    assert kept == PAGES[name](), f"september docs {name} > docs/{name}.md"


def test_the_protocol_page_has_every_event_and_every_field() -> None:
    head, _, page = (ROOT / "docs" / "protocol.md").read_text().partition("## Events")
    shared = EventBase.__struct_fields__
    assert all(f"field: `{name}`" in head for name in shared)
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", page, re.DOTALL | re.MULTILINE))
    assert list(sections) == [event.type for event in get_args(Event)]
    for event in get_args(Event):
        fields = re.findall(r"^\| `(\w+)` \|", sections[event.type], re.MULTILINE)
        assert fields == [name for name in event.__struct_fields__ if name not in shared]


def test_the_protocol_page_has_every_error_code() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text().partition("## Errors")[2]
    assert re.findall(r"^\| `(\w+)` \| \d+ \|", page, re.MULTILINE) == list(STATUS)


def test_a_reader_of_the_readme_sees_something_run_by_line_45() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) <= 120
    assert next(n for n, line in enumerate(lines, 1) if line.startswith("id: ")) <= 45


def test_decisions_are_numbered_without_a_gap_and_fit_on_half_a_page() -> None:
    numbers = [int(page.name[:4]) for page in DECISIONS]
    assert numbers[0] == 1
    assert all(after == before + 1 for before, after in pairwise(numbers))
    for page in DECISIONS:
        assert len(page.read_text().splitlines()) <= 45, page.name


@pytest.mark.parametrize("folder", ["brain", "fleet"])
def test_migrations_are_numbered_without_a_gap(folder: str) -> None:
    """An Engine refuses to start otherwise; here it is told before anything is merged."""
    files = sorted((ROOT / "migrations" / folder).glob("*.sql"))
    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
