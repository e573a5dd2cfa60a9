"""The words of a command as bash would make them, as far as that is known before it runs."""

import glob
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from msgspec import Struct
from tree_sitter import Node

from .syntax import Objection, text_of

_MAX_BRACES: Final = 64
_PATTERN: Final = frozenset("*?[")

_DYNAMIC: Final = frozenset(
    "simple_expansion expansion command_substitution arithmetic_expansion process_substitution"
    " brace_expression extglob_pattern regex array special_variable_name subscript".split()
)

_ESCAPE: Final = re.compile(
    r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|U[0-9a-fA-F]{1,8}|[0-7]{1,3}|c.|.)", re.DOTALL
)
_SIMPLE: Final = {
    **{"a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r"},
    **{"t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"', "?": "?"},
}


class Word(Struct, frozen=True):
    """One word. `text` is None when only running it would tell; `prefix` is what is known of it.

    `pattern` is the text with quoted glob characters escaped, if an unquoted one remains.
    `splits`: as it is not quoted, it may become several words, or none.
    """

    text: str | None
    pattern: str | None = None
    prefix: str = ""
    splits: bool = False

    @property
    def shown(self) -> str:
        """For a person to read."""
        return self.text if self.text is not None else f"{self.prefix}…"


UNKNOWN: Final = Word(None, splits=True)
"""A word of which nothing is known, not even that it is one."""


class _Piece(Struct, frozen=True):
    """A stretch of a word: literal text, or None for what is not known."""

    text: str | None
    quoted: bool


def words_of(node: Node) -> tuple[Word, ...]:
    """The words a single argument becomes; several only by brace expansion."""
    pieces = tuple(_pieces(node))
    return tuple(_word(alternative) for alternative in _braces(pieces))


def word_of(node: Node) -> Word:
    """The one word of an argument. Raises Objection if braces make it several."""
    words = words_of(node)
    if len(words) != 1:
        raise Objection("braces make one word several where one belongs")
    return words[0]


def literal(text: str) -> Word:
    """A word as if it had been quoted."""
    return Word(text, prefix=text)


def _pieces(node: Node) -> Iterator[_Piece]:
    match node.type:
        case "concatenation" | "command_name":
            for child in node.children:
                yield from _pieces(child)
        case "word" | "number" | "variable_name" | "test_operator" | "file_descriptor":
            yield from _unquoted(text_of(node))
        case "raw_string":
            yield _Piece(text_of(node)[1:-1], quoted=True)
        case "ansi_c_string":
            yield _Piece(_ESCAPE.sub(_ansi, text_of(node)[2:-1]), quoted=True)
        case "string":
            yield from _double_quoted(node)
        case kind if kind in _DYNAMIC:
            yield _Piece(None, quoted=kind == "arithmetic_expansion")
        case kind:
            raise Objection(f"a word of it is not understood ({kind})")


def _unquoted(text: str) -> Iterator[_Piece]:
    """Plain text; a backslash quotes the character after it, and vanishes before a newline."""
    for match in re.finditer(r"\\(.?)|[^\\]+", text, re.DOTALL):
        if not match.group().startswith("\\"):
            yield _Piece(match.group(), quoted=False)
        elif match.group(1) not in ("", "\n"):
            yield _Piece(match.group(1), quoted=True)


def _double_quoted(node: Node) -> Iterator[_Piece]:
    if any(child.type not in ("string_content", '"') for child in node.children):
        head = next((text_of(c) for c in node.children if c.type == "string_content"), "")
        first = node.children[1].type == "string_content" if len(node.children) > 1 else False
        yield _Piece(_unescape(head) if first else "", quoted=True)
        yield _Piece(None, quoted=True)
    else:
        yield _Piece(_unescape(text_of(node)[1:-1]), quoted=True)


def _unescape(text: str) -> str:
    return re.sub(r'\\([$`"\\])', r"\1", text.replace("\\\n", ""))


def _ansi(match: re.Match[str]) -> str:
    code = match.group(1)
    if code[0] in "xuU":
        return chr(int(code[1:], 16)) if len(code) > 1 else match.group()
    if code[0] in "01234567":
        return chr(int(code, 8) & 0xFF)
    if code[0] == "c" and len(code) == 2:
        return chr(ord(code[1]) & 0x1F)
    return _SIMPLE.get(code, match.group())


def _word(pieces: tuple[_Piece, ...]) -> Word:
    splits = any(piece.text is None and not piece.quoted for piece in pieces)
    if pieces and not pieces[0].quoted and (pieces[0].text or "").startswith("~"):
        return Word(None)
    prefix = ""
    for piece in pieces:
        if piece.text is None:
            return Word(None, prefix=prefix, splits=splits)
        prefix += piece.text
    if any(not p.quoted and _PATTERN & set(p.text or "") for p in pieces):
        escaped = (glob.escape(p.text or "") if p.quoted else p.text or "" for p in pieces)
        return Word(prefix, pattern="".join(escaped), prefix=prefix, splits=True)
    return Word(prefix, prefix=prefix)


def _braces(pieces: tuple[_Piece, ...]) -> Iterator[tuple[_Piece, ...]]:
    """Expand `{a,b}`; a sequence such as `{1..9}` becomes something unknown."""
    letters = [
        _Piece(character, piece.quoted)
        for piece in pieces
        for character in ([piece.text] if piece.text is None or piece.quoted else piece.text)
    ]
    count = 0
    for expanded in _expand(letters):
        count += 1
        if count > _MAX_BRACES:
            raise Objection("its braces make too many words")
        yield tuple(expanded)


def _expand(letters: list[_Piece]) -> Iterator[list[_Piece]]:
    group = _first_group(letters)
    if group is None:
        yield letters
        return
    start, commas, end = group
    edges = [start, *commas, end]
    for left, right in pairwise(edges):
        yield from _expand([*letters[:start], *letters[left + 1 : right], *letters[end + 1 :]])


def _first_group(letters: list[_Piece]) -> tuple[int, list[int], int] | None:
    """Where the first `{`, its commas and its `}` stand, if there is a comma."""
    for start, letter in enumerate(letters):
        if letter != _OPEN:
            continue
        depth, commas = 0, list[int]()
        for place in range(start, len(letters)):
            if letters[place] == _OPEN:
                depth += 1
            elif letters[place] == _CLOSE:
                depth -= 1
            elif letters[place] == _COMMA and depth == 1:
                commas.append(place)
            if depth == 0:
                if commas:
                    return start, commas, place
                break
    return None


_OPEN: Final = _Piece("{", quoted=False)
_CLOSE: Final = _Piece("}", quoted=False)
_COMMA: Final = _Piece(",", quoted=False)
