"""What HTTP needs of an Engine's skills and of direct calls: structs, and one protocol each."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from ..brain.catalog import Skill
from ..brain.channels.events import JsonObject


class SkillInfo(Struct, frozen=True, kw_only=True):
    """A skill as a list shows it. `confidence` is the share of its runs that succeed."""

    name: str
    description: str
    source: Literal["platform", "custom"]
    category: str
    confidence: float


class SkillView(Struct, frozen=True, kw_only=True):
    """A skill with what it is made of."""

    name: str
    description: str
    category: str
    prompt_template: str
    scripts: Mapping[str, str]
    capabilities: Sequence[str]


class CallOutput(Struct, frozen=True, kw_only=True):
    """What a tool or skill answered. `error` is its own short reason when it failed."""

    output: str
    error: str | None
    truncated: bool


class SkillPort(Protocol):
    """An Engine's skills, as the routes see them. Every method may raise SeptemberError."""

    async def skills(self) -> Sequence[SkillInfo]:
        """All skills, by name."""
        ...

    async def skill(self, name: str) -> SkillView:
        """One skill."""
        ...

    async def create(self, skill: Skill) -> SkillView:
        """Make a skill."""
        ...

    async def update(self, name: str, changes: Mapping[str, object]) -> SkillView:
        """Change these fields of a skill of the user's."""
        ...

    async def delete(self, name: str) -> None:
        """Remove a skill of the user's."""
        ...


class CallPort(Protocol):
    """Direct calls. Every method may raise SeptemberError."""

    async def tool(self, name: str, params: JsonObject, task_id: str) -> CallOutput:
        """Run a tool, in a task's workspace."""
        ...

    async def skill(self, name: str, params: JsonObject, task_id: str) -> CallOutput:
        """Run a skill, in a task's workspace."""
        ...
