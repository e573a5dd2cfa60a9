"""Which tools there are: the platform's, the catalog's, skills, and those of connected servers."""

from collections.abc import Collection, Mapping, Sequence

from ..assets.actions import Action
from ..assets.directory import ListActions
from ..catalog import Agent, Catalog
from .connectors import connector_tools
from .definitions import defined_tools
from .skills import loading
from .tools import Tool
from .workshop import Workshop


def check_catalog(catalog: Catalog, platform: Collection[str]) -> None:
    """Raise CatalogError when the catalog names a tool or skill that there is not."""
    catalog.check({*platform, loading.NAME})


async def offered(workshop: Workshop, agent: Agent, catalog: Catalog) -> dict[str, Tool]:
    """The tools of an agent's turn, in the order of its definition; then those of connectors."""
    actions = await _actions(workshop)
    skills = agent.skills if loading.NAME in agent.tools else ()
    known = await _own(workshop, catalog, actions, skills)
    connected = connector_tools(workshop, actions.values(), agent.connectors, agent.tools)
    return {**{name: known[name] for name in agent.tools if name in known}, **connected}


async def every_tool(workshop: Workshop, catalog: Catalog) -> dict[str, Tool]:
    """All tools that can be called directly."""
    actions = await _actions(workshop)
    own = await _own(workshop, catalog, actions, ("*",))
    return {**connector_tools(workshop, actions.values(), ("*",), ()), **own}


async def _actions(workshop: Workshop) -> dict[str, Action]:
    return {one.full_name: one for one in await workshop.assets.call(ListActions())}


async def _own(
    workshop: Workshop, catalog: Catalog, actions: Mapping[str, Action], skills: Sequence[str]
) -> dict[str, Tool]:
    """All but the connectors'. The catalog may give a platform tool another face."""
    loader = await loading.loader(workshop, catalog.skills, skills)
    defined = defined_tools(workshop, catalog, actions)
    return {**workshop.toolbox, **({loading.NAME: loader} if loader else {}), **defined}
