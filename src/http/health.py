"""The health report: what a restart can mend is an error, everything else is degraded.

Contract, section 19.9: a provider's outage must never make an orchestrator restart a fleet.
"""

from typing import Final, Literal

import trio

from ..actors import ActorError, Snapshot, State
from ..brain import conversations
from ..brain.assets.directory import CountDown
from ..brain.clock import iso, now_ms
from ..brain.coordinator.coordinator import CountTurns
from ..brain.herald.herald import GetHealth
from ..brain.hitl import ListPending
from ..brain.learning.centre import GetStanding, Standing
from ..brain.sandbox.sandbox import Describe
from ..brain.tree import Engine
from ..errors import SeptemberError
from .port import Activity, HealthReport

PATIENCE_S: Final = 2.0
"""How long any one subsystem may take to answer."""

UNKNOWN: Final = Activity(running_turns=0, queued_turns=0, pending_hitl=0, idle_seconds=0.0)


async def report(engine: Engine, uptime: float, *, draining: bool) -> HealthReport:
    """Ask every subsystem; one that does not answer in time is the culprit."""
    learning = await _learning(engine)
    activity = await _activity(engine, learning.next_at if learning is not None else None)
    subsystems = {
        "database": "ok" if activity is not None else "error",
        "llm_provider": await _llm(engine),
        "asset_directory": await _assets(engine),
        "sandbox": await _sandbox(engine),
        "learning_centre": "ok" if learning is not None and learning.healthy else "error",
        "actors": _actors(engine.tree.snapshot()),
    }
    return HealthReport(
        status=_status(subsystems, draining=draining),
        uptime_seconds=round(uptime, 3),
        subsystems=subsystems,
        activity=activity or UNKNOWN,
    )


def _status(subsystems: dict[str, str], *, draining: bool) -> Literal["ok", "degraded", "error"]:
    if draining or "error" in (subsystems["database"], subsystems["actors"]):
        return "error"
    return "degraded" if "error" in subsystems.values() else "ok"


async def _activity(engine: Engine, wake_at: int | None) -> Activity | None:
    """What goes on; None when the brain cannot be read."""
    try:
        with trio.fail_after(PATIENCE_S):
            since = await engine.database.read(conversations.idle_since)
            counts = await engine.coordinator.call(CountTurns())
            pending = await engine.approvals.call(ListPending())
    except (ActorError, SeptemberError, trio.TooSlowError):
        return None
    idle = 0.0 if counts.running or since is None else (now_ms() - since) / 1000
    return Activity(
        running_turns=counts.running,
        queued_turns=counts.queued,
        pending_hitl=len(pending),
        idle_seconds=round(max(0.0, idle), 3),
        next_wake_at=iso(wake_at) if wake_at is not None else None,
    )


async def _llm(engine: Engine) -> str:
    try:
        with trio.fail_after(PATIENCE_S):
            health = await engine.herald.call(GetHealth())
    except (ActorError, trio.TooSlowError):
        return "error"
    return "ok" if health.ok else "error"


async def _sandbox(engine: Engine) -> str:
    try:
        with trio.fail_after(PATIENCE_S):
            confinement = await engine.sandbox.call(Describe(now=True))
    except (ActorError, trio.TooSlowError):
        return "error"
    return "error" if confinement.mode == "unavailable" else confinement.mode


async def _learning(engine: Engine) -> Standing | None:
    """How learning stands; None when it does not say."""
    try:
        with trio.fail_after(PATIENCE_S):
            return await engine.learning.call(GetStanding())
    except (ActorError, SeptemberError, trio.TooSlowError):
        return None


async def _assets(engine: Engine) -> str:
    try:
        with trio.fail_after(PATIENCE_S):
            down = await engine.assets.call(CountDown())
    except (ActorError, trio.TooSlowError):
        return "error"
    return "error" if down else "ok"


def _actors(snapshots: list[Snapshot]) -> str:
    """Restarting is how a tree mends itself; /health is not answered once its root gave up."""
    down = {State.ENDED.value, State.DOWN.value}
    return "restarting" if any(one.state in down for one in snapshots) else "ok"
