"""A draft: what is to be learned from one turn or signal, before it is written.

It is the strict schema that a model fills, and what the rules draw without one.
"""

import re
from collections.abc import Callable
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from ..memory.words import FUNCTION_WORDS, stems
from .material import Signal, Turn
from .statements import statements

Short = Annotated[str, Meta(min_length=1, max_length=200)]
Long = Annotated[str, Meta(min_length=1, max_length=1200)]
Few = 12


class EpisodeDraft(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happened."""

    key: Short
    description: Long
    value: Annotated[str, Meta(max_length=1200)]


class FactDraft(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that holds. The person themself is the subject `user`."""

    subject: Short
    content: Long
    type: Literal["fact", "preference", "decision", "rule", "note"]
    confidence: Annotated[float, Meta(ge=0, le=1)]


class RelationDraft(Struct, frozen=True, forbid_unknown_fields=True):
    """How `one` stands to `other`."""

    one: Short
    relation: Short
    other: Short


class Draft(Struct, frozen=True, forbid_unknown_fields=True):
    """What one turn or signal teaches. `ungrounded` counts what a model made up."""

    episodes: Annotated[tuple[EpisodeDraft, ...], Meta(max_length=Few)] = ()
    facts: Annotated[tuple[FactDraft, ...], Meta(max_length=Few)] = ()
    relations: Annotated[tuple[RelationDraft, ...], Meta(max_length=Few)] = ()
    patterns: Annotated[tuple[Long, ...], Meta(max_length=Few)] = ()
    ungrounded: int = 0


SAID: Final = "conversation"
"""The key of a turn's episode. A title made of its words would weigh them twice: on LoCoMo that
costs a point of recall (`bench/learning.py`)."""

SURE: Final = 0.9
"""How sure a statement in the person's own words is."""

GROUNDED: Final = 0.7
"""Share of a text's telling words that the turn must hold, or a model made it up."""

_TRIVIAL: Final = re.compile(
    r"(?:thanks?(?: you)?|thank you[^.]*|ok(?:ay)?|yes|no|great|cool|nice|hi|hello|hey|bye|go|test"
    r"|continue|go on|good (?:morning|evening|night))[\s.!,]*",
    re.IGNORECASE,
)
_EXACT: Final = re.compile(r"\d[\w.:/-]*|\b[A-Z][\w'-]+")
_OWN_WORDS: Final = FUNCTION_WORDS | {"user"}
"""Words that a sentence about the user may begin with, whatever the turn holds."""


def of_turn(turn: Turn) -> Draft:
    """What the rules draw from a turn: an episode, and what the person stated."""
    stated = statements(turn.asked)[:Few]
    facts = [_fact(s.subject, s.content, s.kind) for s in stated]
    ties = [s.tie for s in stated if s.tie is not None]
    return Draft(
        episodes=_episodes(turn),
        facts=tuple(facts),
        relations=tuple(RelationDraft(tie.one, tie.relation, tie.other) for tie in ties),
        patterns=tuple(s.content for s in stated if s.kind == "rule"),
    )


def _fact(
    subject: str, content: str, kind: Literal["fact", "preference", "decision", "rule", "note"]
) -> FactDraft:
    return FactDraft(subject[:200], content[:1200], kind, SURE)


def _episodes(turn: Turn) -> tuple[EpisodeDraft, ...]:
    asked = " ".join(turn.asked.split())
    if len(asked) < 3 or _TRIVIAL.fullmatch(asked):
        return ()
    answer = " ".join(turn.answered.split())[:600]
    parts = [answer] if answer else []
    parts += [f"Used: {', '.join(turn.tools)}"] if turn.tools else []
    parts += [f"It ended {turn.outcome}."] if turn.outcome != "completed" else []
    return (EpisodeDraft(SAID, asked[:500], " ".join(parts)),)


def of_signal(signal: Signal) -> Draft:
    """What a person's verdict teaches: a way to work, or at least that it was so."""
    verdict, comment = signal.verdict.strip(), " ".join(signal.comment.split())[:500]
    good = {"up": True, "down": False}.get(verdict.lower())
    if good is None:
        return Draft(patterns=(f"The user said: {' '.join(f'{verdict} {comment}'.split())[:900]}",))
    if comment:
        return Draft(patterns=(f"{'The user liked' if good else 'To avoid'}: {comment}",))
    about = " ".join(signal.about.split())[:400] or f"task {signal.task_id}"
    told = f"The user {'liked' if good else 'did not like'} the answer"
    return Draft(episodes=(EpisodeDraft(f"Feedback: {verdict.lower()}", told, about[:1200]),))


def merged(rules: Draft, model: Draft, turn: Turn) -> Draft:
    """Both, without what the model said that the turn does not hold."""
    text = turn.text
    known = set(stems(text)) | {"user"}
    episodes = [e for e in model.episodes if grounded(f"{e.description} {e.value}", text, known)]
    facts = [
        FactDraft(f.subject, f.content, f.type, min(f.confidence, SURE))
        for f in model.facts
        if grounded(f"{f.subject} {f.content}", text, known)
    ]
    ties = [r for r in model.relations if _named(r.one, text) and _named(r.other, text)]
    patterns = [p for p in model.patterns if grounded(p, text, known)]
    kept = len(episodes) + len(facts) + len(ties) + len(patterns)
    return Draft(
        episodes=(*rules.episodes, *episodes)[:Few],
        facts=(*rules.facts, *facts)[:Few],
        relations=tuple(dict.fromkeys((*rules.relations, *ties)))[:Few],
        patterns=tuple(dict.fromkeys((*rules.patterns, *patterns)))[:Few],
        ungrounded=_size(model) - kept,
    )


def grounded(said: str, text: str, known: set[str]) -> bool:
    """Whether `text` (whose stems are `known`) holds what is said: names and numbers exactly."""
    lowered = text.lower()
    exact = {word.lower() for word in _EXACT.findall(said)} - _OWN_WORDS
    if any(word not in lowered for word in exact):
        return False
    telling = {stem for stem in stems(said) if stem not in FUNCTION_WORDS}
    return len(telling & known) >= GROUNDED * len(telling)


def _named(name: str, text: str) -> bool:
    return name.lower() == "user" or name.lower() in text.lower()


def _size(draft: Draft) -> int:
    return sum(map(len, (draft.episodes, draft.facts, draft.relations, draft.patterns)))


def scrubbed(draft: Draft, scrub: Callable[[str], str]) -> Draft:
    """The draft without the Engine's secrets."""
    return Draft(
        tuple(
            EpisodeDraft(scrub(e.key), scrub(e.description), scrub(e.value)) for e in draft.episodes
        ),
        tuple(
            FactDraft(scrub(f.subject), scrub(f.content), f.type, f.confidence) for f in draft.facts
        ),
        tuple(
            RelationDraft(scrub(r.one), scrub(r.relation), scrub(r.other)) for r in draft.relations
        ),
        tuple(scrub(pattern) for pattern in draft.patterns),
        draft.ungrounded,
    )
