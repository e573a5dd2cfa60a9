"""What a person states about themself, their people and their decisions: rules, without a model.

Precise rather than greedy: a sentence is taken only where its form leaves little doubt. Questions,
conditions, quotations and code say nothing. The rules are English; other languages need a model.
"""

import re
from functools import cache
from typing import Final, Literal, TypeAlias

from msgspec import Struct

USER: Final = "user"
"""The subject of what a person says about themself."""

Kind: TypeAlias = Literal["fact", "preference", "decision", "rule", "note"]


class Tie(Struct, frozen=True):
    """How somebody stands to somebody: `one` is the `relation` of `other`, or does it."""

    one: str
    relation: str
    other: str


class Statement(Struct, frozen=True):
    """One thing that was stated. `sentence` is how it was said."""

    sentence: str
    subject: str
    content: str
    kind: Kind
    tie: Tie | None = None


class _Form(Struct, frozen=True):
    """A form of sentence, and what it states; `{…}` are groups of the pattern."""

    pattern: str
    subject: str
    content: str
    kind: Kind = "fact"
    tie: tuple[str, str, str] | None = None


_NAME: Final = r"(?-i:[A-Z][\w'-]+(?: [A-Z][\w'-]+){0,2})"
_ONE: Final = r"[^,;()]{1,80}?"
_REST: Final = r".{3,200}"
_KIN: Final = (
    r"wife|husband|partner|girlfriend|boyfriend|son|daughter|sister|brother|mother|father|mom|mum"
    r"|dad|uncle|aunt|cousin|grandmother|grandfather|friend|best friend|boss|manager|colleague"
    r"|coworker|assistant|doctor|dentist|teacher|neighbour|neighbor|flatmate|roommate|dog|cat"
)
_OWN: Final = (
    r"birthday|email(?: address)?|phone(?: number)?|address|time ?zone|job|employer|company|age"
    r"|home town|hometown|native language|mother tongue|car|blood type|shoe size|user ?name|team"
    r"|project|budget|deadline|goal|major|hobby"
)
_I_AM: Final = r"i(?: am|'m)"
_NO_MORE: Final = r"(?:no longer|don't|do not)"
_NOT_THIS: Final = r"(?!to |you|your|it\b|that\b|this\b|how\b|if\b|when\b|what\b)"


def _form(
    pattern: str,
    content: str,
    kind: Kind = "fact",
    subject: str = USER,
    tie: tuple[str, str, str] | None = None,
) -> _Form:
    return _Form(pattern, subject, content, kind, tie)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled at its first use: all of them take longer than a hundred modules to load."""
    return re.compile(pattern + r"(?:,? (?:now|too|as well|by the way|actually|please))*", re.I)


_FORMS: Final[tuple[_Form, ...]] = (
    _form(rf"(?:my name is|my name's|{_I_AM} called|call me) (?P<v>{_NAME})", "name is {v}"),
    _form(rf"i {_NO_MORE} live in (?P<v>{_ONE})(?: any ?more)?", "no longer lives in {v}"),
    _form(rf"i (?:now |currently )?live in (?P<v>{_ONE})", "lives in {v}"),
    _form(rf"{_I_AM} (?:now |currently )?(?:living|based) in (?P<v>{_ONE})", "lives in {v}"),
    _form(rf"i(?: have|'ve)? (?:just |recently )?moved to (?P<v>{_ONE})", "lives in {v}"),
    _form(
        rf"i {_NO_MORE} work (?P<p>at|for|as|in) (?P<v>{_ONE})(?: any ?more)?",
        "no longer works {p} {v}",
    ),
    _form(
        rf"(?:i (?:now |currently )?work|{_I_AM} (?:now |currently )?working)"
        rf" (?P<p>at|for|as|in) (?P<v>{_ONE})",
        "works {p} {v}",
    ),
    _form(rf"i was born (?P<p>in|on) (?P<v>{_ONE})", "born {p} {v}"),
    _form(rf"{_I_AM} allergic to (?P<v>{_ONE})", "is allergic to {v}"),
    _form(rf"{_I_AM} (?P<v>vegetarian|vegan|left-handed|diabetic|married|divorced)", "is {v}"),
    _form(
        rf"{_I_AM} (?P<v>an? (?!bit|little|fan|lot|member|bad|good|huge|big)[\w-]+(?: [\w-]+)?)",
        "is {v}",
    ),
    _form(rf"i (?P<p>speak|drive|own|play) (?P<v>{_ONE})", "{p}s {v}"),
    _form(
        rf"i prefer (?P<v>{_ONE}) (?:to|over) (?P<w>{_ONE})",
        "likes {v} more than {w}",
        "preference",
    ),
    _form(
        rf"i prefer (?P<v>{_ONE}) for (?P<w>{_ONE})",
        "preferred choice for {w} is {v}",
        "preference",
    ),
    _form(
        rf"i (?:really )?(?:prefer|like|love|enjoy|adore) {_NOT_THIS}(?P<v>{_ONE})",
        "likes {v}",
        "preference",
    ),
    _form(
        rf"i (?:hate|dislike|(?:don't|do not) (?:like|enjoy|eat|drink)) {_NOT_THIS}(?P<v>{_ONE})",
        "does not like {v}",
        "preference",
    ),
    _form(
        rf"my favou?rite (?P<w>[\w -]{{2,40}}?) (?:is|are) (?P<v>{_ONE})",
        "favourite {w} is {v}",
        "preference",
    ),
    _form(rf"my (?P<w>{_OWN}) is (?P<v>{_ONE})", "{w} is {v}"),
    _form(
        rf"my (?P<w>{_KIN})(?:'s name is| is called| is named| is|,) (?P<v>{_NAME})",
        "{w}'s name is {v}",
        tie=("{v}", "{w}", USER),
    ),
    _form(
        rf"(?P<v>{_NAME}) is my (?:new )?(?P<w>{_KIN})",
        "{w}'s name is {v}",
        tie=("{v}", "{w}", USER),
    ),
    _form(
        rf"i have an? (?P<w>{_KIN}) (?:called|named) (?P<v>{_NAME})",
        "{w}'s name is {v}",
        tie=("{v}", "{w}", USER),
    ),
    _form(
        r"(?:we|i)(?: have|'ve)? (?:just |finally )?(?:decided|agreed)"
        rf"(?P<v> (?:to|that|on|not to) {_REST})",
        "decided{v}",
        "decision",
        "project",
    ),
    _form(rf"let's (?:go with|settle on) (?P<v>{_REST})", "decided on {v}", "decision", "project"),
    _form(
        r"the (?P<w>deadline|budget|code ?name|launch date|release date)"
        rf"(?: (?:for|of) (?P<s>{_ONE}))? is (?P<v>{_ONE})",
        "{w} is {v}",
        "decision",
        "{s}",
    ),
    _form(
        r"(?:please )?(?:remember|note|keep in mind|(?:don't|do not) forget)(?: that|:| this:)?"
        rf" (?!to |when|what|how|me\b|my words|the last|our last|if)(?P<v>{_REST})",
        "{v}",
        "note",
    ),
    _form(rf"(?:please )?(?P<v>(?:always|never) [a-z]+ {_REST})", "{v}", "rule"),
    _form(rf"from now on,? (?:please )?(?P<v>{_REST})", "{v}", "rule"),
    _form(
        rf"(?P<s>{_NAME}) (?P<p>works at|works for|lives in|is married to|was born in)"
        rf" (?P<v>{_NAME})",
        "{p} {v}",
        subject="{s}",
        tie=("{s}", "{p}", "{v}"),
    ),
    _form(
        rf"(?P<s>{_NAME}) (?:has )?moved to (?P<v>{_NAME})",
        "lives in {v}",
        subject="{s}",
        tie=("{s}", "lives in", "{v}"),
    ),
)
"""The first form that fits a clause is what it states."""

_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|^\s*>.*$", re.DOTALL | re.MULTILINE)
_QUOTED: Final = re.compile(r'"[^"\n]{0,400}"|\u201c[^\u201d\n]{0,400}\u201d')
_SENTENCE: Final = re.compile(r"(?<=[.!?…])\s+|\n+")
_CLAUSE: Final = re.compile(
    r"\s*(?:;|,?\s+(?:and|but)(?=\s+(?:i|my|we|he|she|the deadline|please)\b))\s*", re.I
)
_LEAD: Final = re.compile(
    r"^(?:(?:hi|hello|hey)(?: there)?[,!]*|by the way|btw|fyi|also|actually|oh|so|well|no|yes|ok"
    r"|okay|and|but|just so you know|correction|update|for the record)[,:]?\s+",
    re.IGNORECASE,
)
_SUPPOSED: Final = re.compile(
    r"^(?:if|imagine|suppose|assume|pretend|say|what if|would|could|should|maybe|perhaps|translate"
    r"|when|unless|let me|i wish|i think|i guess)\b",
    re.IGNORECASE,
)
_BULLET: Final = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_TALE: Final = re.compile(
    r"\s+(?:because|since|although|while|so that|which|but|and|last (?:week|month"
    r"|year)|this (?:week|month|year)|recently|(?:two|three|\d+) (?:week|month|year)s ago)\b.*$",
    re.I,
)
_LONGEST: Final = 400


def statements(text: str) -> tuple[Statement, ...]:
    """What `text`, written by a person, states; in its order, each once."""
    found: dict[tuple[str, str], Statement] = {}
    for sentence in sentences(text):
        for clause in _CLAUSE.split(sentence):
            stated = _stated(clause.strip(), sentence)
            if stated is not None:
                found.setdefault((stated.subject, stated.content), stated)
    return tuple(found.values())


def sentences(text: str) -> list[str]:
    """The sentences of `text` that its writer means: no code, no quotation, no question."""
    plain = _QUOTED.sub(" ", _CODE.sub(" ", text)).replace("\u2019", "'")
    parts = (_BULLET.sub("", part).strip() for part in _SENTENCE.split(plain))
    return [part for part in parts if part and len(part) <= _LONGEST and not part.endswith("?")]


def _stated(clause: str, sentence: str) -> Statement | None:
    said = clause.rstrip(" .!…")
    while (shorter := _LEAD.sub("", said)) != said:
        said = shorter
    if _SUPPOSED.match(said):
        return None
    for form in _FORMS:
        found = _compiled(form.pattern).fullmatch(said)
        if found is not None:
            return _filled(form, found, sentence)
    return None


def _filled(form: _Form, found: re.Match[str], sentence: str) -> Statement:
    groups = {name: text or "" for name, text in found.groupdict().items()}
    if form.kind in ("fact", "preference"):
        groups = {name: _TALE.sub("", text) for name, text in groups.items()}
    tie = Tie(*(part.format(**groups) for part in form.tie)) if form.tie is not None else None
    subject = form.subject.format(**groups).strip() or "project"
    return Statement(sentence, subject, form.content.format(**groups).strip(), form.kind, tie)
