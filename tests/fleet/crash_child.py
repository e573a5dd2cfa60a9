"""An orchestrator that kills itself at a chosen step of one operation.

Arguments: database URL, folder of the Engines, operation. Steps come on stdin, one a line; each
is a fork, so that the imports are paid for once. Steps are counted before and after each write to
the database and each verb of the backend. Answers `killed`, `done` when the operation ended
before that step was reached, or `failed`.
"""

import os
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import trio

from september.fleet import registry
from september.fleet.backends.backend import (
    Backend,
    BackendError,
    Endpoint,
    EngineSpec,
    Presence,
)
from september.fleet.backends.subprocess import SubprocessBackend
from september.fleet.discovery import Admit, Provision
from september.fleet.engine_client import open_client
from september.fleet.instances import Engine, Operation, Product
from september.fleet.managed import NotWell, Perform
from september.fleet.store.database import Database, Work, event_loop
from september.fleet.tree import Fleet, running_fleet

from .stage import found, settings

T = TypeVar("T")

TOY = (sys.executable, str(Path(__file__).with_name("toy_engine.py")))
BEFORE = {"start": (Operation.STOP,), "wake": (Operation.SLEEP,)}
SPOILER = "spoiler:1"
DONE = 77


class Count:
    """How many steps there were, and which is the last."""

    reached = 0
    last = 0
    begun = False


def step() -> None:
    """Count a step, and die at the chosen one."""
    if Count.begun:
        Count.reached += 1
        if Count.reached == Count.last:
            os.kill(os.getpid(), signal.SIGKILL)


async def stepped(work: Awaitable[T]) -> T:
    step()
    result = await work
    step()
    return result


def spoil(brain: Path) -> None:
    """Leave a mark that a brain put back does not have."""
    with sqlite3.connect(brain) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS spoilt (by TEXT)")
    connection.close()


class Toys(SubprocessBackend):
    """Engines that are toys; those of one image spoil the brain and do not come up."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, {}, program=TOY)
        self.root = root

    async def create(self, spec: EngineSpec) -> Endpoint:
        if spec.image == SPOILER:
            spoil(self.root / spec.engine_id.hex / "brain.sqlite")
            raise BackendError("a migration failed half-way")
        return await super().create(spec)


class DyingToys(Toys):
    async def create(self, spec: EngineSpec) -> Endpoint:
        return await stepped(super().create(spec))

    async def start(self, engine_id: UUID, generation: int) -> Endpoint:
        return await stepped(super().start(engine_id, generation))

    async def stop(self, engine_id: UUID, generation: int, within: float = 30.0) -> None:
        await stepped(super().stop(engine_id, generation, within))

    async def destroy(self, engine_id: UUID, generation: int) -> None:
        await stepped(super().destroy(engine_id, generation))

    async def status(self, engine_id: UUID) -> Presence:
        return await stepped(super().status(engine_id))

    async def snapshot(self, engine_id: UUID, generation: int) -> str:
        return await stepped(super().snapshot(engine_id, generation))

    async def restore(self, engine_id: UUID, generation: int, snapshot: str) -> None:
        await stepped(super().restore(engine_id, generation, snapshot))

    async def replace_brain(self, engine_id: UUID, generation: int, brain: Path) -> None:
        await stepped(super().replace_brain(engine_id, generation, brain))


async def _dying_write(self: Database, work: Work[T]) -> T:
    return await stepped(_write(self, work))


_write = Database.write


class Stand:
    """What may be done to one Engine."""

    def __init__(self, fleet: Fleet, product: Product) -> None:
        self._fleet = fleet
        self._product = product

    async def provision(self) -> None:
        found(await self._fleet.discovery.call(Provision(self._product, "ada", None)))

    async def wake(self) -> None:
        await self._fleet.discovery.call(Admit(self._product, "ada", False, True))

    async def auto_restart(self) -> None:
        engine = await self._engine()
        await (await self._fleet.roster.of(engine.id)).call(NotWell(engine, "a test", at_once=True))

    async def back_up(self, root: Path) -> Path:
        """A copy of the brain, which is spoilt from then on."""
        engine = await self._engine()
        copy = root.parent / "copy.sqlite"
        await self._fleet.resources.backend.export(engine.id, copy)
        spoil(root / engine.id.hex / "brain.sqlite")
        return copy

    async def perform(self, operation: Operation, **wanted: object) -> None:
        engine = await self._engine()
        ref = await self._fleet.roster.of(engine.id)
        outcome = await ref.call(Perform(operation, "t", wanted))
        if isinstance(outcome, Exception):
            raise outcome

    async def _engine(self) -> Engine:
        return (await self._fleet.resources.database.read(registry.engines))[0]


async def operate(stand: Stand, operation: str, root: Path) -> None:
    """What is to be there first, and then the operation, counted."""
    if operation != "provision":
        await stand.provision()
    for what in BEFORE.get(operation, ()):
        await stand.perform(what)
    copy = await stand.back_up(root) if operation == "restore" else None
    special: dict[str, Callable[[], Awaitable[None]]] = {
        "provision": stand.provision,
        "wake": stand.wake,
        "auto_restart": stand.auto_restart,
        "upgrade": partial(stand.perform, Operation.UPGRADE, next_image="e:2"),
        "upgrade_back": partial(stand.perform, Operation.UPGRADE, next_image=SPOILER),
    }
    if copy is not None:
        special["restore"] = partial(stand.perform, Operation.RESTORE, next_brain=str(copy))
    work = special.get(operation) or partial(stand.perform, Operation(operation))
    Count.begun = True
    await work()


async def main(url: str, root: Path, operation: str) -> None:
    Database.write = _dying_write  # type: ignore[method-assign]  # steps are counted from outside
    product = Product(UUID(int=1), "crash", "Crash", {})

    def make(_: UUID) -> Backend:
        return DyingToys(root)

    async with event_loop(), open_client() as client:
        async with running_fleet(settings(url), make, client) as fleet:
            insert: Callable[..., Awaitable[None]] = registry.insert_product
            await fleet.resources.database.write(lambda s: insert(s, product, "h"))
            await operate(Stand(fleet, product), operation, root)
            os._exit(DONE)


def one_life(step: int) -> str:
    """Run an orchestrator in a fork, until it kills itself at this step or is done."""
    pid = os.fork()
    if not pid:
        Count.last = step
        os.dup2(2, 1)  # what it logs is no answer
        try:
            trio.run(main, sys.argv[1], Path(sys.argv[2]), sys.argv[3])
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {-signal.SIGKILL: "killed", DONE: "done"}.get(code, "failed")


if __name__ == "__main__":
    for line in sys.stdin:
        print(one_life(int(line)), flush=True)  # noqa: T201  the parent reads it
