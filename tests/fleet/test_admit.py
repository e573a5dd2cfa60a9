"""Admits: exact limits, one Engine for many at once, and every reason why there is none."""

from dataclasses import replace

import pytest
import trio

from september.errors import SeptemberError
from september.fleet.backends.backend import Presence
from september.fleet.discovery import Admission, Provision
from september.fleet.instances import Operation, Status

from .stage import Stage, a_product, found, staged


async def _all(stage: Stage, users: list[str], **wish: bool) -> list[Admission | SeptemberError]:
    answers: list[Admission | SeptemberError] = []

    async def one(user: str) -> None:
        answers.append(await stage.admit(user, **wish))

    async with trio.open_nursery() as nursery:
        for user in users:
            nursery.start_soon(one, user)
    return answers


async def test_200_admits_of_a_new_user_make_one_engine(database_url: str) -> None:
    async with staged(database_url) as stage:
        answers = await _all(stage, ["ada"] * 200, provision=True)
        ids = {
            answer.engine.id
            for answer in answers
            if isinstance(answer, Admission) and answer.engine
        }
        assert len(ids) == 1 and len(answers) == 200
        assert [verb for verb, _ in stage.world.calls] == ["create"]
        assert await stage.actions() == ["provision"]


async def test_200_admits_over_two_orchestrators_make_one_engine(database_url: str) -> None:
    async with staged(database_url) as one:
        async with staged(database_url, one.world, one.product) as two:
            answers: list[Admission | SeptemberError] = []

            async def half(stage: Stage) -> None:
                answers.extend(await _all(stage, ["ada"] * 100, provision=True))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(half, one)
                nursery.start_soon(half, two)
            ids = {a.engine.id for a in answers if isinstance(a, Admission) and a.engine}
            assert len(answers) == 200 and len(ids) == 1
            assert len(one.world.engines) == 1
            assert await one.actions() == ["provision"]


async def test_the_quota_is_exact_under_200_at_once(database_url: str) -> None:
    product = a_product(max_engines=7)
    async with staged(database_url) as stage:
        stage.product = replace(stage.product, policy=product.policy)
        answers = await _all(stage, [f"u{n}" for n in range(200)], provision=True)
        refused = [answer for answer in answers if isinstance(answer, SeptemberError)]
        assert {refusal.code for refusal in refused} == {"QUOTA_EXCEEDED"}
        assert len(refused) == 193
        assert refused[0].message == "Product at max_engines limit (7)." and refused[0].retry_after
        assert await stage.value("SELECT count(*) FROM engines") == 7
        assert await stage.value("SELECT count(*) FROM port_allocations") == 7
        assert (await stage.actions()).count("admit_denied") == 193


async def test_the_rate_limit_is_exact_under_200_at_once(database_url: str) -> None:
    async with staged(database_url) as stage:
        await stage.provision()
        stage.product = replace(stage.product, policy={"rate_limit_rpm": 50})
        answers = await _all(stage, ["ada"] * 200)
        refused = [answer for answer in answers if isinstance(answer, SeptemberError)]
        assert len(refused) == 150 and refused[0].code == "RATE_LIMITED"
        assert refused[0].retry_after is not None and 1 <= refused[0].retry_after <= 60


async def test_every_state_has_its_reason(database_url: str) -> None:
    async with staged(database_url) as stage:
        assert await stage.admit("nobody") == Admission(None, "engine_not_found")
        engine = await stage.provision()
        admitted = await stage.admit()
        assert isinstance(admitted, Admission) and admitted.engine is not None
        found(await stage.perform(engine, Operation.STOP))
        assert await stage.admit(wake=True) == Admission(None, "engine_stopped")
        for status, reason in (("sleeping", "sleeping"), ("failed", "unhealthy")):
            await stage.value("UPDATE engines SET status = $1 RETURNING 1", status)
            assert await stage.admit() == Admission(None, f"engine_{reason}")


async def test_200_admits_of_a_sleeper_wake_it_once(database_url: str) -> None:
    async with staged(database_url) as stage:
        engine = await stage.provision()
        found(await stage.perform(engine, Operation.SLEEP))
        answers = await _all(stage, ["ada"] * 200, wake=True)
        assert all(isinstance(a, Admission) and a.engine for a in answers)
        assert [verb for verb, _ in stage.world.calls] == ["create", "stop", "start"]
        assert await stage.actions(engine) == ["provision", "sleep", "wake"]


async def test_a_caller_that_leaves_does_not_stop_the_provision(database_url: str) -> None:
    async with staged(database_url) as stage:
        held = trio.Event()

        async def hold(verb: str, _: object) -> None:
            if verb == "create":
                await held.wait()

        stage.world.fault = hold
        with trio.move_on_after(0.3):
            await stage.fleet.discovery.call(Provision(stage.product, "ada", None))
        held.set()
        answer = await stage.admit(provision=True)
        assert isinstance(answer, Admission) and answer.engine is not None
        assert answer.engine.status is Status.RUNNING
        await stage.agrees()


async def test_a_failed_provision_is_told_to_its_caller(database_url: str) -> None:
    async with staged(database_url, orch_engine_image="no-such:1") as stage:
        stage.world.bad_images.add("no-such:1")
        answer = await stage.admit(provision=True)
        assert isinstance(answer, SeptemberError) and answer.code == "BACKEND_ERROR"
        with pytest.raises(SeptemberError, match="ENGINE_ALREADY_EXISTS"):
            await stage.provision()


async def test_a_fault_of_ours_in_one_engine_is_no_matter_for_the_others(
    database_url: str,
) -> None:
    async with staged(database_url) as stage:
        bad, good = await stage.provision("bad"), await stage.provision("good")

        async def bug(verb: str, engine_id: object) -> None:
            if engine_id == bad.id and verb in ("start", "status"):
                raise RuntimeError("a bug")

        for engine in (bad, good):
            found(await stage.perform(engine, Operation.SLEEP))
        stage.world.fault = bug
        answers = dict[str, Admission | SeptemberError]()

        async def wake(user: str) -> None:
            answers[user] = await stage.admit(user, wake=True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wake, "bad")
            nursery.start_soon(wake, "good")
        refusal, admission = answers["bad"], answers["good"]
        assert isinstance(refusal, SeptemberError) and refusal.code == "INTERNAL"
        assert isinstance(admission, Admission) and admission.engine is not None
        stage.instance(good).presence = Presence.STOPPED
        await stage.reconcile()
        assert stage.instance(good).presence is Presence.RUNNING
        calm = [one for one in stage.fleet.tree.snapshot() if one.path.count("/") == 1]
        assert {one.incarnation for one in calm} == {1}, "nobody but the Engine's actor restarted"
