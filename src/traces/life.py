"""What is recorded of one life of an actor: enough to live it again."""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from .row import TraceRow

UNFINISHED: Final = "unfinished"
"""Outcome of a message that was still at work when the record was taken."""

_OWN: Final = frozenset({"Started", "Stopping", "Beside"})


class Life(Struct, frozen=True, kw_only=True):
    """One incarnation of the actor at `path`, up to the span `at` if there is one.

    `taken` are the messages that it took, its start and its work beside the inbox among them,
    oldest first. `sent` are those that it sent, as others handled them, and the spans of work in
    between. `births` are spawns and stops of whoever else lived then. `lost` observations of that
    time could not be kept.
    """

    path: str
    incarnation: int
    at: str | None = None
    taken: Sequence[TraceRow] = ()
    sent: Sequence[TraceRow] = ()
    births: Sequence[TraceRow] = ()
    lost: int = 0

    @property
    def target(self) -> TraceRow | None:
        """The message that `at` names."""
        return next((row for row in self.taken if self.at and row.span_id == self.at), None)

    @property
    def mailbox(self) -> list[TraceRow]:
        """The messages that others, or itself, sent to it."""
        return [row for row in self.taken if row.message_type not in _OWN]

    def own(self, kind: str) -> list[TraceRow]:
        """The rows that stand for its start, its end or its own work."""
        return [row for row in self.taken if row.message_type == kind]

    def calls(self) -> dict[str, list[TraceRow]]:
        """What was sent while each message was handled, by that message's span, in order."""
        owners = {row.span_id: row.span_id for row in self.taken}
        parents = {row.span_id: row.parent_id for row in self.sent if row.kind == "span"}
        found: dict[str, list[TraceRow]] = {span: [] for span in owners}
        told = [row for row in (*self.sent, *self.mailbox) if row.kind != "span"]
        for row in sorted(told, key=lambda one: one.at - one.wait_us):
            owner = next((one for one in _above(row.parent_id, parents) if one in owners), None)
            if owner is not None:
                found[owner].append(row)
        return found


def _above(span: str, parents: dict[str, str]) -> Iterator[str]:
    while span:
        yield span
        span = parents.get(span, "")
