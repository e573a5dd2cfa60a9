"""The `september` command itself: its help, its speed, its exit codes."""

import sys
import time
from importlib import import_module
from subprocess import run as run_process

import click
import pytest

from september.cli.app import COMMANDS

from .conftest import Run


def test_help_names_every_command(run: Run) -> None:
    done = run("--help")
    assert done.returncode == 0
    for name, summary in COMMANDS.items():
        assert name in done.stdout
        assert summary in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_in_the_table_is_that_of_the_command(name: str) -> None:
    command = import_module(f"september.cli.{name}").command
    assert isinstance(command, click.Command)
    assert (command.help or "").partition("\n\n")[0].replace("\n", " ") == COMMANDS[name]


def test_help_imports_no_command_and_no_heavy_library() -> None:
    heavy = "['trio', 'rich', 'httpx2', 'apsw', 'msgspec', 'quart']"
    code = (
        "import sys\nfrom september.cli import main\nsys.argv = ['september', '--help']\n"
        f"try: main()\nexcept SystemExit: print([m for m in {heavy} if m in sys.modules])"
    )
    done = run_process([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_takes_less_than_300_ms(run: Run) -> None:
    def once() -> float:
        began = time.perf_counter()
        run("--help")
        return time.perf_counter() - began

    assert min(once() for _ in range(5)) < 0.3


def test_an_unknown_command_is_a_usage_error(run: Run) -> None:
    done = run("enigne")
    assert done.returncode == 2
    assert "No such command 'enigne'" in done.stderr


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version").stdout.startswith("september, version 0.")
