"""The ledger: what happens to a row, each change with its audit entry in one transaction."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final, cast
from uuid import UUID

from ..config import FleetConfig
from ..errors import SeptemberError
from ..logs import get_logger
from . import audit, registry
from .instances import MOVES, Engine, Operation, Status
from .keys import Vault
from .membership import Standing
from .registry import FromNow, Superseded
from .store.database import Database, Session

_log = get_logger("september.fleet.ledger")

_DONE: Final[Mapping[Operation | None, str]] = {Operation.RESTART: "auto_restart_success"}
_FAILED: Final[Mapping[Operation | None, str]] = {Operation.RESTART: "auto_restart_failed"}
"""Audit actions that are not called like their operation (contract, section 18.11)."""

_NO_NEXT: Final[Mapping[str, object]] = {"next_image": None, "next_brain": None}


class Ledger:
    """Rows of Engines as the lifecycle writes them. Any write may raise Superseded."""

    def __init__(
        self, config: FleetConfig, database: Database, vault: Vault, standing: Standing
    ) -> None:
        self._config = config
        self._database = database
        self._vault = vault
        self._standing = standing
        self._ports = range(config.orch_port_min, config.orch_port_max + 1)

    async def row(self, engine_id: UUID) -> Engine | None:
        """The row as it is now."""
        return await self._database.read(partial(registry.engine, engine_id=engine_id))

    async def claim(
        self, current: Engine, operation: Operation, by: str, **wanted: object
    ) -> Engine | None:
        """Write the intent to do `operation`, or take up one that is under way.

        None when a living orchestrator has the Engine or the row has moved on.
        """
        number = await self._standing.number()
        begins = current.operation is not operation
        if begins:
            wanted = {**wanted, **self._intent(current, operation)}

        async def work(session: Session) -> Engine | None:
            held = await registry.claim(session, current, operation, by, number)
            if held is None or not begins:
                return held
            if operation is Operation.RESTART:
                await audit.record(session, audit.about(held, "auto_restart_start"))
            if wanted:
                await registry.change(session, held, wanted)
            return await registry.engine(session, held.id)

        return await self._database.write(work)

    async def note(self, held: Engine, **columns: object) -> None:
        """Write down what an operation found out on its way."""
        await self._database.write(partial(registry.change, held=held, columns=columns))

    async def move_port(self, held: Engine, avoid: list[int]) -> Engine:
        """Give the Engine another port. Raises PortsExhausted."""

        async def work(session: Session) -> int:
            await registry.change(session, held, {"url": None})
            return await registry.move_port(session, held.id, self._ports, avoid)

        return replace(held, port=await self._database.write(work))

    async def finish(
        self,
        held: Engine,
        columns: Mapping[str, object],
        metadata: Mapping[str, object] | None = None,
    ) -> Engine:
        """End the operation with its outcome."""
        action = _DONE.get(held.operation, str(held.operation))
        entry = _entry(held, action, metadata or {})

        async def work(session: Session) -> Engine | None:
            await registry.finish(session, held, columns)
            await audit.record(session, entry)
            return await registry.engine(session, held.id)

        return cast("Engine", await self._database.write(work))

    async def drop(self, held: Engine) -> Engine:
        """End an operation that has done nothing and leads nowhere."""

        async def work(session: Session) -> Engine | None:
            await registry.finish(session, held, {})
            return await registry.engine(session, held.id)

        return cast("Engine", await self._database.write(work))

    async def remove(self, held: Engine) -> None:
        """End a destroy: the row goes, and with it its port."""
        entry = _entry(held, "destroy", {})

        async def work(session: Session) -> None:
            await registry.delete(session, held)
            await audit.record(session, entry)

        await self._database.write(work)

    async def give_up(self, held: Engine, refusal: SeptemberError) -> None:
        """End the operation as failed; one that cannot fail stays to be done."""
        reason = str(refusal)
        assert held.operation is not None
        to = MOVES[held.operation].fails
        action = _FAILED.get(held.operation, str(held.operation))
        entry = _entry(held, action, {"outcome": "failed", "reason": reason})
        restart = self._restart_after(held)

        async def work(session: Session) -> None:
            await audit.record(session, entry)
            if to is not None:
                outcome = {"status": to, "next_restart_at": restart, "failure": reason}
                await registry.finish(session, held, {**outcome, **_NO_NEXT})
                await _note_last(session, held, restart)

        _log.warning("failed", engine=str(held.id), operation=held.operation, reason=reason)
        await self._database.write(work)

    async def fail(self, seen: Engine, reason: str, *, at_once: bool) -> Engine | None:
        """A running Engine is not well; None when the row has moved on since it was `seen`."""
        restart = self._restart_after(seen, at_once=at_once)

        async def work(session: Session) -> Engine | None:
            columns = {"status": Status.FAILED, "generation": seen.generation + 1}
            why = {"next_restart_at": restart, "failure": f"UNHEALTHY: {reason}"}
            await registry.change(session, seen, {**columns, **why})
            metadata = {"reason": reason, "failures": seen.health_failures}
            await audit.record(session, audit.about(seen, "health_failed", metadata))
            await _note_last(session, seen, restart)
            return await registry.engine(session, seen.id)

        _log.warning("engine failed", engine=str(seen.id), reason=reason)
        try:
            return await self._database.write(work)
        except Superseded:
            return None

    async def record(self, entry: audit.Entry) -> None:
        """Write down what changed no row."""
        await self._database.write(partial(audit.record, entry=entry))

    def _intent(self, current: Engine, operation: Operation) -> dict[str, object]:
        """What has to be known again after a crash."""
        match operation:
            case Operation.ROTATE_KEY:
                key = self._vault.new_engine_key()
                return {"next_key_hash": key.hash, "next_key_enc": key.sealed}
            case Operation.RESTART:
                return {"restart_attempts": current.restart_attempts + 1}
            case Operation.UPGRADE | Operation.RESTORE:
                return {"snapshot": None}  # one that failed left its own: the brain went on since
            case _:
                return {}

    def _restart_after(self, failed: Engine, *, at_once: bool = False) -> FromNow | None:
        """When to restart next; never after too many attempts."""
        attempts = failed.restart_attempts
        if attempts >= self._config.orch_restart_max_attempts:
            return None
        return FromNow(0.0 if at_once else restart_delay(self._config, attempts))


def restart_delay(config: FleetConfig, attempts: int) -> float:
    """Seconds before the restart that follows `attempts` others (contract, section 18.7)."""
    delay = config.orch_restart_backoff_base_s * 2.0 ** min(attempts, 60)
    return min(delay, config.orch_restart_backoff_max_s)


def _entry(held: Engine, action: str, metadata: Mapping[str, object]) -> audit.Entry:
    by = held.operation_by or audit.SYSTEM
    entry = audit.about(held, action, {"image": held.image, **metadata}, actor=by)
    return replace(entry, started_at=held.operation_started_at)


async def _note_last(session: Session, failed: Engine, restart: FromNow | None) -> None:
    if restart is None:
        metadata = {"attempts": failed.restart_attempts}
        await audit.record(session, audit.about(failed, "auto_restart_gave_up", metadata))
