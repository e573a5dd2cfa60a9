"""Unicode hygiene for incoming text: what a reader cannot see must not reach the model.

Invisible characters smuggle instructions past the person who reads a message (tag characters,
bidi overrides, runs of variation selectors: "ASCII smuggling", Trojan Source CVE-2021-42574).
What carries meaning stays: newlines, tabs, emoji sequences, joiners of Arabic and Indic scripts.
"""

import re
import unicodedata
from typing import Final

_NEVER: Final = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f"  # controls, except tab, newlines and NEL
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"  # invisible
    "\u202a-\u202e\u2066-\u2069"  # bidi embeddings, overrides and isolates
    "\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"  # joiners, fillers, annotation
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"  # surrogates and noncharacters
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # shorthand and musical format controls
)
"""Stripped wherever they stand (a class body for `re`)."""

_CONTEXTUAL: Final = "\u200c\u200d\ufe00-\ufe0f\U000e0000-\U000e0fff"
"""Joiners, variation selectors and tags: kept only where they shape a visible character."""

_NEWLINES: Final = "\r\x85\u2028\u2029"

_SUSPECT: Final = re.compile(f"[{_NEVER}{_CONTEXTUAL}{_NEWLINES}]")
_STRIPPED: Final = re.compile(f"[{_NEVER}]")
_BREAKS: Final = re.compile(f"\r\n|[{_NEWLINES}]")

_PICTURE: Final = "\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001faff"
_IDEOGRAPH: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_JOINING: Final = "\u0600-\u06ff\u0700-\u08ff\u0900-\u0dff\u0e80-\u0fff\u1000-\u109f\u1780-\u18af"

_KEPT: Final = re.compile(
    "(?:"
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"  # flag of England
    "|\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"  # Scotland
    "|\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"  # Wales
    f"|(?<=[{_PICTURE}0-9#*])[\ufe0e\ufe0f]"  # text or emoji presentation
    f"|(?<=[{_PICTURE}\ufe0f])\u200d(?=[{_PICTURE}])"  # family, profession, flag sequences
    f"|(?<=[{_IDEOGRAPH}])[\ufe00-\ufe02\U000e0100-\U000e01ef]"  # a glyph variant
    f"|(?<=[{_JOINING}])[\u200c\u200d](?=[{_JOINING}])"  # Persian half-space, Indic conjuncts
    f")|([{_CONTEXTUAL}])"
)


def sanitize(text: str) -> str:
    """Return `text` in NFC, without invisible or reordering characters; idempotent.

    Every kind of line break becomes a newline. Lone surrogates are dropped, so the result can
    always be encoded as UTF-8.
    """
    if text.isascii() and not _SUSPECT.search(text):
        return text
    if _SUSPECT.search(text):
        text = _STRIPPED.sub("", _BREAKS.sub("\n", text))
        text = _KEPT.sub(_keep_visible, text)
    return unicodedata.normalize("NFC", text)


def _keep_visible(match: re.Match[str]) -> str:
    return "" if match.group(1) else match.group()
