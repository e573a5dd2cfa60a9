"""Where a turn is shown: to a person on a terminal, or to a program as NDJSON."""

import json
from typing import Protocol

from rich.console import Console

from .render import Renderer
from .sse_client import Received
from .terminal import console


class Screen(Protocol):
    """Shows turns, one after the other."""

    def begin(self) -> None:
        """A turn begins."""
        ...

    def show(self, received: Received) -> None:
        """An event of the turn."""
        ...

    def note(self, text: str) -> None:
        """A remark of this client, which is no event."""
        ...


class TerminalScreen:
    """Renders events on stdout; remarks go to stderr."""

    def __init__(self, out: Console | None = None, err: Console | None = None) -> None:
        self._out = out or console()
        self._err = err or console(stderr=True)
        self._renderer = Renderer(self._out)

    def begin(self) -> None:
        """Start with an empty tally."""
        self._renderer = Renderer(self._out)

    def show(self, received: Received) -> None:
        """Render the event, if this client knows it."""
        if received.event is not None:
            self._renderer.show(received.event)

    def note(self, text: str) -> None:
        """Print a remark on a line of its own."""
        self._renderer.end_line()
        self._err.print(f"[{text}]", style="yellow", soft_wrap=True)


class NdjsonScreen:
    """Prints each event as one line of JSON: id, event, data."""

    def begin(self) -> None:
        """Nothing: a reader sees the turn's own events."""

    def show(self, received: Received) -> None:
        """Print the event with its data exactly as it came."""
        name = json.dumps(received.name)
        print(f'{{"id":{received.id},"event":{name},"data":{received.data}}}', flush=True)

    def note(self, text: str) -> None:
        """Print a remark on stderr, as JSON too."""
        console(stderr=True).print(json.dumps({"note": text}), soft_wrap=True)
