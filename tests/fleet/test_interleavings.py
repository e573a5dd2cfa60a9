"""An Engine's life under anything at once: hypothesis chooses what is asked and what goes wrong.

Each run is one Engine's user, two orchestrators, and a plan: who asks for what, how long each verb
of the backend takes, and which of them fail, die or do not answer. Whatever the plan, afterwards
one reconcile leaves rows, instances, storage and ports of one mind, no Engine is doubled, and
nobody was told that an Engine is gone which is not.
"""

from dataclasses import dataclass
from random import Random
from typing import Final
from uuid import UUID

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from september.errors import SeptemberError
from september.fleet.backends.backend import BackendError, BackendUnreachable, Presence
from september.fleet.backends.fake import World
from september.fleet.instances import MOVES, Operation, Status

from .stage import Stage, staged

ASKED: Final = ("admit", "stop", "start", "sleep", "rotate_key", "upgrade", "destroy")
WORLDLY: Final = ("die", "vanish", "probe", "reconcile", "deaf", "hear", "wait")
EXAMPLES: Final = 40
FAULTS: Final = ("slow", "refuse", "silence")

MAY_BE_HEARD: Final = {
    "ENGINE_NOT_FOUND",
    "ENGINE_ALREADY_EXISTS",
    "ENGINE_ALREADY_RUNNING",
    "ENGINE_NOT_RUNNING",
    "ENGINE_BUSY",
    "BACKEND_ERROR",
    "BACKEND_UNAVAILABLE",
    "BOOT_TIMEOUT",
}


@dataclass(frozen=True)
class Step:
    """Something that one of the actors of a plan does, after a pause in milliseconds."""

    what: str
    by: int
    pause: int


STEPS = st.builds(
    Step, st.sampled_from(ASKED + WORLDLY), st.integers(0, 1), st.sampled_from((0, 0, 2, 10))
)
PLANS = st.lists(st.lists(STEPS, min_size=1, max_size=6), min_size=1, max_size=4)


@dataclass
class Faults:
    """What goes wrong in the world; each verb asks before it is done."""

    seed: int
    share: float

    def __post_init__(self) -> None:
        self._chance = Random(self.seed)

    async def __call__(self, verb: str, _: UUID | None) -> None:
        if self._chance.random() > self.share:
            return
        match self._chance.choice(FAULTS):
            case "slow":
                await trio.sleep(0.01)
            case "refuse" if verb in ("create", "start", "snapshot"):
                raise BackendError("refused on purpose")
            case _:
                raise BackendUnreachable("silent on purpose")


class Play:
    """Carries out a plan on two orchestrators of one world."""

    def __init__(self, stages: tuple[Stage, Stage]) -> None:
        self._stages = stages
        self._world: World = stages[0].world
        self.refusals: set[str] = set()

    async def act(self, steps: list[Step]) -> None:
        for step in steps:
            await trio.sleep(step.pause / 1000)
            try:
                await self._do(step.what, self._stages[step.by])
            except SeptemberError as refusal:
                self.refusals.add(refusal.code)

    async def _do(self, what: str, stage: Stage) -> None:
        match what:
            case "admit":
                answer = await stage.admit(provision=True, wake=True)
                if isinstance(answer, SeptemberError):
                    raise answer
            case "probe":
                await stage.probe()
            case "reconcile":
                await stage.reconcile()
            case "deaf" | "hear":
                self._world.reachable = what == "hear"
            case "die" | "vanish":
                self._break(what)
            case "wait":
                await trio.sleep(0.03)
            case _:
                await self._perform(stage, Operation(what))

    def _break(self, how: str) -> None:
        for engine_id, engine in list(self._world.engines.items()):
            engine.presence = Presence.STOPPED
            if how == "vanish":
                del self._world.engines[engine_id]

    async def _perform(self, stage: Stage, operation: Operation) -> None:
        engine_id = await stage.value("SELECT id FROM engines")
        row = await stage.row(UUID(str(engine_id))) if engine_id else None
        if row is None:
            return
        wanted = {"next_image": "e:2"} if operation is Operation.UPGRADE else {}
        outcome = await stage.perform(row, operation, **wanted)
        if isinstance(outcome, SeptemberError):
            raise outcome


async def _play(stages: tuple[Stage, Stage], plan: list[list[Step]], faults: Faults) -> None:
    one, _ = stages
    world, play = one.world, Play(stages)
    world.fault = faults
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for steps in plan:
                nursery.start_soon(play.act, steps)
    assert play.refusals <= MAY_BE_HEARD
    world.fault, world.reachable = None, True
    await one.reconcile()
    await _is_one_engine(one)
    await one.value("WITH gone AS (DELETE FROM engines RETURNING 1) SELECT count(*) FROM gone")
    world.engines.clear()
    world.storage.clear()


async def _is_one_engine(stage: Stage) -> None:
    await stage.agrees()
    assert len(stage.world.engines) <= 1, "an Engine is doubled"
    engine_id = await stage.value("SELECT id FROM engines")
    if engine_id is None:
        return
    row = await stage.row(UUID(str(engine_id)))
    assert row is not None and row.status not in (Status.PROVISIONING, Status.DESTROYING)
    actions = await stage.actions(row)
    assert actions.count("provision") == 1, actions
    if row.status is Status.FAILED:
        assert row.failure, "a failure without a reason"
    else:
        assert set(stage.world.storage) == {row.id}, "the storage is gone"


async def test_whatever_is_asked_and_goes_wrong_ends_in_one_engine_or_none(
    database_url: str,
) -> None:
    quick = 0.1
    async with staged(database_url, orch_boot_timeout_s=quick) as one:
        async with staged(database_url, one.world, one.product, orch_boot_timeout_s=quick) as two:

            @settings(max_examples=EXAMPLES, deadline=None)
            @given(PLANS, st.integers(0, 2**32), st.sampled_from((0.0, 0.2, 0.5)))
            def check(plan: list[list[Step]], seed: int, share: float) -> None:
                trio.from_thread.run(_play, (one, two), plan, Faults(seed, share))

            await trio.to_thread.run_sync(check)


def test_every_operation_has_its_moves() -> None:
    assert set(MOVES) == set(Operation)
    for operation, move in MOVES.items():
        assert move.start, operation
        assert move.to is None or move.to in Status
