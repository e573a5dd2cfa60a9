"""Herald: chooses the model for a call, keeps the token quota, and knows how calls are going."""

from typing import TypeAlias, assert_never

import trio
from msgspec import Struct

from ...actors import Actor, Message, Reply
from ..channels.events import CacheHitRatioAlert
from .cache_monitor import CacheMonitor, CachePolicy
from .conversation import TokenUsage
from .models import SCRIPTED
from .provider import Fault
from .quota import QuotaWindow
from .retry import is_providers_own
from .route import Models, Role, Target


class HeraldPolicy(Struct, frozen=True):
    """`quota_tokens` per `quota_window_s` seconds (0: none); `cache` None turns the monitor off."""

    models: Models
    quota_tokens: int = 0
    quota_window_s: float = 0.0
    cache: CachePolicy | None = None


class Route(Struct, frozen=True):
    """The targets to try, in order."""

    targets: tuple[Target, ...]


class QuotaUsedUp(Struct, frozen=True):
    """No call before `retry_after` seconds: `used` of `limit` tokens are spent."""

    used: int
    limit: int
    retry_after: float


class LlmHealth(Struct, frozen=True):
    """Whether the last model call that says something about a provider succeeded.

    `fault` and `target` say why not; `cache_hit_ratio` is None before anything could be cached.
    """

    ok: bool
    fault: Fault | None = None
    target: Target | None = None
    cache_hit_ratio: float | None = None
    quota_used: int = 0


class ChooseRoute(Message[Route | QuotaUsedUp], Struct, frozen=True):
    """Ask who answers a call of this role; `model` is one an agent names itself."""

    role: Role
    model: str | None = None


class RecordUsage(Message[CacheHitRatioAlert | None], Struct, frozen=True):
    """A call succeeded. The answer is an alert to pass on, if there is one."""

    target: Target
    usage: TokenUsage


class RecordFailure(Message[None], Struct, frozen=True):
    """An attempt failed."""

    target: Target
    fault: Fault


class GetHealth(Message[LlmHealth], Struct, frozen=True):
    """Ask how model calls are going."""


HeraldMessage: TypeAlias = ChooseRoute | RecordUsage | RecordFailure | GetHealth


class Herald(Actor[HeraldMessage]):
    """What all turns share about model calls, apart from the providers themselves."""

    replayable = True

    def __init__(self, policy: HeraldPolicy) -> None:
        self._models = policy.models
        self._quota = QuotaWindow(policy.quota_tokens, policy.quota_window_s)
        self._cache = CacheMonitor(policy.cache) if policy.cache else None
        self._failure: RecordFailure | None = None

    async def handle(self, msg: HeraldMessage) -> Reply:
        match msg:
            case ChooseRoute(role, model):
                return msg.reply(self._choose(role, model))
            case RecordUsage(target, usage):
                return msg.reply(self._record(target, usage))
            case RecordFailure(_, fault):
                if is_providers_own(fault):
                    self._failure = msg
                return msg.done()
            case GetHealth():
                return msg.reply(self._health())
            case _:
                assert_never(msg)

    def _choose(self, role: Role, model: str | None) -> Route | QuotaUsedUp:
        now = trio.current_time()
        retry_after = self._quota.retry_after(now)
        if retry_after is not None:
            return QuotaUsedUp(self._quota.used(now), self._quota.limit, retry_after)
        return Route(self._models.route(role, model))

    def _record(self, target: Target, usage: TokenUsage) -> CacheHitRatioAlert | None:
        self._failure = None
        self._quota.charge(usage.input_tokens + usage.output_tokens, trio.current_time())
        if self._cache is None or target.provider == SCRIPTED:
            return None
        return self._cache.record(usage)

    def _health(self) -> LlmHealth:
        failure = self._failure
        return LlmHealth(
            ok=failure is None,
            fault=failure.fault if failure else None,
            target=failure.target if failure else None,
            cache_hit_ratio=self._cache.ratio if self._cache else None,
            quota_used=self._quota.used(trio.current_time()),
        )
