"""A day of a fleet, in virtual time: users who come and go, and everything that can go wrong.

A failing day says its seed; SEPTEMBER_DAY_SEED repeats it as far as PostgreSQL's order of answers
allows, SEPTEMBER_DAY_USERS (50) makes it larger, SEPTEMBER_DAYS plays more than one.
"""

import os
from dataclasses import replace
from functools import partial
from random import Random
from typing import Final
from uuid import UUID

import pytest
import trio

from september.actors import Trace
from september.actors.testing import run_seeded
from september.config import FleetConfig
from september.fleet import discovery, registry
from september.fleet.instances import Product
from september.fleet.store.database import event_loop
from september.fleet.tree import Fleet, Pace, running_fleet
from september.traces import keeper
from september.traces.keeper import Flush

from .conftest import Postgres, fresh_database
from .day_checks import Checks
from .day_people import EVENING, OFFICE, Company, Operator, User
from .day_world import HOUR, MINUTE, DayBackend, DayClient, DayWorld
from .lineage import gaps
from .stage import a_product, settings
from .virtual import virtual_time

USERS: Final = int(os.environ.get("SEPTEMBER_DAY_USERS", "50"))
DAYS: Final = int(os.environ.get("SEPTEMBER_DAYS", "1"))
SEED: Final = int(os.environ.get("SEPTEMBER_DAY_SEED", "2026"))

HOURS: Final = 24
SLEEPS_AFTER: Final = 15 * MINUTE
LONGEST_SILENCE: Final = 15 * MINUTE
QUIET: Final = 40 * MINUTE
"""What is left to be done is done so long after the last user has gone."""

EVENTFUL: Final = {"die", "vanish", "stop", "hang", "stillborn", "silent", "came at a bad moment"}
"""What must have happened at least once: a quiet day shows nothing."""

RHYTHM: Final = Pace(healing=30, waking=120, heartbeat=600)


def of_a_day(url: str) -> FleetConfig:
    return replace(
        settings(url),
        orch_boot_timeout_s=60,
        orch_engine_image="e:1",
        orch_engine_image_allow=("e:2", "e:4", "bad:3"),
        orch_health_check_interval_s=3 * MINUTE,
        orch_health_check_timeout_s=10,
        orch_restart_backoff_base_s=5,
        orch_restart_backoff_max_s=300,
        orch_restart_max_attempts=8,
        orch_idle_sleep_threshold_s=int(SLEEPS_AFTER),
        orch_reconcile_interval_s=4 * MINUTE,
    )


class Day:
    """One day from midnight to midnight."""

    def __init__(self, seed: int, url: str) -> None:
        self.world = DayWorld(seed, SLEEPS_AFTER)
        self.world.world.bad_images.add("bad:3")
        self.backend = DayBackend(self.world)
        self.company = Company(self.world, HOURS, USERS)
        self.config = of_a_day(url)
        found = 4 * self.config.orch_health_check_interval_s
        self.checks = Checks(self.company, self.config, found, LONGEST_SILENCE + 10 * MINUTE)
        self.users = list[User]()
        self._lives = trio.Event()

    async def play(self) -> None:
        """Play it; `violations` of the world tell what was wrong."""
        ends = [5.5 * HOUR, 12.2 * HOUR, 16.1 * HOUR]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._everybody)
            for end in ends:
                await self._orchestrate(end)
                await trio.sleep(self.world.chance.uniform(5, 90))
            await self._orchestrate(HOURS * HOUR)
            nursery.cancel_scope.cancel()

    async def _orchestrate(self, until: float) -> None:
        """An orchestrator from now on; what it leaves undone the next one takes up."""
        backend, client, trace = self.backend, DayClient(self.world), Trace()
        pace = replace(RHYTHM, seed=self.world.seed)
        async with running_fleet(
            self.config, lambda _: backend, client, trace=trace, pace=pace
        ) as fleet:
            if not self._lives.is_set():
                self.users = await self._enrol(fleet)
                self._lives.set()
            self.company.fleet = fleet
            while trio.current_time() < until:
                hour = trio.current_time() // HOUR + 1
                await trio.sleep(min(until, hour * HOUR) - trio.current_time())
                if trio.current_time() == hour * HOUR:
                    await self.checks.hourly(fleet)
            if until == HOURS * HOUR:
                await self._end(fleet)
            self.company.fleet = None

    async def _end(self, fleet: Fleet) -> None:
        self._calm()
        await trio.sleep(QUIET)
        await self.checks.finally_(fleet)
        losses = await fleet.trace.call(Flush())
        if losses.overload or losses.store:
            self.world.blame(f"observations lost: {losses}")

    async def _enrol(self, fleet: Fleet) -> list[User]:
        office, evening = a_product(), a_product(max_engines=USERS // 3, rate_limit_rpm=12)
        for product in (office, evening):
            insert = partial(registry.insert_product, product=product, key_hash=product.slug)
            await fleet.resources.database.write(insert)
        return [self._user(number, office, evening) for number in range(USERS)]

    def _user(self, number: int, office: Product, evening: Product) -> User:
        if number % 2:
            return User(f"e{number}", evening, EVENING, self.company)
        return User(f"o{number}", office, OFFICE, self.company)

    async def _everybody(self) -> None:
        await self._lives.wait()
        self.world.poke = self._poke
        async with trio.open_nursery() as nursery:
            for user in self.users:
                nursery.start_soon(user.live)
            nursery.start_soon(Operator(self.company).work)
            nursery.start_soon(self._misfortunes)
            nursery.start_soon(self._silences)
            nursery.start_soon(self._curses)

    def _poke(self, engine_id: UUID) -> None:
        for user in self.users:
            if user.engine is not None and user.engine.id == engine_id:
                user.poke()

    async def _misfortunes(self) -> None:
        while not self.company.is_over:
            await trio.sleep(self.world.chance.expovariate(USERS / 60 / (10 * MINUTE)))
            self.world.wound(self.backend)

    async def _silences(self) -> None:
        """The backend does not answer for a while: at noon, and in the evening."""
        for hour in (10.3, 19.6):
            await trio.sleep(hour * HOUR - trio.current_time())
            lasts = self.world.chance.uniform(4 * MINUTE, LONGEST_SILENCE)
            self.world.world.reachable = False
            self.world.silent_until = trio.current_time() + lasts
            await trio.sleep(lasts)
            self.world.world.reachable = True

    async def _curses(self) -> None:
        """A few Engines do not come up any more, for hours."""
        await trio.sleep(9 * HOUR)
        running = self.world.running()
        self.world.cursed |= set(self.world.chance.sample(running, min(3, len(running))))
        for engine_id in self.world.cursed:
            self.backend.die(engine_id)
            self.world.lives[engine_id].booted = False
            self.world.lives[engine_id].wounded_at = trio.current_time()
        await trio.sleep(4 * HOUR)
        self.world.cursed.clear()

    def _calm(self) -> None:
        self.world.world.reachable, self.world.world.fault = True, None
        self.world.cursed.clear()


async def a_day(seed: int, postgres: Postgres) -> Day:
    """Play the day of this seed on a database of its own."""
    with virtual_time() as time:
        async with event_loop(), fresh_database(postgres) as url:
            await time.rule(url)
            day = Day(seed, url)
            await day.play()
            day.world.violations += await gaps(url)
    return day


@pytest.mark.timeout(0 if DAYS * USERS > 50 else 600)  # in real time, on a busy machine
@pytest.mark.parametrize("seed", range(SEED, SEED + DAYS))
def test_a_day_of_a_fleet(seed: int, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = Random(seed)
    monkeypatch.setattr(discovery, "uuid4", lambda: UUID(int=ids.getrandbits(128), version=4))
    monkeypatch.setattr(keeper, "TEND_EVERY_S", HOUR)  # each time all rows are summed up
    day = run_seeded(seed, partial(a_day, seed, postgres))
    happened, wrong = day.world.happened, day.world.violations
    story = f"seed {seed}: {day.company.admitted} admits, {day.company.refused}, {dict(happened)}"
    assert not wrong, "\n".join([story, f"{len(wrong)} violations:", *wrong[:25]])
    assert day.company.admitted > 5 * USERS, story
    assert EVENTFUL <= set(happened), story
