"""Discovery: finds a user's Engine, and is the only one that provisions or wakes it for that.

In this order (contract, section 18.4): rate limit, lookup, provision, wake, answer.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias, TypeVar, assert_never
from uuid import UUID, uuid4

import trio

from ..actors import Actor, ActorError, ActorRef, Later, Message, Reply
from ..config import FleetConfig
from ..errors import SeptemberError
from ..logs import get_logger
from . import audit, refusals, registry
from .instances import Engine, Operation, Product, Status
from .keys import Vault
from .managed import Awaken, Settle
from .membership import Standing
from .policy import CheckAdmit, PolicyMessage, read_policy
from .registry import NewEngine
from .roster import Roster
from .single_flight import SingleFlight
from .store.database import Database, Session, UniqueViolation

T = TypeVar("T")

_log = get_logger("september.fleet.discovery")

_GOING_DOWN: Final = frozenset(
    {Operation.SLEEP, Operation.STOP, Operation.UPGRADE, Operation.RESTORE}
)
"""While one of these is under way, a row that says `running` promises nothing."""

_REASON: Final = {
    Status.PROVISIONING: "engine_provisioning",
    Status.SLEEPING: "engine_sleeping",
    Status.STOPPED: "engine_stopped",
    Status.FAILED: "engine_unhealthy",
    Status.DESTROYING: "engine_destroying",
}


@dataclass(frozen=True, slots=True)
class Admission:
    """The Engine that the user may use now, or the reason why there is none."""

    engine: Engine | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A user's row, or that there is none, as it was read a moment ago."""

    engine: Engine | None


@dataclass(frozen=True, slots=True)
class Admit(Message[Admission | SeptemberError]):
    """Find the Engine of a user; make or wake it if that is wanted.

    `seen` spares a look, when whoever asks has looked.
    """

    product: Product
    user_id: str
    auto_provision: bool
    auto_wake: bool
    seen: Seen | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Provision(Message[Engine | SeptemberError]):
    """Make an Engine for a user who has none. `image` None is the configured one."""

    product: Product
    user_id: str
    image: str | None


DiscoveryMessage: TypeAlias = Admit | Provision


class Discovery(Actor[DiscoveryMessage]):
    """Admits beside its inbox; for one user, one provision or wake at a time."""

    def __init__(self, search: "Search") -> None:
        self._search = search

    async def started(self) -> None:
        self.beside(self._search.keep_noting)

    async def handle(self, msg: DiscoveryMessage) -> Reply | Later:
        match msg:
            case Admit() if answer := self._search.answer_at_once(msg):
                return msg.reply(answer)
            case Admit():
                return msg.reply_after(partial(_or_refusal, partial(self._search.admit, msg)))
            case Provision():
                return msg.reply_after(partial(_or_refusal, partial(self._search.provision, msg)))
            case _:
                assert_never(msg)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Makes rows of Engines, within quota and range of ports."""

    config: FleetConfig
    database: Database
    vault: Vault
    standing: Standing

    async def enrol(self, product: Product, user_id: str, image: str | None) -> Engine:
        """Add the row, with its intent to be provisioned.

        Raises ENGINE_ALREADY_EXISTS, QUOTA_EXCEEDED, POLICY_DENIED, PORT_EXHAUSTION.
        """
        image = image or self.config.orch_engine_image
        if image not in self.config.images:
            raise refusals.image_denied(image)
        key = self.vault.new_engine_key()
        new = NewEngine(uuid4(), product.id, user_id, image, key, product.slug)
        number = await self.standing.number()
        limit = read_policy(product.policy).max_engines
        ports = range(self.config.orch_port_min, self.config.orch_port_max + 1)

        async def work(session: Session) -> Engine:
            made = await registry.insert_engine(session, new, number, ports, limit)
            if made is None:
                raise refusals.quota_exceeded(limit or 0)
            return made

        try:
            return await self.database.write(work)
        except UniqueViolation as error:
            raise refusals.already_exists() from error


class Search:
    """The work of discovery, which many callers have done at once."""

    def __init__(
        self,
        enrolment: Enrolment,
        policy: ActorRef[PolicyMessage],
        roster: Roster,
    ) -> None:
        self._enrolment = enrolment
        self._database = enrolment.database
        self._policy = policy
        self._roster = roster
        self._flights = SingleFlight()
        self._used: set[UUID] = set()
        self._some_used = trio.Event()

    def answer_at_once(self, wish: Admit) -> Admission | None:
        """The answer where nothing is left to be asked or done: to most admits by far."""
        limited = wish.product.policy.get("rate_limit_rpm") is not None
        if limited or wish.seen is None or not self._is_settled(wish.seen.engine, wish):
            return None
        return self._answer(wish.seen.engine)

    async def admit(self, wish: Admit) -> Admission:
        """Answer an admit. Raises SeptemberError: RATE_LIMITED, QUOTA_EXCEEDED, or a failure."""
        product = wish.product
        try:
            await self._check_rate(product)
            seen = wish.seen
            engine = seen.engine if seen else await self._find(product, wish.user_id)
            if not self._is_settled(engine, wish):
                async with self._flights.alone((product.id, wish.user_id)):
                    engine = await self._seek(wish)
        except SeptemberError as refusal:
            await self._note_denial(wish, refusal)
            raise
        return self._answer(engine)

    async def provision(self, wish: Provision) -> Engine:
        """Make an Engine; returns when it is healthy. Raises SeptemberError."""
        made = await self._enrolment.enrol(wish.product, wish.user_id, wish.image)
        return _well(await self._roster.row(made.id, Settle()))

    async def keep_noting(self) -> None:
        """Write down which Engines were handed out, many at a time."""
        while True:
            await self._some_used.wait()
            await trio.sleep(registry.USE_NOTED_S)
            used, self._used, self._some_used = self._used, set(), trio.Event()
            try:
                await self._note_used(*used)
            except SeptemberError as error:
                _log.warning("uses not noted yet", why=error.message)
                self._hand_out(*used)

    def _is_settled(self, engine: Engine | None, wish: Admit) -> bool:
        """Whether nothing is to be done before the answer."""
        if engine is None:
            return not wish.auto_provision
        if engine.status is Status.SLEEPING:
            return not wish.auto_wake
        if engine.status is Status.PROVISIONING:
            return not wish.auto_provision
        return engine.status is not Status.RUNNING or engine.operation not in _GOING_DOWN

    async def _seek(self, wish: Admit) -> Engine | None:
        """Look again, now that nobody else does, and do what is left to be done."""
        engine = await self._find(wish.product, wish.user_id)
        if engine is None and wish.auto_provision:
            engine = await self._enrol(wish)
        if engine is None or self._is_settled(engine, wish):
            return engine
        if engine.operation is Operation.SLEEP:
            await self._note_used(engine.id)  # it is not too late, perhaps
        message = Awaken(wish.product.slug) if wish.auto_wake else Settle()
        return _well(await self._roster.row(engine.id, message))

    async def _enrol(self, wish: Admit) -> Engine | None:
        try:
            return await self._enrolment.enrol(wish.product, wish.user_id, None)
        except SeptemberError as refusal:
            if refusal.code != "ENGINE_ALREADY_EXISTS":
                raise
            return await self._find(wish.product, wish.user_id)  # another orchestrator was first

    async def _find(self, product: Product, user_id: str) -> Engine | None:
        find = partial(registry.engine_of, product=product.id, user_id=user_id)
        return await self._database.read(find)

    async def _note_used(self, *engine_ids: UUID) -> None:
        await self._database.write(partial(registry.note_used, engine_ids=engine_ids))

    def _answer(self, engine: Engine | None) -> Admission:
        if engine is None:
            return Admission(None, "engine_not_found")
        if engine.status is not Status.RUNNING:
            return Admission(None, _REASON[engine.status])
        self._hand_out(engine.id)
        return Admission(engine)

    def _hand_out(self, *engine_ids: UUID) -> None:
        self._used.update(engine_ids)
        self._some_used.set()

    async def _check_rate(self, product: Product) -> None:
        limit = read_policy(product.policy).rate_limit_rpm
        if limit is not None:
            refusal = await self._policy.call(CheckAdmit(product.id, limit))
            if refusal is not None:
                raise refusal

    async def _note_denial(self, wish: Admit, refusal: SeptemberError) -> None:
        """A refusal by policy is written down."""
        if refusal.code in ("RATE_LIMITED", "QUOTA_EXCEEDED"):
            entry = audit.Entry(
                "admit_denied",
                wish.product.slug,
                wish.product.id,
                wish.user_id,
                metadata={"code": refusal.code},
            )
            await self._database.write(partial(audit.record, entry=entry))


async def _or_refusal(work: Callable[[], Awaitable[T]]) -> T | SeptemberError:
    """A refusal is an answer, not a crash; nor is one Engine's crash that of all who ask."""
    try:
        return await work()
    except SeptemberError as refusal:
        return refusal
    except ActorError as error:
        _log.error("an Engine's actor failed", why=str(error))
        return refusals.actor_failed()


def _well(engine: Engine) -> Engine:
    """What was just started, if it came up. Raises what its failure was."""
    if engine.status is Status.FAILED:
        raise refusals.failed(engine)
    return engine
