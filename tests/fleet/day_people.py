"""The people of a simulated day: users who come and go, and an operator who rolls things out."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

import trio

from september.actors import ActorError
from september.errors import SeptemberError
from september.fleet import registry
from september.fleet.discovery import Admission, Admit
from september.fleet.instances import Engine, Operation, Product, Status
from september.fleet.keys import sha256_of
from september.fleet.managed import Perform
from september.fleet.tree import Fleet

from .day_world import HOUR, MINUTE, DayWorld

OFFICE: Final = (0, 0, 0, 0, 0, 0, 1, 3, 8, 9, 9, 8, 5, 7, 9, 9, 8, 6, 3, 2, 1, 1, 0, 0)
EVENING: Final = (3, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 1, 1, 2, 4, 7, 9, 9, 9, 8, 5)
"""How many of a product's users come in each hour of the day, in proportion."""

REFUSALS: Final = {
    "BACKEND_ERROR",
    "BACKEND_UNAVAILABLE",
    "BOOT_TIMEOUT",
    "ENGINE_NOT_FOUND",
    "ENGINE_NOT_RUNNING",
    "ENGINE_ALREADY_RUNNING",
    "QUOTA_EXCEEDED",
    "RATE_LIMITED",
    "UNHEALTHY",
}
"""What people may hear on such a day. Nothing of it is a fault of ours, as DATABASE_UNAVAILABLE,
INTERNAL or ENGINE_BUSY would be."""

_AWAY: Final = 2.0
"""Seconds after which somebody tries again who found no orchestrator."""


@dataclass
class Company:
    """What people share: the world, and the orchestrator that there is just now, if any."""

    day: DayWorld
    hours: float
    users: int = 0
    fleet: Fleet | None = None
    refused: dict[str, int] = field(default_factory=dict[str, int])
    admitted: int = 0

    @property
    def is_over(self) -> bool:
        return trio.current_time() >= self.hours * HOUR

    async def ask(self, question: Callable[[Fleet], Awaitable[object]]) -> object:
        """Ask the orchestrator; one that goes away is asked again when it is back."""
        while True:
            if self.fleet is not None:
                try:
                    return await question(self.fleet)
                except ActorError:
                    self.day.happened["orchestrator away"] += 1
            await trio.sleep(_AWAY)

    def hear(self, answer: object) -> bool:
        """Note a refusal; False if it was none."""
        if not isinstance(answer, SeptemberError):
            return False
        self.refused[answer.code] = self.refused.get(answer.code, 0) + 1
        if answer.code not in REFUSALS:
            self.day.blame(f"nobody should hear {answer}")
        if answer.code == "BACKEND_UNAVAILABLE" and not self.day.was_silent(5 * MINUTE):
            self.day.happened["unavailable by chance"] += 1
        return True

    async def perform(self, engine: Engine, operation: Operation, **wanted: object) -> object:
        """Have something done on purpose, so that nobody wonders why the Engine is down."""
        self.day.meant.add(engine.id)
        message = Perform(operation, "somebody", wanted)
        answer = await self.ask(lambda fleet: fleet.roster.outcome(engine.id, message))
        self.day.meant.discard(engine.id)
        self.hear(answer)
        return answer


class User:
    """Comes a few times a day; each time asks for the Engine again and again, and uses it."""

    def __init__(self, name: str, product: Product, rhythm: tuple[int, ...], at: Company) -> None:
        self._name = name
        self._product = product
        self._rhythm = rhythm
        self._company = at
        self._day = at.day
        self._chance = Random(f"{at.day.seed} {name}")
        self._written = 0
        self._poked = trio.Event()
        self.engine: Engine | None = None

    async def live(self) -> None:
        """Come and go until the day is over."""
        visits = sorted(self._visit() for _ in range(self._chance.choice((1, 2, 2, 3, 4))))
        for begins in visits:
            await self._wait(begins * HOUR - trio.current_time())
            for _ in range(self._chance.randint(2, 12)):
                if self._company.is_over:
                    return
                await self._request()
                await self._wait(self._chance.expovariate(1 / (4 * MINUTE)))
            await self._leave()

    def poke(self) -> None:
        """Be reminded."""
        if self._chance.random() < 0.15:
            self._poked.set()

    async def _wait(self, seconds: float) -> None:
        """Wait; who is reminded comes back in between."""
        with trio.move_on_after(max(0.0, seconds)):
            while True:
                await self._poked.wait()
                await trio.sleep(self._chance.uniform(0, 3))
                self._day.happened["came at a bad moment"] += 1
                with trio.CancelScope(shield=True):
                    await self._request()
                self._poked = trio.Event()

    def _visit(self) -> float:
        hour = self._chance.choices(range(24), self._rhythm)[0]
        return hour + self._chance.random()

    async def _request(self) -> None:
        """Ask for the Engine; what is handed out must be there, and work."""
        wish = Admit(self._product, self._name, True, True)
        answer = await self._company.ask(lambda fleet: fleet.discovery.call(wish))
        if self._company.hear(answer):
            return
        assert isinstance(answer, Admission)
        if answer.engine is None:
            if answer.reason == "engine_stopped" and self.engine is not None:
                await self._company.perform(self.engine, Operation.START)
            self._day.happened[f"not admitted: {answer.reason}"] += 1
            return
        self._company.admitted += 1
        self.engine = answer.engine
        await trio.sleep(self._chance.uniform(0.01, 1.5))
        if not self._day.is_excused(answer.engine.id):
            await self._use(answer.engine)

    async def _use(self, engine: Engine) -> None:
        day, life = self._day, self._day.lives[engine.id]
        if not day.runs(engine.id):
            return day.blame(f"{self._name} was admitted to {engine.id}, which does not run")
        if trio.current_time() < life.ready_at:
            return day.blame(f"{self._name} was admitted to {engine.id}, which is not up")
        self._check(engine)
        life.turns += 1
        await trio.sleep(self._chance.uniform(1, 40))
        life.turns -= 1
        life.last_turn = trio.current_time()
        if day.runs(engine.id) and not day.is_excused(engine.id):
            self._written += 1
            day.world.storage[engine.id] = f"{self._name} {self._written}"

    def _check(self, engine: Engine) -> None:
        """The key must be the Engine's, and the brain as it was left."""
        day, company = self._day, self._company
        assert company.fleet is not None
        key = company.fleet.resources.vault.open(engine.engine_key_enc)
        if sha256_of(key) != day.world.engines[engine.id].key_hash:
            day.blame(f"{self._name} was given a key that {engine.id} does not know")
        kept = f"{self._name} {self._written}" if self._written else ""
        if day.world.storage[engine.id] != kept:
            day.blame(f"{engine.id} has {day.world.storage[engine.id]!r} instead of {kept!r}")

    async def _leave(self) -> None:
        """Most just go; some tidy up."""
        engine, drawn = self.engine, self._chance.random()
        if engine is None or drawn > 0.06:
            return
        if drawn > 0.03:
            await self._company.perform(engine, Operation.STOP)
        else:
            gone = await self._company.perform(engine, Operation.DESTROY)
            if gone is None:
                self._written, self.engine = 0, None


class Operator:
    """Rolls out images, good and bad ones, has keys rotated, and starts what has given up."""

    def __init__(self, company: Company) -> None:
        self._company = company

    async def work(self) -> None:
        """The operator's day."""
        for hour, deed in (
            (9.5, self._start_failed),
            (11, partial(self._upgrade, "e:2", 1.0)),
            (13, self._rotate),
            (14, self._start_failed),
            (15, partial(self._upgrade, "bad:3", 0.1)),
            (17, self._start_failed),
            (19, partial(self._upgrade, "e:4", 0.5)),
            (22, self._start_failed),
        ):
            await trio.sleep(hour * HOUR - trio.current_time())
            await deed()

    async def _start_failed(self) -> None:
        failed = [one for one in await self._rows() if one.status is Status.FAILED]
        given_up = [one for one in failed if one.next_restart_at is None]
        await self._each(given_up, partial(self._company.perform, operation=Operation.START))

    async def _upgrade(self, image: str, share: float) -> None:
        rows = await self._rows()
        chosen = self._company.day.chance.sample(rows, round(share * len(rows)))
        do = partial(self._company.perform, operation=Operation.UPGRADE, next_image=image)
        await self._each(chosen, do)

    async def _rotate(self) -> None:
        running = [one for one in await self._rows() if one.status is Status.RUNNING]
        await self._each(running, partial(self._company.perform, operation=Operation.ROTATE_KEY))

    async def _rows(self) -> list[Engine]:
        rows: list[Engine] = []

        async def look(fleet: Fleet) -> None:
            rows[:] = await fleet.resources.database.read(registry.engines)

        await self._company.ask(look)
        return rows

    async def _each(self, engines: list[Engine], do: Callable[[Engine], Awaitable[object]]) -> None:
        limit = trio.CapacityLimiter(10)

        async def one(engine: Engine) -> None:
            async with limit:
                await do(engine)

        async with trio.open_nursery() as nursery:
            for engine in engines:
                nursery.start_soon(one, engine)
