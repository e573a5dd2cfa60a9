"""`september chat`: a terminal client of a running Engine."""

import secrets
import sys
from dataclasses import dataclass
from typing import Final

import click
import trio

from ..errors import SeptemberError
from .chat_turn import ChatTurn, Outcome
from .keyboard import Keyboard
from .screen import NdjsonScreen, Screen, TerminalScreen
from .sse_client import NewTurn, TurnToFollow, connected

DEFAULT_URL: Final = "http://127.0.0.1:8000"


@click.command()
@click.option("--url", envvar="ENGINE_URL", default=DEFAULT_URL, show_default=True)
@click.option("--key", envvar="ENGINE_API_KEY", help="The Engine's key [ENGINE_API_KEY].")
@click.option("--task", help="The conversation to go on with; a new one if left out.")
@click.option("--agent", help="An agent of the catalog; the assistant if left out.")
@click.option("--once", metavar="MESSAGE", help="Run one turn; exit 1 unless it completes.")
@click.option("--json", "as_json", is_flag=True, help="Print the events as NDJSON.")
def command(
    url: str, key: str | None, task: str | None, agent: str | None, once: str | None, as_json: bool
) -> None:
    """Talk to a running Engine.

    Ctrl-C cancels the turn that runs, a second one leaves; Ctrl-D at the prompt leaves too. A
    stream that breaks is taken up again without losing an event.
    """
    if not key:
        raise click.UsageError("no key; set ENGINE_API_KEY or give --key")
    task_id = task or f"chat-{secrets.token_hex(4)}"
    screen = NdjsonScreen() if as_json else TerminalScreen()
    chat = Chat(url, key, screen, Keyboard())
    if once is not None:
        sys.exit(0 if chat.turn(NewTurn(task_id, once, agent)) is Outcome.COMPLETED else 1)
    if task is not None:
        chat.finish_waiting_turn(task)
    chat.converse(task_id, agent)


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation with one Engine at the terminal."""

    url: str
    key: str
    screen: Screen
    keyboard: Keyboard

    def converse(self, task_id: str, agent: str | None) -> None:
        """Read messages and run their turns until the person leaves."""
        self.screen.note(f"task {task_id} at {self.url}; Ctrl-D leaves")
        while (message := self.keyboard.prompt("> ")) is not None:
            if message.strip() and not self._try(NewTurn(task_id, message, agent)):
                break

    def finish_waiting_turn(self, task_id: str) -> None:
        """If the task waits for an answer, show its question and go on from there."""
        waiting = trio.run(self._waiting, task_id)
        if waiting is not None:
            self._try(waiting)

    def turn(self, turn: TurnToFollow) -> Outcome:
        """Show one turn. Raises SeptemberError if the Engine refuses it or is gone."""
        return trio.run(self.play, turn)

    async def play(self, turn: TurnToFollow) -> Outcome:
        """The same, inside trio."""
        self.screen.begin()
        async with connected(self.url, self.key, self._on_cut) as client:
            return await ChatTurn(client, self.keyboard, self.screen).run(turn)

    async def _waiting(self, task_id: str) -> TurnToFollow | None:
        async with connected(self.url, self.key, self._on_cut) as client:
            return await client.waiting(task_id)

    def _try(self, turn: TurnToFollow) -> bool:
        """Run a turn; whether to go on. What is wrong with a turn does not end the chat."""
        try:
            return self.turn(turn) is not Outcome.LEFT
        except SeptemberError as error:
            click.echo(f"september: {error.message}", err=True)
            return True

    def _on_cut(self, reason: str) -> None:
        self.screen.note(f"{reason}; reconnecting")
