"""The Engine's key: one current, and those rotated away, each with a time to live.

The order of a rotated key's life (contract, section 19.12): valid for the overlap, then refused
as KEY_ROTATION_PENDING for as long again, then as unknown as any other.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final

from ..errors import SeptemberError
from .port import KeyState, RetiredKey


class Standing(Enum):
    """What a presented key is."""

    CURRENT = "current"
    OVERLAPPING = "overlapping"
    RETIRED = "retired"
    UNKNOWN = "unknown"


ADMITTED: Final = frozenset({Standing.CURRENT, Standing.OVERLAPPING})


class KeyRing:
    """Which keys open the Engine now. `clock` is in seconds since the epoch."""

    def __init__(self, state: KeyState, clock: Callable[[], float] = time.time) -> None:
        self._state = state
        self._clock = clock

    @classmethod
    def restore(
        cls,
        configured: str,
        saved: KeyState | None = None,
        clock: Callable[[], float] = time.time,
    ) -> "KeyRing":
        """The keys at boot: the saved ones, unless the environment's hash has changed since."""
        if saved is not None and saved.configured == configured:
            return cls(saved, clock)
        return cls(KeyState(configured=configured, current=configured), clock)

    def check(self, key: bytes) -> Standing:
        """Say what `key` is, in a time that does not depend on which hash it matches."""
        digest = hashlib.sha256(key).hexdigest()
        found = Standing.UNKNOWN
        for key_hash, standing in self._known():
            if hmac.compare_digest(digest, key_hash):
                found = standing
        return found

    def is_current(self, key_hash: str) -> bool:
        """Whether a rotation to this hash has been done already."""
        return hmac.compare_digest(key_hash, self._state.current)

    def rotated(self, key_hash: str, overlap: float) -> KeyState:
        """The keys after a rotation to `key_hash`; the ring keeps its own until `adopt`."""
        now = self._clock()
        outgoing = RetiredKey(self._state.current, now + overlap, now + 2 * overlap)
        alive = (key for key in self._state.retired if now < key.known_until)
        retired = tuple(key for key in (*alive, outgoing) if key.key_hash != key_hash)
        return KeyState(configured=self._state.configured, current=key_hash, retired=retired)

    def adopt(self, state: KeyState) -> None:
        """Use these keys from now on."""
        self._state = state

    def _known(self) -> Iterator[tuple[str, Standing]]:
        now = self._clock()
        for key in self._state.retired:
            if now < key.known_until:
                valid = now < key.valid_until
                yield key.key_hash, Standing.OVERLAPPING if valid else Standing.RETIRED
        yield self._state.current, Standing.CURRENT


def refusal(standing: Standing, *, given: bool) -> SeptemberError:
    """Why a request with such a key, or `given` none, is turned away."""
    if standing is Standing.RETIRED:
        return SeptemberError(
            "KEY_ROTATION_PENDING", "this key has been rotated; use the new key in X-Engine-Key"
        )
    missing = "the header X-Engine-Key is missing; send the Engine's key in it"
    wrong = "the key in X-Engine-Key is not this Engine's; send the right one"
    return SeptemberError("INVALID_KEY", wrong if given else missing)
