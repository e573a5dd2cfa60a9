"""One provider's gatekeeper: owns its client, and lets model calls through one permit at a time.

The stream itself runs in the caller's task, so that cancelling a turn closes its socket at once;
what turns share (client, circuit breaker, concurrency limit, the pause after a 429) is here.
"""

from collections.abc import Callable
from typing import TypeAlias, assert_never

import trio
from msgspec import Struct, field

from ...actors import Actor, Later, Message, Reply
from .breaker import Breaker, BreakerPolicy, BreakerState
from .provider import Fault, Provider


class ProviderLimits(Struct, frozen=True):
    """Calls at once, and in seconds the pause after a 429 without Retry-After and the longest.

    A longer Retry-After is not obeyed by everybody in advance: after `longest_pause_s` one more
    call finds out whether the limit still holds.
    """

    concurrency: int = 8
    pause_s: float = 1.0
    longest_pause_s: float = 60.0
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)


class Permit(Struct, frozen=True):
    """The call may go ahead with this client; `Finish` gives the permit back."""

    provider: Provider


class Refusal(Struct, frozen=True):
    """The call would fail now. RATE_LIMITED is a pause, UNAVAILABLE an open breaker."""

    fault: Fault
    retry_after: float


class Succeeded(Struct, frozen=True):
    """The stream reached its end."""


class Failed(Struct, frozen=True):
    """The call failed; `retry_after` is the provider's wish in seconds."""

    fault: Fault
    retry_after: float | None = None


class Abandoned(Struct, frozen=True):
    """The caller left: it was cancelled, or had enough. Says nothing about the provider."""


Outcome: TypeAlias = Succeeded | Failed | Abandoned


class ProviderStatus(Struct, frozen=True):
    """Where a provider stands; `paused_s` is what is left of the pause after a 429."""

    name: str
    in_flight: int
    waiting: int
    breaker: BreakerState
    paused_s: float


class Acquire(Message[Permit | Refusal], Struct, frozen=True):
    """Ask to make a call; waits in line while too many run. `ticket` is the caller's own id."""

    ticket: str


class Finish(Message[None], Struct, frozen=True):
    """Give a permit back, or leave the line. Sent for every ticket, whatever became of it."""

    ticket: str
    outcome: Outcome


class Inspect(Message[ProviderStatus], Struct, frozen=True):
    """Ask where the provider stands."""


ProviderMessage: TypeAlias = Acquire | Finish | Inspect


class _Waiter:
    """A place in the line."""

    def __init__(self) -> None:
        self._called = trio.Event()
        self._answer: Permit | Refusal | None = None

    def answer(self, answer: Permit | Refusal) -> None:
        self._answer = answer
        self._called.set()

    async def wait(self) -> Permit | Refusal:
        await self._called.wait()
        assert self._answer is not None
        return self._answer


class ProviderActor(Actor[ProviderMessage]):
    """Keeps one provider's calls within its limits. The client is made by the first call."""

    replayable = True

    def __init__(
        self, name: str, make: Callable[[], Provider], limits: ProviderLimits | None = None
    ) -> None:
        self._name = name
        self._make = make
        self._limits = limits or ProviderLimits()
        self._breaker = Breaker(self._limits.breaker)
        self._provider: Provider | None = None
        self._running: set[str] = set()
        self._line: dict[str, _Waiter] = {}
        self._paused_until = 0.0

    async def stopping(self) -> None:
        """Close the client and with it every connection."""
        if self._provider is not None:
            await self._provider.aclose()

    async def handle(self, msg: ProviderMessage) -> Reply | Later:
        match msg:
            case Acquire(ticket):
                answer = self._admit(ticket)
                if answer is not None:
                    return msg.reply(answer)
                waiter = self._line[ticket] = _Waiter()
                return msg.reply_after(waiter.wait)
            case Finish(ticket, outcome):
                self._finish(ticket, outcome)
                self._serve_line()
                return msg.done()
            case Inspect():
                return msg.reply(self._status())
            case _:
                assert_never(msg)

    def _admit(self, ticket: str) -> Permit | Refusal | None:
        """A permit, a refusal, or None: wait in line."""
        now = trio.current_time()
        if now < self._paused_until:
            return Refusal(Fault.RATE_LIMITED, self._paused_until - now)
        wait_s = self._breaker.admit(ticket, now)
        if wait_s is not None:
            return Refusal(Fault.UNAVAILABLE, wait_s)
        if len(self._running) >= self._limits.concurrency and ticket not in self._running:
            return None
        self._running.add(ticket)
        return Permit(self._client())

    def _client(self) -> Provider:
        if self._provider is None:
            self._provider = self._make()
        return self._provider

    def _finish(self, ticket: str, outcome: Outcome) -> None:
        """Note how a call ended. A ticket of an earlier incarnation is unknown and says nothing."""
        known = ticket in self._running
        self._running.discard(ticket)
        self._line.pop(ticket, None)
        now = trio.current_time()
        match outcome:
            case Failed(Fault.RATE_LIMITED, retry_after) if known:
                pause_s = self._limits.pause_s if retry_after is None else retry_after
                self._pause(now + min(pause_s, self._limits.longest_pause_s))
                self._breaker.abandoned(ticket)
            case Failed(fault) if known and fault.retryable:
                self._breaker.failed(ticket, now)
            case Failed() | Succeeded() if known:
                self._breaker.succeeded(ticket)
            case _:
                self._breaker.abandoned(ticket)

    def _pause(self, until: float) -> None:
        self._paused_until = max(self._paused_until, until)

    def _serve_line(self) -> None:
        for ticket, waiter in list(self._line.items()):
            answer = self._admit(ticket)
            if answer is None:
                return
            del self._line[ticket]
            waiter.answer(answer)

    def _status(self) -> ProviderStatus:
        paused_s = max(0.0, self._paused_until - trio.current_time())
        running, waiting = len(self._running), len(self._line)
        return ProviderStatus(self._name, running, waiting, self._breaker.state, paused_s)
