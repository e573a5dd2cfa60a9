"""What is done to an Engine: each operation, its refusals, its audit entry, its failures."""

from pathlib import Path

import pytest
import trio

from september.errors import SeptemberError
from september.fleet.backends.backend import Presence
from september.fleet.engine_client import Health
from september.fleet.instances import Operation, Status
from september.fleet.keys import sha256_of

from .stage import found, staged

UP, DOWN = Presence.RUNNING, Presence.STOPPED


async def test_a_provisioned_engine_runs_and_has_a_port_a_key_and_an_audit_entry(
    database_url: str,
) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        assert engine.status is Status.RUNNING and engine.operation is None
        assert engine.port == 9001 and engine.boot_duration_ms is not None
        assert stage.key_of(engine).startswith("sk-sept-")
        assert sha256_of(stage.key_of(engine)) == engine.engine_key_hash
        assert stage.instance(engine).spec.env["ENGINE_KEY_HASH"].reveal() == engine.engine_key_hash
        assert await stage.actions(engine) == ["provision"]
        assert await stage.value("SELECT actor FROM audit_log") == stage.product.slug
        await stage.agrees()


async def test_a_user_has_one_engine_and_another_product_another(database_url: str) -> None:
    async with staged(database_url) as stage:
        await stage.provision("ada")
        with pytest.raises(SeptemberError, match="ENGINE_ALREADY_EXISTS"):
            await stage.provision("ada")
        async with staged(database_url, stage.world) as other:
            assert (await other.provision("ada")).port == 9002


async def test_stop_keeps_the_storage_and_start_brings_it_back(database_url: str) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        stage.world.storage[engine.id] = "memories"
        stopped = found(await stage.perform(engine, Operation.STOP))
        assert stopped.status is Status.STOPPED
        assert stage.instance(engine).presence is DOWN
        refusal = await stage.perform(engine, Operation.STOP)
        assert isinstance(refusal, SeptemberError) and refusal.code == "ENGINE_NOT_RUNNING"
        started = found(await stage.perform(engine, Operation.START))
        assert started.status is Status.RUNNING and stage.world.storage[engine.id] == "memories"
        refusal = await stage.perform(engine, Operation.START)
        assert isinstance(refusal, SeptemberError) and refusal.code == "ENGINE_ALREADY_RUNNING"
        assert await stage.actions(engine) == ["provision", "stop", "start"]


async def test_destroy_leaves_nothing(database_url: str) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        assert await stage.perform(engine, Operation.DESTROY) is None
        assert await stage.status(engine) == "gone"
        assert not stage.world.engines and not stage.world.storage
        assert await stage.value("SELECT count(*) FROM port_allocations") == 0
        assert await stage.actions(engine) == ["provision", "destroy"]
        refusal = await stage.perform(engine, Operation.START)
        assert isinstance(refusal, SeptemberError) and refusal.code == "ENGINE_NOT_FOUND"
        assert (await stage.provision()).port == 9001


async def test_rotation_puts_a_new_key_in_force(database_url: str) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        rotated = found(await stage.perform(engine, Operation.ROTATE_KEY))
        assert stage.key_of(rotated) != stage.key_of(engine)
        assert stage.instance(engine).key_hash == rotated.engine_key_hash
        assert rotated.next_key_enc is None
        creations = [verb for verb, _ in stage.world.calls if verb == "create"]
        assert len(creations) == 1


async def test_an_engine_that_cannot_be_told_its_key_is_made_anew(database_url: str) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        stage.instance(engine).key_hash = "lost"
        rotated = found(await stage.perform(engine, Operation.ROTATE_KEY))
        assert stage.instance(engine).key_hash == rotated.engine_key_hash
        assert (
            await stage.value(
                "SELECT metadata->>'recreated' FROM audit_log WHERE action = $1", "rotate_key"
            )
            == "true"
        )


async def test_a_boot_that_takes_too_long_is_a_failure_with_a_restart_to_come(
    database_url: str,
) -> None:
    async with staged(database_url, orch_boot_timeout_s=0.3) as stage:
        stage.world.bad_images.add("september-engine:latest")
        with pytest.raises(SeptemberError, match="BOOT_TIMEOUT"):
            await stage.provision()
        row = await stage.fleet.resources.database.read(_first)
        assert row == "failed"
        assert await stage.value("SELECT next_restart_at IS NOT NULL FROM engines")
        assert await stage.value("SELECT metadata->>'outcome' FROM audit_log") == "failed"


async def _first(session: object) -> object:
    return await session.value("SELECT status FROM engines")  # type: ignore[attr-defined]


async def test_an_image_that_is_not_allowed_is_denied(database_url: str) -> None:
    async with staged(database_url, orch_engine_image_allow=("other:1",)) as stage:
        with pytest.raises(SeptemberError, match="POLICY_DENIED"):
            await stage.provision("eve", "evil:latest")
        assert (await stage.provision("bob", "other:1")).image == "other:1"


async def test_a_taken_port_is_left_for_another(database_url: str) -> None:
    async with staged(database_url) as stage:
        stage.world.taken |= {9001, 9002}
        engine = await stage.provision()
        assert engine.port == 9003
        found(await stage.perform(engine, Operation.STOP))
        stage.world.taken.add(9003)
        assert found(await stage.perform(engine, Operation.START)).port == 9004
        await stage.agrees()


async def test_ports_run_out_with_a_name(database_url: str) -> None:
    async with staged(database_url, orch_port_max=9002) as stage:
        await stage.provision("a")
        await stage.provision("b")
        with pytest.raises(SeptemberError, match="PORT_EXHAUSTION"):
            await stage.provision("c")
        assert await stage.value("SELECT count(*) FROM engines") == 2


async def test_an_unreachable_backend_forgets_nothing(database_url: str) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        stage.world.reachable = False
        refusal = await stage.perform(engine, Operation.STOP)
        assert isinstance(refusal, SeptemberError) and refusal.code == "BACKEND_UNAVAILABLE"
        assert await stage.status(engine) == "running"
        stage.world.reachable = True
        await stage.reconcile()
        assert await stage.status(engine) == "stopped"
        assert await stage.actions(engine) == ["provision", "stop"]
        await stage.agrees()


async def test_an_upgrade_goes_through_or_back(database_url: str, tmp_path: Path) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        stage.world.storage[engine.id] = "before"
        done = found(await stage.perform(engine, Operation.UPGRADE, next_image="e:2"))
        assert done.image == "e:2" and done.status is Status.RUNNING
        stage.world.bad_images.add("e:3")
        back = found(await stage.perform(engine, Operation.UPGRADE, next_image="e:3"))
        assert back.image == "e:2" and back.status is Status.RUNNING and back.next_image is None
        assert stage.world.storage[engine.id] == "before"
        assert stage.instance(engine).spec.image == "e:2"
        found(await stage.perform(engine, Operation.STOP))
        still = found(await stage.perform(engine, Operation.UPGRADE, next_image="e:4"))
        assert still.image == "e:4" and still.status is Status.STOPPED
        await stage.agrees()


async def test_what_goes_back_is_the_brain_of_just_now_not_that_of_an_exchange_that_failed(
    database_url: str,
) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        stage.world.storage[engine.id] = "before"
        stage.world.bad_images |= {"e:2", engine.image}  # it neither goes on nor back
        failed = await stage.perform(engine, Operation.UPGRADE, next_image="e:2")
        assert isinstance(failed, SeptemberError) and await stage.status(engine) == "failed"
        stage.world.bad_images.remove(engine.image)
        stage.instance(engine).answers = True
        found(await stage.perform(engine, Operation.START))
        stage.world.storage[engine.id] = "written since"
        back = found(await stage.perform(engine, Operation.UPGRADE, next_image="e:2"))
        assert (back.image, back.status) == (engine.image, Status.RUNNING)
        assert stage.world.storage[engine.id] == "written since"


async def test_operations_on_one_engine_wait_for_each_other(database_url: str) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        outcomes: list[object] = []

        async def do(operation: Operation) -> None:
            outcomes.append(await stage.perform(engine, operation))

        async with trio.open_nursery() as nursery:
            for operation in (Operation.STOP, Operation.ROTATE_KEY, Operation.START) * 3:
                nursery.start_soon(do, operation)
        assert len(outcomes) == 9
        await stage.agrees()


async def test_an_engine_that_says_it_is_degraded_is_well(database_url: str) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        stage.instance(engine).health = Health(status="degraded")
        await stage.probe(5)
        assert await stage.status(engine) == "running"


async def test_what_is_asked_of_an_engine_that_is_being_destroyed_finds_none(
    database_url: str,
) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        outcomes: list[object] = []

        async def do(operation: Operation) -> None:
            outcomes.append(await stage.perform(engine, operation))

        async with trio.open_nursery() as nursery:
            for operation in (Operation.DESTROY, *[Operation.STOP] * 5):
                nursery.start_soon(do, operation)
        heard = {one.code for one in outcomes if isinstance(one, SeptemberError)}
        assert heard <= {"ENGINE_NOT_FOUND", "ENGINE_NOT_RUNNING"}, "not that we are shutting down"
        assert await stage.status(engine) == "gone"
