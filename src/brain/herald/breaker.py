"""Circuit breaker: stops calling a provider that keeps failing, and finds out when it is back."""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from msgspec import Struct


class BreakerState(Enum):
    """CLOSED lets calls through, OPEN refuses them, HALF_OPEN lets one through as a probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Signal(Enum):
    """What moves a breaker. TRIPPED is the failure that reaches the threshold."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TRIPPED = "tripped"
    COOLED = "cooled"


MOVES: Final[Mapping[tuple[BreakerState, Signal], BreakerState]] = {
    (BreakerState.CLOSED, Signal.SUCCEEDED): BreakerState.CLOSED,
    (BreakerState.CLOSED, Signal.FAILED): BreakerState.CLOSED,
    (BreakerState.CLOSED, Signal.TRIPPED): BreakerState.OPEN,
    (BreakerState.OPEN, Signal.SUCCEEDED): BreakerState.OPEN,
    (BreakerState.OPEN, Signal.FAILED): BreakerState.OPEN,
    (BreakerState.OPEN, Signal.COOLED): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, Signal.SUCCEEDED): BreakerState.CLOSED,
    (BreakerState.HALF_OPEN, Signal.FAILED): BreakerState.OPEN,
}
"""Every move there is. Calls begun before the breaker opened cannot move an OPEN one."""


class BreakerPolicy(Struct, frozen=True):
    """`threshold` failures in a row open the breaker; it cools for `cool_s` seconds."""

    threshold: int = 5
    cool_s: float = 15.0


class Breaker:
    """One provider's breaker. Times are seconds of one monotonic clock, passed in."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._state = BreakerState.CLOSED
        self._failures = 0
        self._cool_until = 0.0
        self._probe: str | None = None

    @property
    def state(self) -> BreakerState:
        """Where it stands; OPEN until the first `admit` after cooling."""
        return self._state

    def admit(self, ticket: str, now: float) -> float | None:
        """Let call `ticket` through (None), or say in how many seconds to ask again."""
        if self._state is BreakerState.OPEN and now >= self._cool_until:
            self._move(Signal.COOLED)
        if self._state is BreakerState.CLOSED:
            return None
        if self._state is BreakerState.OPEN:
            return self._cool_until - now
        if self._probe is None:
            self._probe = ticket
        return None if self._probe == ticket else self._policy.cool_s

    def succeeded(self, ticket: str) -> None:
        """Call `ticket` reached the provider and got an answer."""
        if self._counts(ticket):
            self._failures = 0
            self._probe = None
            self._move(Signal.SUCCEEDED)

    def failed(self, ticket: str, now: float) -> None:
        """Call `ticket` found the provider down, overloaded or silent."""
        if not self._counts(ticket):
            return
        self._failures += 1
        self._probe = None
        tripped = self._state is BreakerState.CLOSED and self._failures >= self._policy.threshold
        before = self._state
        self._move(Signal.TRIPPED if tripped else Signal.FAILED)
        if self._state is BreakerState.OPEN and before is not BreakerState.OPEN:
            self._cool_until = now + self._policy.cool_s

    def abandoned(self, ticket: str) -> None:
        """Call `ticket` ended without saying anything about the provider: it was cancelled."""
        if self._probe == ticket:
            self._probe = None

    def _counts(self, ticket: str) -> bool:
        """While half open only the probe speaks."""
        return self._state is not BreakerState.HALF_OPEN or ticket == self._probe

    def _move(self, signal: Signal) -> None:
        self._state = MOVES[self._state, signal]
