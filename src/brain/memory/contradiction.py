"""When one fact about a subject puts another out of force; rules, so that no model is needed."""

import re
from typing import Final

from msgspec import Struct

from .words import stems

_SINGLE: Final = re.compile(
    r"^(?P<what>.*?\b(?:(?:now |currently )?(?:lives|live|living|resides|reside) (?:in|at)"
    r"|(?:now |currently )?(?:works|work|working) (?:as|at|for|in)"
    r"|moved to|born (?:in|on)|married to|is called|speaks with"
    r"|(?:name|birthday|age|job|role|title|employer|address|email|phone|number|deadline|city|home"
    r"|timezone|time zone|language|status|price|budget|version|favou?rite [\w ]+?"
    r"|preferred [\w ]+?)"
    r" (?:is|are|was|=)|prefers|is|are|=|:))\s+(?P<value>\S.*)$",
    re.IGNORECASE | re.DOTALL,
)
"""Statements of which one holds at a time: what is before the verb stays, what follows changes."""

_NOT: Final = re.compile(
    r"\b(?:no longer|does not|doesn't|do not|don't|is not|isn't|are not|aren't|not|never|stopped)\b"
    r"\s*",
    re.IGNORECASE,
)
_FILLER: Final = re.compile(r"\b(?:now|currently|the|a|an|does|do|is|are)\b|[^\w\s]", re.IGNORECASE)
_SAME_PLACE: Final = {"moved to": "lives in", "lives at": "lives in", "resides in": "lives in"}


class Statement(Struct, frozen=True):
    """A fact's content, taken apart. `attribute` is empty where several may hold at a time."""

    attribute: str
    core: str
    negated: bool


def statement(content: str) -> Statement:
    """Take a content apart."""
    negated = _NOT.search(content) is not None
    core = _plain(_NOT.sub("", content))
    found = _SINGLE.match(content)
    attribute = _plain(found["what"]) if found and not negated else ""
    if found and not negated and not attribute:
        attribute = "is"
    return Statement(attribute, core, negated)


def contradicts(one: str, other: str) -> bool:
    """Whether two contents about the same subject cannot hold at the same time."""
    first, second = statement(one), statement(other)
    if first.core == second.core:
        return first.negated != second.negated
    if first.negated or second.negated or not first.attribute:
        return False
    return first.attribute == second.attribute and first.attribute != "is"


def same(one: str, other: str) -> bool:
    """Whether two contents say the same."""
    first, second = statement(one), statement(other)
    return first.core == second.core and first.negated == second.negated


def _plain(text: str) -> str:
    words = text.lower().strip()
    for said, meant in _SAME_PLACE.items():
        words = words.replace(said, meant)
    return " ".join(stems(_FILLER.sub(" ", words)))
