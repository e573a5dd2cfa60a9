"""`september keys`: make an Engine key, or hash one."""

import secrets
import sys
from typing import Final

import click

from ..config import Secret, hash_of

_KEY_BYTES: Final = 32


@click.group()
def command() -> None:
    """Make and hash Engine keys.

    A client sends the key in X-Engine-Key; the Engine needs only the key's SHA-256.
    """


@command.command()
def new() -> None:
    """Make a random key and its hash, as two lines of NAME=value."""
    key = Secret(secrets.token_urlsafe(_KEY_BYTES))
    click.echo("The key is for the client; give the Engine only the hash.", err=True)
    click.echo(f"ENGINE_API_KEY={key.reveal()}")
    click.echo(f"ENGINE_KEY_HASH={hash_of(key).reveal()}")


@command.command(name="hash")
@click.argument("key", required=False)
def hash_key(key: str | None) -> None:
    """Print the SHA-256 of KEY, for ENGINE_KEY_HASH.

    Without KEY it is read from standard input, so that it stays out of the shell's history.
    """
    text = key or _ask()
    if not text:
        raise click.UsageError("the key is empty; give it as an argument or on standard input")
    click.echo(hash_of(Secret(text)).reveal())


def _ask() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Key", hide_input=True, err=True))
    return sys.stdin.readline().strip()
