"""Which tool calls need a person's permission (contract, section 8.1)."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from ..channels.events import JsonObject
from ..security.egress import NetworkPolicy
from ..web.fetch import FetchRefused, ascii_host, parsed
from .bash.examine import examine
from .bash.places import Places
from .bash.syntax import Objection
from .concern import Concern
from .tools import Tool

YES: Final = frozenset({"yes", "y", "true", "allow", "ok"})
"""Answers that grant permission; anything else does not."""


class Allow(Struct, frozen=True):
    """The call may run."""


class Ask(Struct, frozen=True):
    """A person decides. On a yes the call gets `grants` as further roots, for itself alone.

    `subject` is what an answer can be remembered for, "" if every call is asked about.
    """

    reason: str
    concern: Concern
    subject: str = ""
    grants: tuple[Path, ...] = ()


class Deny(Struct, frozen=True):
    """The call may not run, whoever asks."""

    reason: str


Decision: TypeAlias = Allow | Ask | Deny


class Ground(Struct, frozen=True):
    """Where a call would act: the allowed folders, the task's own, the network policy if any."""

    roots: Sequence[Path]
    workspace: Path
    policy: NetworkPolicy | None = None


Rule: TypeAlias = Callable[[JsonObject, Ground], Decision]


def decide(tool: Tool, arguments: JsonObject, ground: Ground) -> Decision:
    """Decide on one call.

    Reads the file system (links, patterns, sizes of files about to be overwritten), so call it
    from a thread; a bash command takes 0.2 to 8 ms.
    """
    name = tool.definition.name
    judged, given = tool.judged_as(arguments) if tool.judged_as is not None else (name, arguments)
    rule = RULES.get(judged)
    decision = Allow() if rule is None else rule(given, ground)
    if isinstance(decision, Deny):
        return decision
    if tool.requires_permission:
        return _every_call(decision, f"{name} needs permission for every call", Concern.EVERY_CALL)
    if tool.high_cost:
        why = f"{name} is marked as high-cost in the catalog"
        return _every_call(decision, why, Concern.HIGH_COST)
    return decision


def _every_call(decision: Allow | Ask, reason: str, concern: Concern) -> Ask:
    """Whatever else there is to ask, no answer is remembered."""
    if isinstance(decision, Ask):
        return replace(decision, subject="")
    return Ask(reason, concern)


def _bash(arguments: JsonObject, ground: Ground) -> Decision:
    """What the command would do to files, as far as it can be told; else a person looks."""
    command = str(arguments.get("command", ""))
    if "\0" in command:
        return Deny("a command cannot contain the character NUL")
    try:
        examine(command, Places(ground.roots, ground.workspace), ground.policy)
    except Objection as objection:
        return Ask(objection.reason, objection.concern, subject=command)
    return Allow()


def _write_file(arguments: JsonObject, ground: Ground) -> Decision:
    """Writing inside the roots is free."""
    text = str(arguments.get("path", ""))
    if "\0" in text:
        return Deny("a path cannot contain the character NUL")
    path = Path(os.path.realpath(ground.workspace / text))
    if Places(ground.roots, ground.workspace).contains(path):
        return Allow()
    reason = f"it writes {path}, outside the allowed folders"
    return Ask(reason, Concern.WRITES_OUTSIDE, subject=str(path), grants=(path,))


def _web_fetch(arguments: JsonObject, ground: Ground) -> Decision:
    """A host that the policy allows; without a policy every public one."""
    if ground.policy is None:
        return Allow()
    try:
        host = ascii_host(parsed(str(arguments.get("url", ""))))  # as the fetcher reads it
    except FetchRefused:
        host = ""
    if ground.policy.permits(host):
        return Allow()
    return Ask(f"it connects to {host}, which is not allowed", Concern.NETWORK, subject=host)


RULES: Final[dict[str, Rule]] = {
    "bash": _bash,
    "write_file": _write_file,
    "web_fetch": _web_fetch,
}
"""Tools with a rule of their own; all others are free unless they require permission."""
