"""The catalog as a whole: a folder with one broken definition is refused entirely.

So a reload never half-applies: either everything in the folder is in force, or what was before.
"""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from importlib.resources import files as resources
from importlib.resources.abc import Traversable
from pathlib import Path

from msgspec import Struct

from ...errors import ConfigError
from .agents import Agent, Soul, load_agents
from .files import CatalogError, decode
from .hooks import Hook, load_hooks
from .skills import Skill, load_skills
from .tools import CatalogTool, load_tools

DEFAULT_AGENT = "assistant"


class Catalog(Struct, frozen=True):
    """Everything the catalog folder defines but the servers; `root` is where it was read."""

    agents: Mapping[str, Agent]
    soul: Soul
    tools: Mapping[str, CatalogTool]
    skills: Mapping[str, Skill]
    hooks: tuple[Hook, ...] = ()
    root: str = ""

    def check(self, platform: Collection[str]) -> None:
        """Raise CatalogError for a name that nothing has; `platform` are the platform's tools.

        What is dotted may be an action of a server that is connected later.
        """
        self._check_refs(platform)
        known = {*platform, *self.tools}
        for agent in self.agents.values():
            for place, name in enumerate(agent.tools):
                if name not in known and "." not in name:
                    file = f"{self.root}/agents/{agent.name}/agent.json"
                    raise CatalogError(file, _unknown("tool", name, known), f"tools[{place}]")
            for place, name in enumerate(agent.agents):
                if name not in self.agents:
                    file = f"{self.root}/agents/{agent.name}/agent.json"
                    what = _unknown("agent", name, self.agents)
                    raise CatalogError(file, what, f"agents[{place}]")

    def _check_refs(self, platform: Collection[str]) -> None:
        known: Mapping[str, Collection[str]] = {"platform": platform, "skill": self.skills}
        for tool in self.tools.values():
            kind, ref = tool.implementation.kind, tool.implementation.ref
            if isinstance(ref, str) and ref not in known[kind]:
                file = f"{self.root}/tools/{tool.name}.json"
                raise CatalogError(file, _unknown(kind, ref, known[kind]), "implementation.ref")


def load_catalog(folder: Path | None, *, hooks: bool = True) -> Catalog:
    """Read the catalog in `folder`, or the stock one; its hooks only with `hooks`.

    Raises CatalogError naming file and field.
    """
    root = catalog_root(folder)
    if not root.is_dir():
        raise ConfigError("CATALOG_DIR", f"{root} is not a folder; unset it for the stock catalog")
    agents = load_agents(root / "agents")
    if DEFAULT_AGENT not in agents:
        raise CatalogError(root / "agents", f"has no {DEFAULT_AGENT!r}, the default agent")
    return Catalog(
        agents=agents,
        soul=decode(root / "core_soul.json", Soul),
        tools=load_tools(root / "tools"),
        skills=load_skills(root / "skills"),
        hooks=load_hooks(root) if hooks else (),
        root=str(root),
    )


def catalog_root(folder: Path | None) -> Traversable:
    """The catalog's folder: `folder`, or the stock one."""
    return folder if folder is not None else _stock()


def _stock() -> Traversable:
    """The packaged catalog: beside the package in a wheel, at the top in a checkout."""
    packaged = resources(__name__.partition(".")[0]) / "catalog"
    checkout = Path(__file__).resolve().parents[3] / "catalog"
    return packaged if packaged.is_dir() else checkout


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"
    return f"there is no {kind} {name!r}; {hint}"
