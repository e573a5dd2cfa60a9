"""An orchestrator that kills itself at a chosen step of one operation.

Arguments: database URL, folder of the Engines, operation, step (0: none). Steps are counted
before and after each write to the database and each verb of the backend. Prints `done` when the
operation ended before that step was reached.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import trio

from september.fleet import registry
from september.fleet.backends.backend import Backend, Endpoint, EngineSpec, Presence
from september.fleet.backends.subprocess import SubprocessBackend
from september.fleet.discovery import Admit, Provision
from september.fleet.engine_client import open_client
from september.fleet.instances import Operation, Product
from september.fleet.managed import Perform
from september.fleet.store.database import Database, Work, event_loop
from september.fleet.tree import Fleet, running_fleet

from .stage import found, settings

T = TypeVar("T")

TOY = (sys.executable, str(Path(__file__).with_name("toy_engine.py")))
STEP = int(sys.argv[4]) if __name__ == "__main__" else 0

BEFORE = {"start": (Operation.STOP,), "wake": (Operation.SLEEP,)}

_count = [0, False]


def step() -> None:
    """Count a step, and die at the chosen one."""
    if _count[1]:
        _count[0] += 1
        if _count[0] == STEP:
            os.kill(os.getpid(), signal.SIGKILL)


async def stepped(work: Awaitable[T]) -> T:
    step()
    result = await work
    step()
    return result


class DyingBackend(SubprocessBackend):
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


async def _dying_write(self: Database, work: Work[T]) -> T:
    return await stepped(_write(self, work))


_write = Database.write


async def operate(fleet: Fleet, product: Product, operation: str) -> None:
    """What is to be there first, and then the operation, counted."""

    async def perform(what: Operation, **wanted: object) -> None:
        engine = (await fleet.resources.database.read(registry.engines))[0]
        outcome = await (await fleet.roster.of(engine.id)).call(Perform(what, "t", wanted))
        if isinstance(outcome, Exception):
            raise outcome

    async def provision() -> None:
        found(await fleet.discovery.call(Provision(product, "ada", None)))

    async def wake() -> None:
        await fleet.discovery.call(Admit(product, "ada", False, True))

    if operation != "provision":
        await provision()
    for what in BEFORE.get(operation, ()):
        await perform(what)
    _count[1] = True
    match operation:
        case "provision":
            await provision()
        case "wake":
            await wake()
        case "upgrade":
            await perform(Operation.UPGRADE, next_image="e:2")
        case _:
            await perform(Operation(operation))


async def main(url: str, root: Path, operation: str) -> None:
    Database.write = _dying_write  # type: ignore[method-assign]  # steps are counted from outside
    product = Product(UUID(int=1), "crash", "Crash", {})

    def make(_: UUID) -> Backend:
        return DyingBackend(root, {}, program=TOY)

    async with event_loop(), open_client() as client:
        async with running_fleet(settings(url), make, client) as fleet:
            insert: Callable[..., Awaitable[None]] = registry.insert_product
            await fleet.resources.database.write(lambda s: insert(s, product, "h"))
            await operate(fleet, product, operation)
            print("done", flush=True)  # noqa: T201  the parent reads it
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], Path(sys.argv[2]), sys.argv[3])
