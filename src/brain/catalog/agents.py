"""Agent definitions and the soul template."""

from importlib.resources.abc import Traversable

from msgspec import Struct

from . import files


class Agent(Struct, frozen=True, kw_only=True):
    """An agent with its prompt. `model` None means the deployment's LLM_MODEL.

    `tools` are platform tools, tools of the catalog, and `<server>.<action>` of connectors;
    `connectors` are patterns of the servers all of whose actions it may use, when connected;
    `skills` are patterns of the skills it may load. `agents` are those it may call as tools; with
    `approve_plan` a person has to agree to what the planner says.
    """

    name: str
    description: str
    tools: tuple[str, ...]
    model: str | None = None
    connectors: tuple[str, ...] = ("*",)
    skills: tuple[str, ...] = ("*",)
    agents: tuple[str, ...] = ()
    approve_plan: bool = False
    system_prompt: str


class _AgentFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`agents/<name>/agent.json`."""

    name: str
    description: str
    tools: tuple[str, ...]
    system_prompt_path: str = "system-prompt.md"
    model: str | None = None
    connectors: tuple[str, ...] = ("*",)
    skills: tuple[str, ...] = ("*",)
    agents: tuple[str, ...] = ()
    approve_plan: bool = False


class Soul(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`core_soul.json`: who the assistant is before it has learned anything."""

    identity: str
    values: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


def load_agents(folder: Traversable) -> dict[str, Agent]:
    """The agents in `folder`, by name. Raises CatalogError."""
    if not folder.is_dir():
        raise files.CatalogError(folder, "is missing; it holds a folder for each agent")
    return {one.name: _load(one) for one in files.entries(folder) if one.is_dir()}


def _load(folder: Traversable) -> Agent:
    file = folder / "agent.json"
    read = files.decode(file, _AgentFile)
    files.same_name(file, read.name, folder.name)
    return Agent(
        name=read.name,
        description=read.description,
        tools=read.tools,
        model=read.model,
        connectors=read.connectors,
        skills=read.skills,
        agents=read.agents,
        approve_plan=read.approve_plan,
        system_prompt=_prompt(file, folder, read.system_prompt_path),
    )


def _prompt(file: Traversable, folder: Traversable, path: str) -> str:
    prompt = folder / path
    if not path or ".." in path.split("/") or not prompt.is_file():
        raise files.CatalogError(file, f"there is no file {path!r} beside it", "system_prompt_path")
    return files.text(prompt)
