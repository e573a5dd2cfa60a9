"""`september migrate`: bring a brain up to date by hand."""

import sys
from pathlib import Path

import click

from ..brain.store.migrate import Migration, apply, pending
from .settings import Texts, written


@click.command()
@click.option("--brain", type=click.Path(path_type=Path), help="The brain [SQLITE_DB_PATH].")
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if a migration is pending.")
def command(brain: Path | None, check: bool) -> None:
    """Bring a brain up to date.

    Stop the Engine and make a backup first. An Engine does this itself when it starts, unless
    MIGRATIONS=gate.
    """
    texts = written()
    path = brain.absolute() if brain else _path(texts)
    folder = texts.path("MIGRATIONS_DIR")
    if check:
        _report(path, pending(path, folder))
    elif apply(path, _tell, folder):
        click.echo(f"{path} is up to date.")
    else:
        click.echo(f"{path} was up to date already.")


def _path(texts: Texts) -> Path:
    path = texts.path("SQLITE_DB_PATH")
    assert path is not None, "SQLITE_DB_PATH has a default"
    return path


def _tell(migration: Migration, number: int, of: int) -> None:
    click.echo(f"{number} of {of}: {migration}")


def _report(path: Path, todo: tuple[Migration, ...]) -> None:
    if not todo:
        click.echo(f"{path} is up to date.")
        return
    for migration in todo:
        click.echo(str(migration))
    click.echo(f"{path} needs {len(todo)}; apply with: september migrate --brain {path}", err=True)
    sys.exit(1)
