"""Which tool calls need a person's permission (contract, section 8.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ..channels.events import JsonObject
from .tools import Tool


@dataclass(frozen=True, slots=True)
class Allow:
    """The call may run."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A person decides. On a yes, `grants` are further paths the call may touch."""

    reason: str
    grants: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Deny:
    """The call may not run, whoever asks."""

    reason: str


Decision: TypeAlias = Allow | Ask | Deny


def decide(tool: Tool, arguments: JsonObject, roots: Sequence[Path], workspace: Path) -> Decision:
    """Decide on one call. Reads the file system, so call it from a thread."""
    if tool.requires_permission:
        return Ask(f"{tool.definition.name} needs permission for every call")
    return Allow()
