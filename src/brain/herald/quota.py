"""Token quota: at most so many tokens in any window of so many seconds."""

from collections import deque


class QuotaWindow:
    """A sliding window over tokens used. `limit` 0 means no quota.

    Exact rather than bucketed: one entry per model call, and an Engine makes few of those.
    Times are seconds of one monotonic clock, passed in.
    """

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._used = 0
        self._charges: deque[tuple[float, int]] = deque()

    @property
    def limit(self) -> int:
        """Tokens per window; 0 means no quota."""
        return self._limit

    def charge(self, tokens: int, now: float) -> None:
        """Count tokens that were used; may go over the limit, since usage is known afterwards."""
        if self._limit and tokens > 0:
            self._charges.append((now, tokens))
            self._used += tokens

    def used(self, now: float) -> int:
        """Tokens used in the window that ends now."""
        while self._charges and self._charges[0][0] + self._window_s <= now:
            self._used -= self._charges.popleft()[1]
        return self._used

    def retry_after(self, now: float) -> float | None:
        """Seconds until a call is allowed again; None when it is allowed now."""
        over = self.used(now) - self._limit
        if not self._limit or over < 0:
            return None
        for at, tokens in self._charges:
            over -= tokens
            if over < 0:
                return at + self._window_s - now
        return self._window_s
