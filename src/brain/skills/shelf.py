"""All skills: the catalog's and the user's own, and the rules for changing them.

A skill of the user's hides one of the catalog that came later under the same name: what the user
made keeps working.
"""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from ...errors import SeptemberError
from ..catalog import Skill
from ..catalog.skills import flaw
from ..store.connection import Connection
from . import rows

_TRUST: Final = {"platform": 1.0, "custom": 0.8}
_WEIGHT: Final = 5
"""A skill starts with this trust, which weighs as much as this many runs."""


class Shelved(Struct, frozen=True):
    """A skill, where it comes from, and the share of its runs that succeed (0 to 1)."""

    skill: Skill
    source: Literal["platform", "custom"]
    confidence: float


def shelved(connection: Connection, platform: Mapping[str, Skill]) -> tuple[Shelved, ...]:
    """Every skill, by name."""
    own = {skill.name: skill for skill in rows.every(connection)}
    runs = rows.runs(connection)
    return tuple(
        _shelved(skill, name in own, runs.get(name, (0, 0)))
        for name, skill in sorted({**platform, **own}.items())
    )


def found(connection: Connection, platform: Mapping[str, Skill], name: str) -> Skill:
    """The skill of this name. Raises NOT_FOUND."""
    skill = rows.one(connection, name) or platform.get(name)
    if skill is None:
        raise SeptemberError(
            "NOT_FOUND", f"there is no skill {name[:80]!r}; GET /skills lists them", {"name": name}
        )
    return skill


def create(connection: Connection, platform: Mapping[str, Skill], skill: Skill) -> Skill:
    """Keep a new skill. Raises INVALID_REQUEST, or SKILL_EXISTS when the name is taken."""
    _check(skill)
    if skill.name in platform or not rows.add(connection, skill):
        raise SeptemberError(
            "SKILL_EXISTS",
            f"name: there is a skill {skill.name!r} already; choose another name,"
            f" or change it with PUT /skills/{skill.name}",
            {"field": "name", "name": skill.name},
        )
    return skill


def own(connection: Connection, platform: Mapping[str, Skill], name: str) -> Skill:
    """The user's skill of this name. Raises PERMISSION_DENIED for the catalog's, NOT_FOUND."""
    skill = rows.one(connection, name)
    if skill is not None:
        return skill
    found(connection, platform, name)
    raise SeptemberError(
        "PERMISSION_DENIED",
        f"{name!r} comes with the platform and cannot be changed; make your own under another"
        " name with POST /skills/create",
        {"name": name},
    )


def update(connection: Connection, skill: Skill) -> Skill:
    """Put a changed skill in the place of what it was. Raises INVALID_REQUEST."""
    _check(skill)
    rows.replace(connection, skill)
    return skill


def _check(skill: Skill) -> None:
    wrong = flaw(skill)
    if wrong is not None:
        field, problem = wrong
        raise SeptemberError("INVALID_REQUEST", f"{field}: {problem}", {"field": field})


def _shelved(skill: Skill, is_own: bool, counts: tuple[int, int]) -> Shelved:
    source: Literal["platform", "custom"] = "custom" if is_own else "platform"
    count, failures = counts
    confidence = (_TRUST[source] * _WEIGHT + count - failures) / (_WEIGHT + count)
    return Shelved(skill, source, round(confidence, 3))
