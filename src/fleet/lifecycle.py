"""The lifecycle of an Engine: each operation as steps that may be repeated from the start.

The only caller of the backend. An operation first writes its intent into the row, then acts,
then writes its outcome. Whatever kills the orchestrator in between, the intent is found again
and carried on from its first step.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
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
)
from .boot import Boot, BootTimeout
from .engine_client import Activity, EngineClient, KeyRefused, Unreachable
from .instances import MOVES, Engine, Operation, Status
from .keys import Vault
from .ledger import Ledger
from .registry import USE_NOTED_S, FromNow, Superseded

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

GRACE_S: Final = 2 * USE_NOTED_S
"""Between the intent to put an Engine to sleep and the stop.

Whoever was admitted before the intent was written has by then left a trace in the row.
"""

_PORT_TRIES: Final = 8
_BUSY_POLL_S: Final = 0.2

_NO_ROW: Final = 2**62
"""A generation above any: nobody else can have a word about what has no row."""

_Step: TypeAlias = Callable[[Engine], Awaitable[Engine | None]]
_Raise: TypeAlias = Callable[[Engine], Awaitable[Endpoint]]


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Does what is to be done to one Engine at a time; its callers see to it that it is one."""

    config: FleetConfig
    ledger: Ledger
    backend: Backend
    client: EngineClient
    vault: Vault
    grace: float = GRACE_S

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
        activity = await self._activity(engine)
        return activity is not None and not activity.busy

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
            case Operation.STOP:
                return self._stop
            case Operation.SLEEP:
                return self._put_to_sleep
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

    async def _put_to_sleep(self, held: Engine) -> Engine:
        """Stop it, unless somebody came before all could see that it is to sleep."""
        await trio.sleep(self.grace)
        current = await self.ledger.row(held.id)
        if current is None or current.generation != held.generation:
            raise Superseded
        activity = await self._activity(current)
        if activity is not None and (activity.busy or current.was_used_lately):
            return await self.ledger.drop(held)
        return await self._stop(held)

    async def _activity(self, engine: Engine) -> Activity | None:
        """What goes on in an Engine; None if it does not say."""
        try:
            within = self.config.orch_health_check_timeout_s
            return (await self.client.health(engine.url or "", within)).activity
        except Unreachable:
            return None

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
        """Wait until the Engine is well; ms. Raises BootTimeout, BackendError."""
        return await Boot(self.config, self.backend, self.client).wait(engine_id, url)

    def _spec(self, held: Engine) -> EngineSpec:
        key_hash = {"ENGINE_KEY_HASH": Secret(held.engine_key_hash)}
        return EngineSpec(
            engine_id=held.id,
            generation=held.generation,
            image=held.image,
            port=held.port,
            env={**self.config.engine_env, **key_hash},
        )


def _well() -> Mapping[str, object]:
    """The columns of an Engine that has just become healthy."""
    return {
        "status": Status.RUNNING,
        "health_failures": 0,
        "next_restart_at": None,
        "failure": None,
        "running_since": FromNow(),
        "last_used_at": FromNow(),
    }
