"""The skills' side of the bridge, and that of direct calls."""

from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from ..brain.agent.direct import CallSkill, CallTool
from ..brain.agent.tools import ToolOutput
from ..brain.catalog import Catalog, Skill
from ..brain.channels.events import JsonObject
from ..brain.coordinator.coordinator import GetCatalog
from ..brain.skills import rows, shelf
from ..brain.store.connection import Connection
from ..brain.tree import Engine
from ..errors import SeptemberError
from .skill_port import CallOutput, SkillInfo, SkillView


class SkillBridge:
    """Implements `SkillPort` for a running Engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def skills(self) -> Sequence[SkillInfo]:
        """All skills, by name."""
        list_all = partial(shelf.shelved, platform=(await _catalog(self._engine)).skills)
        return [
            SkillInfo(
                name=one.skill.name,
                description=one.skill.description,
                source=one.source,
                category=one.skill.category,
                confidence=one.confidence,
            )
            for one in await self._engine.database.read(list_all)
        ]

    async def skill(self, name: str) -> SkillView:
        """One skill."""
        find = partial(shelf.found, platform=(await _catalog(self._engine)).skills, name=name)
        return _view(await self._engine.database.read(find))

    async def create(self, skill: Skill) -> SkillView:
        """Make a skill."""
        platform = (await _catalog(self._engine)).skills
        create = partial(shelf.create, platform=platform, skill=skill)
        return _view(await self._engine.database.write(create))

    async def update(self, name: str, changes: Mapping[str, object]) -> SkillView:
        """Change these fields of a skill of the user's."""
        platform = (await _catalog(self._engine)).skills

        def work(connection: Connection) -> Skill:
            before = shelf.own(connection, platform, name)
            return shelf.update(connection, msgspec.structs.replace(before, **changes))

        return _view(await self._engine.database.write(work))

    async def delete(self, name: str) -> None:
        """Remove a skill of the user's."""
        platform = (await _catalog(self._engine)).skills

        def work(connection: Connection) -> None:
            rows.remove(connection, shelf.own(connection, platform, name).name)

        await self._engine.database.write(work)


class CallBridge:
    """Implements `CallPort` for a running Engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def tool(self, name: str, params: JsonObject, task_id: str) -> CallOutput:
        """Run a tool."""
        catalog = await _catalog(self._engine)
        return _output(await self._engine.direct.call(CallTool(name, params, task_id, catalog)))

    async def skill(self, name: str, params: JsonObject, task_id: str) -> CallOutput:
        """Run a skill."""
        catalog = await _catalog(self._engine)
        return _output(await self._engine.direct.call(CallSkill(name, params, task_id, catalog)))


async def _catalog(engine: Engine) -> Catalog:
    return await engine.coordinator.call(GetCatalog())


def _view(skill: Skill) -> SkillView:
    return SkillView(
        name=skill.name,
        description=skill.description,
        category=skill.category,
        prompt_template=skill.prompt,
        scripts=skill.scripts,
        capabilities=skill.capabilities,
    )


def _output(answer: ToolOutput | SeptemberError) -> CallOutput:
    if isinstance(answer, SeptemberError):
        raise answer
    return CallOutput(output=answer.text, error=answer.error, truncated=answer.truncated)
