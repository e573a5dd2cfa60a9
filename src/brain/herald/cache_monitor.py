"""Prompt-cache monitor: notices when the cache has stopped working."""

from collections import deque

from msgspec import Struct

from ..channels.events import CacheHitRatioAlert
from .conversation import TokenUsage


class CachePolicy(Struct, frozen=True):
    """Alert when the hit ratio of the last `calls` calls is below `threshold` (0..1).

    60 % is the service objective for cache hits (contract, section 16). Prompts below
    `least_prompt` tokens are not counted: providers do not cache them. One alert per `calls`
    calls, so that a broken cache does not shout with every call.
    """

    threshold: float = 0.6
    calls: int = 20
    least_prompt: int = 1024


class CacheMonitor:
    """The hit ratio over the last calls that could have hit."""

    def __init__(self, policy: CachePolicy) -> None:
        self._policy = policy
        self._recent: deque[TokenUsage] = deque(maxlen=policy.calls)
        self._quiet_for = 0

    @property
    def ratio(self) -> float | None:
        """Input tokens read from the cache, as a share of all; None before the first call."""
        read = sum(usage.input_tokens for usage in self._recent)
        return sum(usage.cache_hit_tokens for usage in self._recent) / read if read else None

    def record(self, usage: TokenUsage) -> CacheHitRatioAlert | None:
        """Count one call; an alert if the ratio has been too low for long enough."""
        if usage.input_tokens < self._policy.least_prompt:
            return None
        self._recent.append(usage)
        self._quiet_for = max(0, self._quiet_for - 1)
        ratio = self.ratio
        if len(self._recent) < self._policy.calls or self._quiet_for or ratio is None:
            return None
        if ratio >= self._policy.threshold:
            return None
        self._quiet_for = self._policy.calls
        return CacheHitRatioAlert(ratio=round(ratio, 4), threshold=self._policy.threshold)
