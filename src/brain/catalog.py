"""The catalog: agents and the soul template, read from a folder and checked as a whole.

A folder with one broken definition is refused entirely, so a reload never half-applies.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from ..errors import ConfigError

T = TypeVar("T")

DEFAULT_AGENT = "assistant"


class AgentFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`agents/<name>/agent.json`. `model` null means the deployment's LLM_MODEL.

    `connectors` are patterns of the servers whose actions the agent may use, when connected.
    """

    name: str
    description: str
    tools: tuple[str, ...]
    system_prompt_path: str = "system-prompt.md"
    model: str | None = None
    connectors: tuple[str, ...] = ("*",)


class Soul(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`core_soul.json`: who the assistant is before it has learned anything."""

    identity: str
    values: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent definition with its prompt."""

    name: str
    description: str
    model: str | None
    tools: tuple[str, ...]
    system_prompt: str
    connectors: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything the catalog folder defines."""

    agents: Mapping[str, Agent]
    soul: Soul


def load_catalog(folder: Path | None) -> Catalog:
    """Read the catalog in `folder`, or the stock one. Raises ConfigError naming the file."""
    root = catalog_root(folder)
    if not root.is_dir():
        raise ConfigError("CATALOG_DIR", f"{root} is not a folder; unset it for the stock catalog")
    agents = {agent.name: agent for agent in _agents(root / "agents")}
    if DEFAULT_AGENT not in agents:
        raise ConfigError("CATALOG_DIR", f"{root}/agents has no {DEFAULT_AGENT!r}, the default")
    return Catalog(agents, _decode(root / "core_soul.json", Soul))


def catalog_root(folder: Path | None) -> Traversable:
    """The catalog's folder: `folder`, or the stock one."""
    return folder if folder is not None else _stock()


def _stock() -> Traversable:
    """The packaged catalog: beside the package in a wheel, at the top in a checkout."""
    packaged = files(__name__.partition(".")[0]) / "catalog"
    checkout = Path(__file__).resolve().parents[2] / "catalog"
    return packaged if packaged.is_dir() else checkout


def _agents(folder: Traversable) -> list[Agent]:
    if not folder.is_dir():
        raise ConfigError("CATALOG_DIR", f"{folder} is missing")
    return [_agent(entry) for entry in folder.iterdir() if entry.is_dir()]


def _agent(folder: Traversable) -> Agent:
    definition = _decode(folder / "agent.json", AgentFile)
    if definition.name != folder.name:
        raise ConfigError(
            "CATALOG_DIR",
            f"{folder}/agent.json: name is {definition.name!r}, the folder {folder.name!r};"
            " make them equal",
        )
    return Agent(
        definition.name,
        definition.description,
        definition.model,
        definition.tools,
        _text(folder / definition.system_prompt_path),
        definition.connectors,
    )


def _text(file: Traversable) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("CATALOG_DIR", f"{file} cannot be read: {error}") from error


def _decode(file: Traversable, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(_text(file), type=kind)
    except msgspec.DecodeError as error:
        raise ConfigError("CATALOG_DIR", f"{file}: {error}") from error
