"""What a product may do: how many Engines it may have, how often it may ask for them."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never
from uuid import UUID

import trio

from ..actors import Actor, Message, Reply
from ..errors import SeptemberError
from .refusals import rate_limited

WINDOW_S: Final = 60.0
"""Admits are counted over this long (contract, section 18.6)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A product's policy. None is no limit."""

    max_engines: int | None = None
    rate_limit_rpm: int | None = None


def read_policy(policy: Mapping[str, object]) -> Limits:
    """Check a policy. Raises SeptemberError INVALID_REQUEST naming the key that is wrong."""
    values: dict[str, int | None] = {}
    for name, value in policy.items():
        if name not in ("max_engines", "rate_limit_rpm"):
            raise _invalid(name, "is not a policy; there are max_engines and rate_limit_rpm")
        if value is not None and (type(value) is not int or not 0 <= value < 2**31):
            raise _invalid(name, "must be a whole number, 0 or more, or null for no limit")
        values[name] = value
    return Limits(**values)


@dataclass(frozen=True, slots=True)
class CheckAdmit(Message[SeptemberError | None]):
    """May this product admit now? A yes counts; a no is the refusal."""

    product: UUID
    limit: int | None


PolicyMessage: TypeAlias = CheckAdmit


class Policy(Actor[PolicyMessage]):
    """Counts the admits of each product; in memory, so a restart forgives them."""

    def __init__(self) -> None:
        self._admits: dict[UUID, deque[float]] = {}

    async def handle(self, msg: PolicyMessage) -> Reply:
        match msg:
            case CheckAdmit(product, limit):
                return msg.reply(self._check(product, limit))
            case _:
                assert_never(msg)

    def _check(self, product: UUID, limit: int | None) -> SeptemberError | None:
        if limit is None:
            self._admits.pop(product, None)
            return None
        now = trio.current_time()
        times = self._admits.setdefault(product, deque())
        while times and times[0] <= now - WINDOW_S:
            times.popleft()
        if len(times) >= limit:
            return rate_limited(times[-limit] + WINDOW_S - now if limit else WINDOW_S)
        times.append(now)
        return None


def _invalid(name: str, what: str) -> SeptemberError:
    return SeptemberError("INVALID_REQUEST", f"policy.{name}: {what}", {"field": f"policy.{name}"})
