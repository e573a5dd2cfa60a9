"""Skills in the brain: those that the user made, and how runs of any skill went."""

from typing import Final

import msgspec

from ..catalog import Skill
from ..clock import now_ms
from ..store.connection import Connection, Row

_COLUMNS: Final = "name, description, category, prompt, capabilities, scripts"


def every(connection: Connection) -> tuple[Skill, ...]:
    """All custom skills, by name."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM custom_skills ORDER BY name")
    return tuple(map(_skill, rows))


def one(connection: Connection, name: str) -> Skill | None:
    """A custom skill."""
    select = f"SELECT {_COLUMNS} FROM custom_skills WHERE name = ?"
    row = connection.execute(select, (name,)).fetchone()
    return _skill(row) if row is not None else None


def add(connection: Connection, skill: Skill) -> bool:
    """Keep a new skill; whether its name was free."""
    now = now_ms()
    added = connection.execute(
        f"INSERT OR IGNORE INTO custom_skills ({_COLUMNS}, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING name",
        (
            skill.name, skill.description, skill.category, skill.prompt,
            _json(skill.capabilities), _json(skill.scripts), now, now,
        ),
    ).fetchone()  # fmt: skip
    return added is not None


def replace(connection: Connection, skill: Skill) -> None:
    """Keep a skill in place of the one of its name."""
    connection.execute(
        "UPDATE custom_skills SET description = ?, category = ?, prompt = ?, capabilities = ?,"
        " scripts = ?, updated_at = ? WHERE name = ?",
        (
            skill.description, skill.category, skill.prompt, _json(skill.capabilities),
            _json(skill.scripts), now_ms(), skill.name,
        ),
    )  # fmt: skip


def remove(connection: Connection, name: str) -> None:
    """Remove a custom skill, and what is known of its runs."""
    connection.execute("DELETE FROM custom_skills WHERE name = ?", (name,))
    connection.execute("DELETE FROM skill_runs WHERE name = ?", (name,))


def note_run(connection: Connection, name: str, *, failed: bool) -> None:
    """Count a run."""
    connection.execute(
        "INSERT INTO skill_runs (name, runs, failures) VALUES (?1, 1, ?2) ON CONFLICT (name)"
        " DO UPDATE SET runs = runs + 1, failures = failures + ?2",
        (name, int(failed)),
    )


def runs(connection: Connection) -> dict[str, tuple[int, int]]:
    """How often each skill ran, and how often that failed."""
    rows = connection.execute("SELECT name, runs, failures FROM skill_runs")
    return {name: (count, failures) for name, count, failures in rows}


def _skill(row: Row) -> Skill:
    name, description, category, prompt, capabilities, scripts = row
    return Skill(
        name=name,
        description=description,
        category=category,
        prompt=prompt,
        capabilities=msgspec.json.decode(capabilities, type=tuple[str, ...]),
        scripts=msgspec.json.decode(scripts, type=dict[str, str]),
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
