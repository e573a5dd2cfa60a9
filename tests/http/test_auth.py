"""The Engine's key: checked first, rotated while running, and remembered after a restart."""

import hashlib

import pytest
import trio

from september.errors import SeptemberError
from september.http.auth import KeyRing, Standing
from september.http.endpoint import HttpSettings
from september.http.port import KeyState

from .conftest import KEY_HASH, Served, serving
from .fake_engine import FakeEngine


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ring(clock: Clock, key: str = "one") -> KeyRing:
    return KeyRing.restore(hashed(key), None, clock)


def test_only_the_right_key_is_current() -> None:
    keys = ring(Clock())
    assert keys.check(b"one") is Standing.CURRENT
    assert keys.check(b"") is Standing.UNKNOWN
    assert keys.check(hashed("one").encode()) is Standing.UNKNOWN


def test_a_rotated_key_overlaps_then_is_retired_then_unknown() -> None:
    clock = Clock()
    keys = ring(clock)
    keys.adopt(keys.rotated(hashed("two"), 60))
    seen: list[Standing] = []
    for clock.now in (1000.0, 1059.9, 1060.0, 1119.9, 1120.0):
        assert keys.check(b"two") is Standing.CURRENT
        seen.append(keys.check(b"one"))
    assert seen == [
        Standing.OVERLAPPING,
        Standing.OVERLAPPING,
        Standing.RETIRED,
        Standing.RETIRED,
        Standing.UNKNOWN,
    ]


def test_without_overlap_the_old_key_is_unknown_at_once() -> None:
    keys = ring(Clock())
    keys.adopt(keys.rotated(hashed("two"), 0))
    assert keys.check(b"one") is Standing.UNKNOWN


def test_all_keys_rotated_within_their_overlap_work() -> None:
    keys = ring(Clock())
    keys.adopt(keys.rotated(hashed("two"), 60))
    keys.adopt(keys.rotated(hashed("three"), 60))
    assert keys.check(b"one") is keys.check(b"two") is Standing.OVERLAPPING


def test_a_key_that_comes_back_is_current_again() -> None:
    keys = ring(Clock())
    keys.adopt(keys.rotated(hashed("two"), 60))
    keys.adopt(keys.rotated(hashed("one"), 60))
    assert keys.check(b"one") is Standing.CURRENT


def test_a_rotation_survives_a_restart_until_the_environment_changes() -> None:
    clock = Clock()
    saved = ring(clock).rotated(hashed("two"), 60)
    again = KeyRing.restore(hashed("one"), saved, clock)
    assert again.check(b"two") is Standing.CURRENT
    assert again.check(b"one") is Standing.OVERLAPPING
    changed = KeyRing.restore(hashed("three"), saved, clock)
    assert changed.check(b"three") is Standing.CURRENT
    assert changed.check(b"two") is Standing.UNKNOWN


async def rotate(
    served: Served, key: str, to: str, overlap: float
) -> tuple[int, dict[str, object]]:
    async with served.client(key) as client:
        body = {"key_hash": hashed(to).upper(), "overlap_seconds": overlap}
        response = await client.post("/admin/rotate-key", json=body)
        return response.status_code, response.json()


async def status_with(served: Served, key: str) -> object:
    async with served.client(key) as client:
        response = await client.get("/agents")
        return response.json()["error"] if response.status_code != 200 else 200


async def test_a_running_engine_rotates_its_key() -> None:
    clock = Clock()
    async with serving(clock=clock) as served:
        answer = await rotate(served, "test-key", "new", 60)
        assert answer == (200, {"status": "rotated", "overlap_seconds": 60.0})
        assert served.engine.saved[-1].current == hashed("new")
        assert await status_with(served, "new") == 200
        assert await status_with(served, "test-key") == 200
        clock.now += 61
        assert await status_with(served, "test-key") == "KEY_ROTATION_PENDING"
        clock.now += 61
        assert await status_with(served, "test-key") == "INVALID_KEY"
        assert await status_with(served, "new") == 200


async def test_the_overlap_is_kept_within_its_limits() -> None:
    settings = HttpSettings(min_overlap_seconds=5, max_overlap_seconds=10)
    async with serving(settings=settings) as served:
        assert (await rotate(served, "test-key", "a", 999))[1]["overlap_seconds"] == 10
        assert (await rotate(served, "a", "b", 0))[1]["overlap_seconds"] == 5


async def test_repeating_a_rotation_with_the_old_key_changes_nothing(served: Served) -> None:
    await rotate(served, "test-key", "new", 60)
    assert (await rotate(served, "test-key", "new", 60))[0] == 200
    assert len(served.engine.saved) == 1


async def test_an_old_key_cannot_rotate_to_another(served: Served) -> None:
    await rotate(served, "test-key", "new", 60)
    status, body = await rotate(served, "test-key", "evil", 60)
    assert (status, body["error"]) == (401, "KEY_ROTATION_PENDING")
    assert await status_with(served, "new") == 200


async def test_of_two_rotations_at_once_with_one_key_only_one_happens(served: Served) -> None:
    statuses: list[int] = []

    async def attempt(to: str) -> None:
        statuses.append((await rotate(served, "test-key", to, 60))[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, "a")
        nursery.start_soon(attempt, "b")
    assert sorted(statuses) == [200, 401]
    assert len(served.engine.saved) == 1


async def test_a_rotation_that_cannot_be_kept_does_not_happen() -> None:
    engine = FakeEngine(refusal=SeptemberError("INTERNAL", "disk full"))
    async with serving(engine) as served:
        assert (await rotate(served, "test-key", "new", 60))[0] == 500
        assert await status_with(served, "new") == "INVALID_KEY"
        assert await status_with(served, "test-key") == 200


@pytest.mark.parametrize("key_hash", ["", "abc", "g" * 64, KEY_HASH + "0"])
async def test_a_hash_that_is_none_is_refused(served: Served, key_hash: str) -> None:
    async with served.client() as client:
        response = await client.post("/admin/rotate-key", json={"key_hash": key_hash})
    assert response.status_code == 422


def test_saved_keys_hold_no_key() -> None:
    state = ring(Clock(), "one").rotated(hashed("two"), 60)
    assert isinstance(state, KeyState)
    assert state.current == hashed("two")
    assert state.retired[0].key_hash == hashed("one")
