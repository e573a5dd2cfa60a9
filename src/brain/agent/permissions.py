"""Which tool calls need a person's permission (contract, section 8.1)."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from ..channels.events import JsonObject
from .bash.examine import examine
from .bash.places import Places
from .bash.syntax import Objection
from .tools import Tool

YES: Final = frozenset({"yes", "y", "true", "allow", "ok"})
"""Answers that grant permission; anything else does not."""


@dataclass(frozen=True, slots=True)
class Allow:
    """The call may run."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A person decides. On a yes the call gets `grants` as further roots, for itself alone."""

    reason: str
    grants: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Deny:
    """The call may not run, whoever asks."""

    reason: str


Decision: TypeAlias = Allow | Ask | Deny
Rule: TypeAlias = Callable[[JsonObject, Sequence[Path], Path], Decision]


def decide(tool: Tool, arguments: JsonObject, roots: Sequence[Path], workspace: Path) -> Decision:
    """Decide on one call.

    Reads the file system (links, patterns, sizes of files about to be overwritten), so call it
    from a thread; a bash command takes 0.2 to 8 ms.
    """
    name = tool.definition.name
    judged, given = tool.judged_as(arguments) if tool.judged_as is not None else (name, arguments)
    rule = RULES.get(judged)
    decision = Allow() if rule is None else rule(given, roots, workspace)
    if isinstance(decision, Allow) and tool.requires_permission:
        return Ask(f"{name} needs permission for every call")
    if isinstance(decision, Allow) and tool.high_cost:
        return Ask(f"{name} is marked as high-cost in the catalog")
    return decision


def _bash(arguments: JsonObject, roots: Sequence[Path], workspace: Path) -> Decision:
    """What the command would do to files, as far as it can be told; else a person looks."""
    command = str(arguments.get("command", ""))
    if "\0" in command:
        return Deny("a command cannot contain the character NUL")
    try:
        examine(command, Places(roots, workspace))
    except Objection as objection:
        return Ask(objection.reason)
    return Allow()


def _write_file(arguments: JsonObject, roots: Sequence[Path], workspace: Path) -> Decision:
    """Writing inside the roots is free."""
    text = str(arguments.get("path", ""))
    if "\0" in text:
        return Deny("a path cannot contain the character NUL")
    path = Path(os.path.realpath(workspace / text))
    if Places(roots, workspace).contains(path):
        return Allow()
    return Ask(f"it writes {path}, outside the allowed folders", grants=(path,))


RULES: Final[dict[str, Rule]] = {"bash": _bash, "write_file": _write_file}
"""Tools with a rule of their own; all others are free unless they require permission."""
