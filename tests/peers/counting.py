"""Tokens as the peers count them: four characters each, with a prompt cache by prefix."""

from collections.abc import Iterable
from typing import Any

import msgspec


def tokens(value: Any) -> int:
    """The tokens of a text or of any JSON value."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return max(1, len(text) // 4) if text else 0


class PrefixCache:
    """Remembers prompt prefixes, as the services do, without their time limits."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def marked(self, prefixes: Iterable[str]) -> tuple[int, int]:
        """Tokens read from and written to the cache for the prefixes that breakpoints mark."""
        marked = list(prefixes)
        hit = max((tokens(prefix) for prefix in marked if prefix in self._known), default=0)
        longest = max((tokens(prefix) for prefix in marked), default=0)
        self._known.update(marked)
        return hit, longest - hit

    def common(self, prompt: str) -> int:
        """Tokens `prompt` shares with the start of an earlier one; none below 64."""
        shared = max((_shared(prompt, known) for known in self._known), default=0)
        self._known.add(prompt)
        return shared if shared >= 64 else 0


def _shared(one: str, other: str) -> int:
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    return (min(len(one), len(other)) if length is None else length) // 4
