"""What must hold on a simulated day: at the end of each hour, and when it is over."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final, cast
from uuid import UUID

import trio

from september.config import FleetConfig
from september.fleet import audit, registry
from september.fleet.idle import clock
from september.fleet.instances import MOVES, Engine, Operation, Status
from september.fleet.ledger import restart_delay
from september.fleet.store.database import Session
from september.fleet.tree import Fleet

from .day_people import Company
from .day_world import MINUTE

STILL: Final = (Status.RUNNING, Status.SLEEPING, Status.STOPPED)
_GRACE_S: Final = 2 * MINUTE
_UNMADE: Final[Container[Status | None]] = (None,)
_MAILBOX: Final = 16
_TASKS: Final = 60
_GOING: Final = 10
"""How many actors may have outlived their rows for a moment."""

_PAGE: Final = 1000


@dataclass
class Story:
    """An Engine's life as the audit log tells it: each step must be possible after the last."""

    status: Status | None = None
    attempts: int = 0
    failed_at: datetime | None = None
    well_since: datetime | None = None
    gave_up: bool = False
    told: list[str] = field(default_factory=list[str])


@dataclass
class Checks:
    """Looks at rows, the world, the audit log and the actors."""

    company: Company
    config: FleetConfig
    detected_within: float
    finished_within: float
    stories: dict[UUID, Story] = field(default_factory=dict[UUID, Story])
    read_to: int = 0

    async def hourly(self, fleet: Fleet) -> None:
        """What holds at any time."""
        day = self.company.day
        before = set(day.world.engines) | set(day.world.storage)
        rows = await fleet.resources.database.read(registry.engines)
        after = set(day.world.engines) | set(day.world.storage)
        for engine_id in (before & after) - {row.id for row in rows}:
            day.blame(f"instance or storage without a row: {engine_id}")
        if await fleet.resources.database.read(_ports_differ):
            day.blame("rows and ports differ")
        self._nothing_is_stuck(rows, await fleet.resources.database.read(clock))
        self._actors_are_few(fleet, len(rows))
        await self._read_on(fleet)
        await self._nothing_stays_wrong(fleet)

    async def finally_(self, fleet: Fleet) -> None:
        """What holds when all is quiet: rows, instances, storage, ports and audit log agree."""
        await self.hourly(fleet)
        day = self.company.day
        rows = {row.id: row for row in await fleet.resources.database.read(registry.engines)}
        told = {
            one: story.status for one, story in self.stories.items() if story.status is not None
        }
        if told != {row.id: row.status for row in rows.values()}:
            day.blame("the audit log ends otherwise than the rows")
        for row in rows.values():
            if row.operation is not None:
                day.blame(f"{row.id} is left with {row.operation}")
            if row.status in STILL and day.runs(row.id) != row.should_run:
                day.blame(f"{row.id} is {row.status}, its instance is not")
        if not set(day.world.storage) <= set(rows):
            day.blame("there is storage of no Engine")

    def _nothing_is_stuck(self, rows: list[Engine], now: datetime) -> None:
        limit = timedelta(seconds=self.finished_within)
        for row in rows:
            if row.operation_started_at is not None and now - row.operation_started_at > limit:
                began = f"{row.operation_started_at:%H:%M:%S}"
                self.company.day.blame(f"{row.operation} of {row.id} is stuck since {began}")

    def _actors_are_few(self, fleet: Fleet, rows: int) -> None:
        day, actors = self.company.day, fleet.tree.snapshot()
        tasks = trio.lowlevel.current_statistics().tasks_living
        if tasks > _TASKS + 3 * (rows + self.company.users):
            day.blame(f"{tasks} tasks for {rows} Engines")
        managed = sum("/engines/" in one.path for one in actors)
        if managed > rows + _GOING:
            day.blame(f"{managed} actors for {rows} Engines")
        deepest = max(actors, key=lambda one: one.mailbox_high_water)
        if deepest.mailbox_high_water > _MAILBOX:
            day.blame(f"{deepest.mailbox_high_water} messages before {deepest.path}")

    async def _nothing_stays_wrong(self, fleet: Fleet) -> None:
        """A row that differs from its instance is repaired, or else somebody has just broken it."""
        first = await self._wrong(fleet)
        await trio.sleep(_GRACE_S)
        for (engine_id, generation), what in (await self._wrong(fleet)).items():
            if (engine_id, generation) in first and not self._is_fresh(engine_id):
                self.company.day.blame(f"{engine_id} stays wrong: {what}")

    async def _wrong(self, fleet: Fleet) -> dict[tuple[UUID, int], str]:
        rows, day = await fleet.resources.database.read(registry.engines), self.company.day
        return {
            (row.id, row.generation): f"{row.status}, its instance is not"
            for row in rows
            if row.operation is None
            and row.status in STILL
            and (day.runs(row.id) != row.should_run or row.id not in day.world.storage)
        }

    def _is_fresh(self, engine_id: UUID) -> bool:
        wounded = self.company.day.lives[engine_id].wounded_at
        recent = wounded is not None and trio.current_time() - wounded < self.detected_within
        return recent or self.company.day.was_silent(self.detected_within)

    async def _read_on(self, fleet: Fleet) -> None:
        for one in await fleet.resources.database.read(partial(_entries, after=self.read_to)):
            self.read_to = one.id
            if one.entry.engine_id is not None and one.entry.action != "health_check":
                story = self.stories.setdefault(one.entry.engine_id, Story())
                story.told.append(f"{one.entry.started_at:%H:%M:%S} {one.entry.action}")
                for what in self._tell(story, one.entry):
                    self.company.day.blame(
                        f"audit of {one.entry.engine_id}: {what}: {', '.join(story.told[-6:])}"
                    )

    def _tell(self, story: Story, entry: audit.Entry) -> Iterator[str]:
        """Take the next entry into the story; says what cannot be."""
        match entry.action:
            case "health_failed":
                yield from _from(story, entry, {Status.RUNNING})
                self._fails(story, entry)
            case "auto_restart_start":
                yield from _from(story, entry, {Status.FAILED})
                yield from self._restarts(story, entry)
            case "auto_restart_gave_up":
                yield from _from(story, entry, {Status.FAILED})
                story.gave_up = True
            case "auto_restart_success" | "auto_restart_failed":
                yield from _from(story, entry, {Status.FAILED})
                self._ends(story, entry, Operation.RESTART, entry.action.endswith("failed"))
            case _:
                operation = Operation(entry.action)
                start = _UNMADE if operation is Operation.PROVISION else MOVES[operation].start
                yield from _from(story, entry, start)
                self._ends(story, entry, operation, entry.metadata.get("outcome") == "failed")

    def _ends(self, story: Story, entry: audit.Entry, operation: Operation, failed: bool) -> None:
        move = MOVES[operation]
        if failed and move.fails is None:
            return
        if failed:
            return self._fails(story, entry)
        if operation is Operation.DESTROY:
            story.status = None
            return
        before, story.status = story.status, move.to or story.status
        if story.status is Status.FAILED:
            story.status = Status.RUNNING
        if before is Status.RUNNING:
            self._forgive(story, _ended(entry))
        if story.status is Status.RUNNING:
            story.well_since = story.well_since or _ended(entry)
        else:
            story.well_since = None

    def _fails(self, story: Story, entry: audit.Entry) -> None:
        self._forgive(story, _ended(entry))
        story.status, story.failed_at, story.gave_up = Status.FAILED, _ended(entry), False
        story.well_since = None

    def _forgive(self, story: Story, now: datetime) -> None:
        """Restarts may have been forgiven to one that was well for long."""
        settled = timedelta(seconds=self.config.orch_restart_backoff_max_s)
        if story.well_since is not None and now - story.well_since > settled:
            story.attempts = 0

    def _restarts(self, story: Story, entry: audit.Entry) -> Iterator[str]:
        assert entry.started_at is not None
        if story.gave_up:
            yield "a restart after it was given up"
        waited = (entry.started_at - (story.failed_at or entry.started_at)).total_seconds()
        if story.attempts and waited < restart_delay(self.config, story.attempts) - 1:
            yield f"restart {story.attempts + 1} after only {waited:.1f} s"
        story.attempts += 1
        if story.attempts > self.config.orch_restart_max_attempts:
            yield f"restart {story.attempts} of {self.config.orch_restart_max_attempts}"


def _from(story: Story, entry: audit.Entry, start: Container[Status | None]) -> Iterator[str]:
    if story.status not in start and not (story.status is None and entry.action == "destroy"):
        yield f"{entry.action} when it was {story.status}"


def _ended(entry: audit.Entry) -> datetime:
    assert entry.started_at is not None
    return entry.started_at + timedelta(milliseconds=entry.duration_ms or 0)


async def _entries(session: Session, after: int) -> list[audit.Recorded]:
    """Entries in the order in which they were written."""
    found: list[audit.Recorded] = []
    before: int | None = None
    while True:
        page = await audit.entries(session, before=before, limit=_PAGE)
        found += [one for one in page if one.id > after]
        if len(page) < _PAGE or page[-1].id <= after:
            return sorted(found, key=lambda one: one.id)
        before = page[-1].id


async def _ports_differ(session: Session) -> bool:
    return cast(
        "bool",
        await session.value(
            "SELECT EXISTS (SELECT 1 FROM engines e FULL JOIN port_allocations a"
            " ON a.engine_id = e.id WHERE e.id IS NULL OR a.engine_id IS NULL)"
        ),
    )
