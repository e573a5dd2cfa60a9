"""The lifecycle of an Engine: each operation as steps that may be repeated from the start.

The only caller of the backend. An operation first writes its intent into the row, then acts,
then writes its outcome. Whatever kills the orchestrator in between, the intent is found again
and carried on from its first step.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, TypeVar
from uuid import UUID

import trio

from ..actors import work_span
from ..config import FleetConfig, Secret
from ..errors import SeptemberError
from ..logs import get_logger
from . import audit, refusals
from .backends.backend import (
    Backend,
    BackendError,
    BackendUnreachable,
    Endpoint,
    EngineSpec,
    Fenced,
    NoInstance,
    PortTaken,
    Presence,
)
from .engine_client import EngineClient, KeyRefused, Unreachable
from .instances import MOVES, Engine, Operation, Status
from .keys import Vault
from .ledger import Ledger
from .registry import Superseded

T = TypeVar("T")

_log = get_logger("september.fleet.lifecycle")

STOP_S: Final = 30.0
"""Between SIGTERM and SIGKILL (contract, section 18.4)."""

OVERLAP_S: Final = 60.0
"""For how long a rotated key still works, if the Engine's limits allow."""

EXCHANGED: Final[Mapping[Operation | None, str]] = {
    Operation.UPGRADE: "upgraded",
    Operation.RESTORE: "restored",
}
"""What the audit log calls the good end; any other text says why it went back."""

_LOOKS_S: Final = (0.05, 0.5)
_LOOK_SHARE: Final = 0.1
"""How long until the next look at an Engine that starts: a tenth of its time, within bounds."""

_STILL_THERE_S: Final = 1.0
_PORT_TRIES: Final = 8
_BUSY_POLL_S: Final = 0.2

_NO_ROW: Final = 2**62
"""A generation above any: nobody else can have a word about what has no row."""

_Step: TypeAlias = Callable[[Engine], Awaitable[Engine | None]]
_Raise: TypeAlias = Callable[[Engine], Awaitable[Endpoint]]


class BootTimeout(Exception):
    """The Engine did not become healthy in time."""


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Does what is to be done to one Engine at a time; its callers see to it that it is one."""

    config: FleetConfig
    ledger: Ledger
    backend: Backend
    client: EngineClient
    vault: Vault

    async def perform(
        self, engine_id: UUID, operation: Operation, by: str, **wanted: object
    ) -> Engine | None:
        """Do `operation`, after what is under way is done; returns the row, None once gone.

        Raises SeptemberError: ENGINE_NOT_FOUND, ENGINE_ALREADY_RUNNING or ENGINE_NOT_RUNNING
        when there is nothing to do it from, ENGINE_BUSY, or why it failed.
        """
        limit = trio.current_time() + self.config.orch_boot_timeout_s + STOP_S
        while trio.current_time() < limit:
            current = await self._settled(engine_id, limit, unless=operation is Operation.DESTROY)
            if current.status not in MOVES[operation].start:
                raise refusals.no_move(current, operation)
            held = await self.ledger.claim(current, operation, by, **wanted)
            if held is not None:
                return await self._carry_out(held)
            await trio.sleep(_BUSY_POLL_S)
        raise refusals.busy()

    async def settle(self, engine_id: UUID) -> Engine:
        """Finish what is under way; returns the row. Raises SeptemberError."""
        limit = trio.current_time() + self.config.orch_boot_timeout_s + STOP_S
        return await self._settled(engine_id, limit)

    async def silence(self, engine_id: UUID) -> None:
        """Stop an instance whose row says that it is to be down; the row stays as it is."""
        current = await self.settle(engine_id)
        if current.status in (Status.SLEEPING, Status.STOPPED):
            await self._ask("stop", self.backend.stop(current.id, current.generation, STOP_S))

    async def is_idle(self, engine: Engine) -> bool:
        """Whether the Engine says, now, that a stop would cut nothing short."""
        try:
            within = self.config.orch_health_check_timeout_s
            health = await self.client.health(engine.url or "", within)
        except Unreachable:
            return False
        return health.activity is not None and not health.activity.busy

    async def remove_orphan(self, engine_id: UUID) -> None:
        """Remove an instance, with its storage, that no row knows."""
        entry = audit.Entry("destroy", engine_id=engine_id, metadata={"reason": "no row"})
        await self._ask("destroy", self.backend.destroy(engine_id, _NO_ROW))
        await self.ledger.record(entry)

    async def _settled(self, engine_id: UUID, limit: float, *, unless: bool = False) -> Engine:
        """The row, once nothing is under way, or at once with `unless`."""
        while trio.current_time() < limit:
            current = await self.ledger.row(engine_id)
            if current is None:
                raise refusals.not_found()
            if current.operation is None or unless:
                return current
            held = await self.ledger.claim(current, current.operation, audit.SYSTEM)
            if held is None:
                await trio.sleep(_BUSY_POLL_S)
            else:
                await self._take_up(held)
        raise refusals.busy()

    async def _take_up(self, held: Engine) -> None:
        """Carry on what somebody began; that it fails is written down, and nobody's error here."""
        try:
            await self._carry_out(held)
        except SeptemberError:
            left = await self.ledger.row(held.id)
            if left is not None and left.operation is not None:
                raise

    async def _carry_out(self, held: Engine) -> Engine | None:
        story = {"user_id": held.user_id, "by": held.operation_by, "generation": held.generation}
        with work_span(f"{held.operation} {held.id}", story):
            try:
                return await self._try(held)
            except Exception:
                await self._let_go(held)
                raise

    async def _let_go(self, held: Engine) -> None:
        """What is left to be done is anybody's: we are alive, but no longer at it."""
        with suppress(Superseded, SeptemberError):
            await self.ledger.note(held, claimed_by=None)

    async def _try(self, held: Engine) -> Engine | None:
        try:
            return await self._step(held)(held)
        except (Superseded, Fenced) as error:
            raise refusals.busy() from error
        except BackendUnreachable as error:
            raise refusals.backend_unavailable(str(error)) from error
        except (BackendError, BootTimeout, SeptemberError) as error:
            refusal = self._refusal(error)
            if refusal.code != "DATABASE_UNAVAILABLE":
                await self._give_up(held, refusal)
            raise refusal from error

    def _refusal(self, error: Exception) -> SeptemberError:
        match error:
            case SeptemberError():
                return error
            case BootTimeout():
                return refusals.boot_timeout(self.config.orch_boot_timeout_s)
            case _:
                return refusals.backend_refused(str(error))

    async def _ask(self, verb: str, work: Awaitable[T]) -> T:
        """A verb of the backend, as a span of its own."""
        with work_span(f"backend {verb}"):
            return await work

    async def _give_up(self, held: Engine, refusal: SeptemberError) -> None:
        try:
            await self.ledger.give_up(held, refusal)
        except Superseded as error:
            raise refusals.busy() from error

    def _step(self, held: Engine) -> _Step:
        match held.operation:
            case Operation.PROVISION:
                return partial(self._bring_up, how=self._create)
            case Operation.START | Operation.WAKE:
                return partial(self._bring_up, how=self._start)
            case Operation.RESTART:
                return partial(self._bring_up, how=self._restart)
            case Operation.STOP | Operation.SLEEP:
                return self._stop
            case Operation.ROTATE_KEY:
                return self._rotate
            case Operation.UPGRADE | Operation.RESTORE:
                return self._exchange
            case Operation.DESTROY:
                return self._destroy
            case None:
                raise ValueError(f"nothing is under way for {held.id}")

    async def _bring_up(self, held: Engine, how: _Raise) -> Engine:
        held, endpoint = await self._on_a_port(held, how)
        await self.ledger.note(held, url=endpoint.url, container_id=endpoint.container_id)
        boot_ms = await self._boot(held.id, endpoint.url)
        return await self.ledger.finish(held, {**_well(), "boot_duration_ms": boot_ms})

    async def _on_a_port(self, held: Engine, how: _Raise) -> tuple[Engine, Endpoint]:
        """Do it, on another port each time when something else listens there."""
        taken: list[int] = []
        for _ in range(_PORT_TRIES):
            try:
                return held, await how(held)
            except PortTaken as error:
                taken.append(error.port)
                _log.warning("port taken", port=error.port, engine=str(held.id))
                held = await self.ledger.move_port(held, taken)
                how = self._create  # a port is for life: the instance is made anew
        raise BackendError(f"ports {', '.join(map(str, taken))} are all taken by others")

    async def _create(self, held: Engine) -> Endpoint:
        return await self._ask("create", self.backend.create(self._spec(held)))

    async def _start(self, held: Engine) -> Endpoint:
        try:
            return await self._ask("start", self.backend.start(held.id, held.generation))
        except NoInstance:
            return await self._create(held)

    async def _restart(self, held: Engine) -> Endpoint:
        """Whatever is there may be ill: it is stopped before it is started."""
        await self._ask("stop", self.backend.stop(held.id, held.generation, STOP_S))
        return await self._start(held)

    async def _stop(self, held: Engine) -> Engine:
        assert held.operation is not None
        await self._ask("stop", self.backend.stop(held.id, held.generation, STOP_S))
        return await self.ledger.finish(held, {"status": MOVES[held.operation].to})

    async def _destroy(self, held: Engine) -> None:
        await self._ask("destroy", self.backend.destroy(held.id, held.generation))
        await self.ledger.remove(held)

    async def _rotate(self, held: Engine) -> Engine:
        """Tell the Engine its new key; if it cannot be told, make it anew with that key."""
        overlap = await self._tell_key(held)
        columns: dict[str, object] = {
            "engine_key_hash": held.next_key_hash,
            "engine_key_enc": held.next_key_enc,
            "next_key_hash": None,
            "next_key_enc": None,
        }
        if overlap is None:
            endpoint = await self._renew(replace(held, engine_key_hash=held.next_key_hash or ""))
            columns |= {"url": endpoint.url, "container_id": endpoint.container_id}
        metadata = {"overlap_seconds": overlap or 0, "recreated": overlap is None}
        return await self.ledger.finish(held, columns, metadata)

    async def _tell_key(self, held: Engine) -> float | None:
        """Rotate on the running Engine; the overlap in seconds, None if that cannot be.

        A repetition after a crash may find the new key in force already, and the old refused.
        """
        assert held.next_key_hash is not None and held.next_key_enc is not None
        for sealed in (held.engine_key_enc, held.next_key_enc):
            try:
                key = self.vault.open(sealed)
                return await self.client.rotate(held.url or "", key, held.next_key_hash, OVERLAP_S)
            except KeyRefused:
                continue
            except Unreachable as error:
                _log.warning("rotation by re-creation", engine=str(held.id), why=str(error))
                return None
        return None

    async def _exchange(self, held: Engine) -> Engine:
        """Stop, copy the brain, replace it or the image, probe; put all back if that goes wrong."""
        await self._ask("stop", self.backend.stop(held.id, held.generation, STOP_S))
        if held.snapshot is None:
            snapshot = await self._ask("snapshot", self.backend.snapshot(held.id, held.generation))
            await self.ledger.note(held, snapshot=snapshot)
            held = replace(held, snapshot=snapshot)
        image, outcome = held.next_image or held.image, EXCHANGED[held.operation]
        try:
            if held.next_brain is not None:
                brain = Path(held.next_brain)
                replaced = self.backend.replace_brain(held.id, held.generation, brain)
                await self._ask("replace_brain", replaced)
            endpoint = await self._renew(replace(held, image=image))
        except (BackendUnreachable, Fenced):
            raise
        except (BackendError, BootTimeout) as error:
            image, outcome = held.image, f"rolled back: {error or 'boot timeout'}"
            endpoint = await self._roll_back(held)
        columns: dict[str, object] = {
            "url": endpoint.url,
            "container_id": endpoint.container_id,
            "image": image,
            "next_image": None,
            "next_brain": None,
            "snapshot": None,
        }
        if held.status in (Status.SLEEPING, Status.STOPPED):
            await self._ask("stop", self.backend.stop(held.id, held.generation, STOP_S))
        else:
            columns |= _well()
        to = held.next_brain or held.next_image
        story = {"to": to, "outcome": outcome, "snapshot": held.snapshot}
        return await self.ledger.finish(held, columns, story)

    async def _roll_back(self, held: Engine) -> Endpoint:
        assert held.snapshot is not None
        await self._ask("stop", self.backend.stop(held.id, held.generation, STOP_S))
        await self._ask("restore", self.backend.restore(held.id, held.generation, held.snapshot))
        return await self._renew(held)

    async def _renew(self, held: Engine) -> Endpoint:
        """Have an instance of this very row, and wait until it is well."""
        _, endpoint = await self._on_a_port(held, self._create)
        await self._boot(held.id, endpoint.url)
        return endpoint

    async def _boot(self, engine_id: UUID, url: str) -> int:
        """Wait until the Engine is well; returns how long that took, in ms.

        Raises BootTimeout, or BackendError when the instance has ended.
        """
        with work_span("boot", {"url": url}):
            return await self._wait_until_well(engine_id, url)

    async def _wait_until_well(self, engine_id: UUID, url: str) -> int:
        began = looked = trio.current_time()
        with trio.move_on_after(self.config.orch_boot_timeout_s):
            while not await self._is_well(url):
                if trio.current_time() - looked > _STILL_THERE_S:
                    looked = trio.current_time()
                    if await self.backend.status(engine_id) is not Presence.RUNNING:
                        raise BackendError("the Engine ended while it started; see its logs")
                await trio.sleep(_pause(trio.current_time() - began))
            return round((trio.current_time() - began) * 1000)
        raise BootTimeout

    async def _is_well(self, url: str) -> bool:
        try:
            return (await self.client.health(url, self.config.orch_health_check_timeout_s)).ok
        except Unreachable:
            return False

    def _spec(self, held: Engine) -> EngineSpec:
        key_hash = {"ENGINE_KEY_HASH": Secret(held.engine_key_hash)}
        return EngineSpec(
            engine_id=held.id,
            generation=held.generation,
            image=held.image,
            port=held.port,
            env={**self.config.engine_env, **key_hash},
        )


def _pause(waited: float) -> float:
    """Seconds until the next look, after `waited` seconds."""
    least, most = _LOOKS_S
    return min(most, max(least, waited * _LOOK_SHARE))


def _well() -> Mapping[str, object]:
    """The columns of an Engine that has just become healthy."""
    now = datetime.now(UTC)
    return {
        "status": Status.RUNNING,
        "health_failures": 0,
        "next_restart_at": None,
        "failure": None,
        "running_since": now,
        "last_used_at": now,
    }
