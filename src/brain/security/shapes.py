"""What secrets look like: the marks they begin with, and how to tell one from prose.

The mark itself (`sk-`, `AKIA`, `Bearer `) is no secret and is never held back; what follows it
is. Shapes after the vendors' own documentation and the rules of gitleaks.
"""

import re
from collections.abc import Iterable
from typing import Final, Protocol, TypeAlias

from msgspec import Struct


class Found(Struct, frozen=True):
    """A secret stands up to `end`. If the text ends in it, `more` matches how it may go on."""

    end: int
    more: re.Pattern[str] | None = None


class Undecided(Struct, frozen=True):
    """The text ends too early to tell."""


Verdict: TypeAlias = Found | Undecided | None
UNDECIDED: Final = Undecided()


class Shape(Protocol):
    """One kind of secret. `marks` are the texts that may precede the secret part.

    `bounded` shapes do not begin inside a word: `risk-averse` holds no `sk-`.
    """

    @property
    def marks(self) -> tuple[str, ...]: ...

    @property
    def bounded(self) -> bool: ...

    def judge(self, text: str, start: int, final: bool) -> Verdict:
        """Tell whether `text[start:]`, right after the mark, begins with a secret.

        `final` says that no more text will come. The verdict may not depend on how much text
        follows, only on whether it is enough: that is what makes splitting harmless.
        """
        ...


class Token(Struct, frozen=True):
    """A run of `alphabet` of at least `least` characters, of which one matches `telling`.

    A run of `LONG` characters needs no telling one: words are shorter.
    """

    marks: tuple[str, ...]
    alphabet: re.Pattern[str]
    least: int
    telling: re.Pattern[str] | None = None
    bounded: bool = True

    def judge(self, text: str, start: int, final: bool) -> Verdict:
        """Judge the run after the mark."""
        match = self.alphabet.match(text, start)
        end = match.end() if match else start
        touches = end == len(text) and not final
        if end - start >= self.least and self._tells(text, start, end):
            return Found(end, self.alphabet if touches else None)
        return UNDECIDED if touches else None

    def _tells(self, text: str, start: int, end: int) -> bool:
        if self.telling is None or end - start >= LONG:
            return True
        return self.telling.search(text, start, end) is not None


class Jwt(Struct, frozen=True):
    """Three base64url parts, the first two of them JSON objects (`eyJ` is `{"`): RFC 7519."""

    marks: tuple[str, ...] = ("eyJ",)
    bounded: bool = True

    def judge(self, text: str, start: int, final: bool) -> Verdict:
        """Judge a header; with a second object after it, the rest of the run is the secret."""
        header = _BASE64URL.match(text, start)
        end = header.end() if header else start
        if end - start > _JWT_HEADER:
            return None
        if _JWT_BODY.startswith(text[end : end + len(_JWT_BODY)]):
            if len(text) - end >= len(_JWT_BODY):
                rest = _DOTTED.match(text, end)
                stop = rest.end() if rest else end
                return Found(stop, _DOTTED if stop == len(text) and not final else None)
            return None if final else UNDECIDED
        return None


class PrivateKey(Struct, frozen=True):
    """A PEM private key: RFC 7468, and OpenSSH's and PGP's kin."""

    marks: tuple[str, ...] = ("-----BEGIN ",)
    bounded: bool = False

    def judge(self, text: str, start: int, final: bool) -> Verdict:
        """Judge the header's rest and what follows: a run of base64 makes it a key."""
        header = _PEM_HEADER.match(text, start)
        if header is None:
            waits = len(text) - start < _PEM_HEADER_LIMIT and not final
            return UNDECIDED if waits and _PEM_HEADER_BEGUN.fullmatch(text, start) else None
        look = _PEM_PREAMBLE.match(text, header.end(), header.end() + _PEM_LOOK)
        end = look.end() if look else header.end()
        line = _PEM_LINE.search(text, header.end(), end)
        if line is None:
            waits = end == len(text) and end - header.end() < _PEM_LOOK and not final
            return UNDECIDED if waits else None
        body = _PEM_BODY.match(text, line.start())
        stop = body.end() if body else line.end()
        return Found(stop, _PEM_BODY if stop == len(text) and not final else None)


class Exactly(Struct, frozen=True):
    """A value the Engine knows. Its first characters serve as the mark."""

    value: str
    bounded: bool = False

    @property
    def marks(self) -> tuple[str, ...]:
        """The first characters, wherever they stand."""
        return (self.value[:EXACT_MARK],)

    def judge(self, text: str, start: int, final: bool) -> Verdict:
        """Compare with the rest of the value."""
        rest = self.value[EXACT_MARK:]
        seen = text[start : start + len(rest)]
        if seen == rest:
            return Found(start + len(rest))
        return UNDECIDED if rest.startswith(seen) and not final else None


LONG: Final = 40
SHORTEST_VALUE: Final = 8
"""Known values below this length are not looked for: they would hit ordinary words."""

EXACT_MARK: Final = 4
"""How much of a known value serves as its mark; no shape's mark begins with another's."""

_JWT_HEADER: Final = 512
_JWT_BODY: Final = ".eyJ"
_PEM_HEADER_LIMIT: Final = 48
_PEM_LOOK: Final = 256

_BASE64URL: Final = re.compile(r"[\w-]+", re.ASCII)
_DOTTED: Final = re.compile(r"[\w.-]+", re.ASCII)
_PEM_HEADER: Final = re.compile(r"[A-Z0-9 ]{0,20}PRIVATE KEY(?: BLOCK)?-----")
_PEM_HEADER_BEGUN: Final = re.compile(r"[A-Z0-9 ]*-{0,4}")
_PEM_PREAMBLE: Final = re.compile(r"[A-Za-z0-9+/=\s\\:,.-]+", re.ASCII)
_PEM_BODY: Final = re.compile(r"[A-Za-z0-9+/=\s\\]+", re.ASCII)
_PEM_LINE: Final = re.compile(r"[A-Za-z0-9+/=]{20}", re.ASCII)
_WORD: Final = re.compile(r"\w+", re.ASCII)
_UPPER: Final = re.compile(r"[A-Z0-9]+", re.ASCII)
_CREDENTIAL: Final = re.compile(r"[\w.~+/=-]+", re.ASCII)
_MIXED: Final = re.compile(r"[A-Z0-9]", re.ASCII)
_DIGIT: Final = re.compile(r"[0-9]", re.ASCII)

SHAPES: Final[tuple[Shape, ...]] = (
    Token(("sk-", "sk_", "rk_"), _BASE64URL, 16, _MIXED),  # OpenAI, Anthropic, Stripe
    Token(("AIza",), _BASE64URL, 30),  # Google
    Token(("ya29.",), _BASE64URL, 20),  # Google OAuth
    Token(("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"), _WORD, 20),  # GitHub
    Token(("glpat-",), _BASE64URL, 16),  # GitLab
    Token(("xoxa-", "xoxb-", "xoxe-", "xoxp-", "xoxr-", "xoxs-"), _BASE64URL, 10, _DIGIT),  # Slack
    Token(("xapp-",), _BASE64URL, 10, _DIGIT),
    Token(("AKIA", "ASIA"), _UPPER, 16),  # AWS key ids
    Token(("hf_", "npm_", "gsk_"), _WORD, 20, _MIXED),  # Hugging Face, npm, Groq
    Token(("xai-", "tvly-", "pplx-"), _BASE64URL, 20, _MIXED),  # xAI, Tavily, Perplexity
    Token(("Bearer ", "bearer ", "BEARER "), _CREDENTIAL, 16, _DIGIT),  # RFC 6750
    Jwt(),
    PrivateKey(),
)


def any_mark(shapes: Iterable[Shape]) -> re.Pattern[str]:
    """A pattern that finds every mark of `shapes`, fast: their prefix tree, not a list of them.

    Measured on prose: 0.4 µs per word instead of 0.7 µs for a plain alternation, and 6 µs for
    one with look-behinds.
    """
    root = _Tree()
    for mark in (mark for shape in shapes for mark in shape.marks):
        node = root
        for character in mark:
            node = node.setdefault(character, _Tree())
        node[""] = _Tree()
    return re.compile(_alternatives(root))


class _Tree(dict[str, "_Tree"]):
    """Characters to the trees of what may follow; the empty text ends a mark."""


def _alternatives(tree: "_Tree") -> str:
    if "" in tree:
        return ""
    return "(?:" + "|".join(re.escape(c) + _alternatives(rest) for c, rest in tree.items()) + ")"
