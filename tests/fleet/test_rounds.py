"""What the orchestrator does by itself: probe, restart, put to sleep, wake, repair."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
import trio

from september.errors import SeptemberError
from september.fleet import registry
from september.fleet.backends.backend import EngineSpec, Fenced, Presence
from september.fleet.engine_client import Activity, Health
from september.fleet.instances import Engine, Operation
from september.fleet.keys import SealedKey
from september.fleet.managed import GoToSleep
from september.fleet.registry import NewEngine
from september.fleet.rounds import GoRound

from .stage import Stage, eventually, found, staged


def _is(stage: Stage, engine: Engine, status: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return await stage.status(engine) == status

    return check


async def test_three_bad_probes_fail_an_engine_and_it_is_restarted(database_url: str) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision_after_boot()
        stage.instance(engine).health = Health(status="error")
        await stage.probe(2)
        assert await stage.status(engine) == "running"
        await stage.probe()
        await eventually(_is(stage, engine, "failed"))
        stage.instance(engine).health = Health(status="ok")
        await eventually(_is(stage, engine, "running"))
        assert await stage.actions(engine) == [
            "provision",
            "health_failed",
            "auto_restart_start",
            "auto_restart_success",
        ]
        row = await stage.row(engine)
        assert row is not None and row.health_failures == 0 and row.restart_attempts == 1


async def test_it_gives_up_after_the_last_attempt(database_url: str) -> None:
    async with staged(database_url, orch_boot_timeout_s=0.2) as stage:
        engine = await stage.provision_after_boot()
        stage.instance(engine).answers = False
        await stage.probe(3)

        async def gave_up() -> bool:
            return "auto_restart_gave_up" in await stage.actions(engine)

        await eventually(gave_up, within=15)
        actions = await stage.actions(engine)
        assert actions.count("auto_restart_failed") == 3 == actions.count("auto_restart_start")
        await trio.sleep(1.2)
        assert (await stage.actions(engine)).count("auto_restart_start") == 3
        stage.instance(engine).answers = True
        assert found(await stage.perform(engine, Operation.START)).status.value == "running"


async def test_a_good_probe_forgives_what_came_before(database_url: str) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision_after_boot()
        stage.instance(engine).answers = False
        await stage.probe(2)
        stage.instance(engine).answers = True
        await stage.probe()
        stage.instance(engine).answers = False
        await stage.probe(2)
        assert await stage.status(engine) == "running"


def _idle(seconds: float, running: int = 0, wake: datetime | None = None) -> Health:
    activity = Activity(idle_seconds=seconds, running_turns=running, next_wake_at=wake)
    return Health(status="ok", activity=activity)


async def test_an_idle_engine_sleeps_and_a_busy_one_never(database_url: str) -> None:
    async with staged(database_url, orch_idle_sleep_threshold_s=60) as stage:
        idle, busy, soon, used = [await stage.provision(user) for user in "abcd"]
        await stage.value(
            "UPDATE engines SET last_used_at = now() - interval '1 hour' WHERE id <> $1"
            " RETURNING 1",
            used.id,
        )
        stage.instance(idle).health = _idle(600)
        stage.instance(busy).health = _idle(600, running=1)
        stage.instance(soon).health = _idle(600, wake=datetime.now(UTC) + timedelta(seconds=30))
        stage.instance(used).health = _idle(600)
        await stage.probe()
        await eventually(_is(stage, idle, "sleeping"))
        await stage.probe()
        for engine in (busy, soon, used):
            assert await stage.status(engine) == "running"
        await stage.agrees()


async def test_an_engine_that_becomes_busy_after_its_probe_is_not_put_to_sleep(
    database_url: str,
) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        stage.instance(engine).health = _idle(0, running=1)
        row = await stage.row(engine)
        assert row is not None
        await (await stage.fleet.roster.of(engine.id)).call(GoToSleep(row))
        assert await stage.status(engine) == "running"


async def test_a_sleeper_is_woken_before_its_time(database_url: str) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        stage.instance(engine).health = _idle(600, wake=datetime.now(UTC) + timedelta(seconds=20))
        await stage.probe()
        found(await stage.perform(engine, Operation.SLEEP))
        await stage.fleet.idle.call(GoRound())
        assert await stage.status(engine) == "running"


async def test_reconcile_repairs_in_both_directions(database_url: str) -> None:
    async with staged(database_url) as stage:
        gone, exited, asleep = [await stage.provision(user) for user in "abc"]
        found(await stage.perform(asleep, Operation.SLEEP))
        del stage.world.engines[gone.id]
        stage.instance(exited).presence = Presence.STOPPED
        stage.instance(asleep).presence = Presence.RUNNING
        stranger = EngineSpec(UUID(int=7), 1, "x", 9500, stage.instance(exited).spec.env)
        await stage.backend.create(stranger)
        await stage.reconcile()
        await stage.agrees()
        assert await stage.status(gone) == await stage.status(exited) == "running"
        assert await stage.status(asleep) == "sleeping"


async def test_a_backend_that_does_not_answer_is_not_an_empty_one(database_url: str) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        stage.world.reachable = False
        await stage.reconcile()
        assert await stage.status(engine) == "running"
        stage.world.reachable = True
        await stage.reconcile()
        assert await stage.actions(engine) == ["provision"]


async def test_an_instance_that_dies_is_seen_at_once(database_url: str) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        stage.backend.die(engine.id)
        await eventually(_is(stage, engine, "failed"))
        await eventually(_is(stage, engine, "running"))


async def test_a_successor_finishes_what_its_predecessor_began(database_url: str) -> None:
    async with staged(database_url) as stage:
        resources = stage.fleet.resources
        key = resources.vault.new_engine_key()
        new = NewEngine(
            UUID(int=1),
            stage.product.id,
            "ada",
            "e:1",
            SealedKey(key.hash, key.sealed),
            "p",
        )
        dead = 2**30  # a number that no living orchestrator holds
        ports = range(9001, 9010)
        await resources.database.write(
            partial(registry.insert_engine, new=new, number=dead, ports=ports, quota=None)
        )
        await stage.reconcile()
        row = await stage.row(new.id)
        assert row is not None and row.status.value == "running"
        await stage.agrees()


async def test_two_orchestrators_have_one_leader_and_the_other_takes_over(
    database_url: str,
) -> None:
    async with staged(database_url) as two:
        async with staged(database_url, two.world, two.product) as one:
            standings = [stage.fleet.resources.standing for stage in (one, two)]

            async def led() -> bool:
                return any(standing.leads for standing in standings)

            await eventually(led)
            assert sum(standing.leads for standing in standings) == 1
        await eventually(led)
        assert two.fleet.resources.standing.leads


async def test_an_overtaken_orchestrator_changes_nothing(database_url: str) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        await stage.value("UPDATE engines SET generation = 10 RETURNING 1")
        found(await stage.perform(engine, Operation.STOP))
        with pytest.raises(Fenced):
            await stage.backend.start(engine.id, 5)
        write = partial(registry.change, held=engine, columns={"url": "x"})
        with pytest.raises(registry.Superseded):
            await stage.fleet.resources.database.write(write)


async def test_what_one_orchestrator_could_not_finish_the_other_does(database_url: str) -> None:
    """Both live on; the one that gave up is not the one that makes rounds."""
    async with staged(database_url) as one:
        async with staged(database_url, one.world, one.product) as two:
            engine = await one.provision()
            one.world.reachable = False
            refusal = await two.perform(engine, Operation.STOP)
            assert isinstance(refusal, SeptemberError) and refusal.code == "BACKEND_UNAVAILABLE"
            one.world.reachable = True
            await one.reconcile()
            assert await one.status(engine) == "stopped"
            await one.agrees()
