"""What a peer shall answer: one list of steps per request, the same for every provider.

    Script([Think("hm"), Call("clock", {})], RateLimit(retry_after=0.1), Say("It is noon."))

answers the first request with a thought and a tool call, the second with 429, the third with
text. Steps are plain data, so a script travels to a peer in another process as JSON.
"""

from collections.abc import Sequence
from typing import TypeAlias, cast

import msgspec
from msgspec import Struct


class Part(Struct, frozen=True):
    """Anything a reply is made of."""


# --- content ----------------------------------------------------------------------------------


class Say(Part, frozen=True, tag=True, omit_defaults=True):
    """Text, sent in pieces of `size` characters with `every` seconds between them."""

    text: str
    size: int = 8
    every: float = 0.0


class Find(Part, frozen=True, tag=True, omit_defaults=True):
    """Text that only what the request shows can give: the last match of `pattern` in it.

    Its first group, or `otherwise`: a model that answers from its context and from nothing else.
    """

    pattern: str
    otherwise: str = "I do not know."


class Think(Part, frozen=True, tag=True, omit_defaults=True):
    """Thinking, signed by the peer where the provider signs; `redacted` hides it (Anthropic)."""

    text: str
    redacted: bool = False
    size: int = 8
    every: float = 0.0


class Call(Part, frozen=True, tag=True, omit_defaults=True):
    """A tool call. `raw` replaces the arguments' JSON text; `id` is made up when empty.

    A provider whose arguments are no text (Gemini) answers `raw` as its service does: it ends
    the message with MALFORMED_FUNCTION_CALL.
    """

    tool: str
    input: dict[str, object] = {}
    id: str = ""
    raw: str | None = None
    size: int = 8


class Pause(Part, frozen=True, tag=True):
    """Silence of `seconds` before the next step."""

    seconds: float


class Wait(Part, frozen=True, tag=True):
    """Silence until the test calls `peer.release(gate)`."""

    gate: str


# --- how the message ends ---------------------------------------------------------------------


class Stop(Part, frozen=True, tag=True):
    """Why the message ends: `max_tokens` or `refusal`; without it, what the content implies."""

    reason: str


class Usage(Part, frozen=True, tag=True, omit_defaults=True):
    """Token counts in our terms (input holds the cached); without it the peer counts itself."""

    input: int
    output: int
    hit: int = 0
    written: int = 0


# --- how the stream breaks ----------------------------------------------------------------------


class Cut(Part, frozen=True, tag=True, omit_defaults=True):
    """The connection breaks after `after` events (None: after the content before this step).

    It closes within a chunk, or with `reset` by RST.
    """

    after: int | None = None
    reset: bool = False


class End(Part, frozen=True, tag=True, omit_defaults=True):
    """The stream ends cleanly after `after` events, without its finish event."""

    after: int | None = None


class Stall(Part, frozen=True, tag=True, omit_defaults=True):
    """The stream falls silent after `after` events, until the client leaves."""

    after: int | None = None


class Fail(Part, frozen=True, tag=True, omit_defaults=True):
    """An error event within the stream (status 200): `overloaded`, `rate_limit` or `server`."""

    kind: str = "overloaded"
    after: int | None = None


# --- refusals instead of a stream -----------------------------------------------------------------


class RateLimit(Part, frozen=True, tag=True, omit_defaults=True):
    """429. `form` is how the wait is told: `seconds`, `ms`, `date`, `body` (Gemini) or `none`."""

    retry_after: float = 0.1
    form: str = "seconds"


class Overloaded(Part, frozen=True, tag=True):
    """529 at Anthropic, 503 elsewhere."""


class ContextOverflow(Part, frozen=True, tag=True):
    """400, in each provider's words for a prompt that does not fit."""


class Status(Part, frozen=True, tag=True, omit_defaults=True):
    """Any other HTTP error, in the provider's envelope; `code` is OpenAI's name for it."""

    status: int
    message: str = "scripted"
    code: str = ""


class Page(Part, frozen=True, tag=True, omit_defaults=True):
    """An HTTP error from a proxy in front of the service: no envelope, an HTML page."""

    status: int
    text: str = "<html><body>Bad gateway</body></html>"


class HangUp(Part, frozen=True, tag=True):
    """The connection breaks before any answer."""


Content: TypeAlias = Say | Find | Think | Call | Pause | Wait
Ending: TypeAlias = Cut | End | Stall | Fail
Refusal: TypeAlias = RateLimit | Overloaded | ContextOverflow | Status | Page | HangUp
Step: TypeAlias = Content | Stop | Usage | Ending | Refusal
Reply: TypeAlias = Sequence[Step]


class Script(Struct, frozen=True):
    """Replies in the order of the requests.

    After the last one every request is refused (400), or with `repeat` gets the last one again.
    `chunk` bounds the bytes of one HTTP chunk: a small one splits characters and events. A request
    of more than `window` tokens (0: any) overflows and leaves its reply to the next one.
    """

    replies: tuple[tuple[Step, ...], ...]
    repeat: bool = False
    chunk: int = 0
    window: int = 0

    def reply(self, number: int) -> Reply | None:
        """The reply to request `number`, from 0; None past the end."""
        if number < len(self.replies):
            return self.replies[number]
        return self.replies[-1] if self.repeat and self.replies else None


def script(
    *replies: Part | Sequence[Part], repeat: bool = False, chunk: int = 0, window: int = 0
) -> Script:
    """A script of these replies; a reply of one step needs no list."""
    whole = tuple((reply,) if isinstance(reply, Part) else tuple(reply) for reply in replies)
    return Script(cast("tuple[tuple[Step, ...], ...]", whole), repeat, chunk, window)


def dumps(whole: Script) -> bytes:
    """A script as JSON."""
    return msgspec.json.encode(whole)


def loads(text: bytes) -> Script:
    """A script from JSON; raises `msgspec.ValidationError` for an unknown step."""
    return msgspec.json.decode(text, type=Script)
