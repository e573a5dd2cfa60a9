"""`september docs`: reference pages made from the code, so that they cannot differ from it."""

from collections.abc import Callable, Mapping
from typing import Final

import click

from .protocol_page import protocol_page
from .settings_page import settings_page

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "protocol": protocol_page,
    "settings": settings_page,
}
"""Each page is kept as docs/<name>.md; a test compares the two."""


@click.command()
@click.argument("page", type=click.Choice(list(PAGES)))
def command(page: str) -> None:
    """Print the reference pages that come from the code.

    They are kept in docs/; after a change: september docs protocol > docs/protocol.md
    """
    click.echo(PAGES[page](), nl=False)
