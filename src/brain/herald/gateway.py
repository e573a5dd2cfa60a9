"""The way from a turn to a model: route, permit, stream, retry, fall back, count.

Everything that can be tried again happens while the stream is being opened: the context of
`Gateway.stream` is entered once there is something to show. From then on a failure is final,
because what the user has seen cannot be taken back.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from random import Random
from uuid import uuid4

import trio
from msgspec import Struct, field

from ...actors import ActorError, ActorRef, work_span
from ...errors import SeptemberError
from ..channels.events import CacheHitRatioAlert, JsonObject
from .attachments import Attachments, LeftOut, NoAttachments
from .budget import TurnBudget
from .conversation import ChatMessage, Finished, ModelRequest, SystemPart, TokenUsage, ToolDef
from .failures import Attempt, BreakerOpen, explain, not_configured, quota_used_up
from .herald import ChooseRoute, HeraldMessage, QuotaUsedUp, RecordFailure, RecordUsage
from .model_stream import Completed as Completed
from .model_stream import ModelPiece as ModelPiece
from .model_stream import ModelStream
from .models import cost_usd, window
from .provider import Fault, Provider, ProviderError
from .provider_actor import Acquire, Failed, Finish, Permit, ProviderMessage
from .retry import GiveUp, RetryPolicy, decide
from .route import Models, Role, Target

_RECORD_WITHIN_S = 1.0
"""Seconds that counting a finished call may take if Herald is just being restarted."""


class ModelCall(Struct, frozen=True, kw_only=True):
    """One model call as a turn sees it: what to say, and to which role or model.

    `model` (`model` or `provider:model`) wins over `role`. `max_tokens` None means MAX_TOKENS.
    """

    system: tuple[SystemPart, ...]
    messages: tuple[ChatMessage, ...]
    role: Role = "main"
    model: str | None = None
    tools: tuple[ToolDef, ...] = ()
    max_tokens: int | None = None
    thinking: bool = False
    response_schema: JsonObject | None = None
    cache: bool = True

    def request(self, model: str, max_tokens: int) -> ModelRequest:
        """The same call in the words of the provider contract."""
        return ModelRequest(
            model=model,
            system=self.system,
            messages=self.messages,
            tools=self.tools,
            max_tokens=self.max_tokens or max_tokens,
            thinking=self.thinking,
            response_schema=self.response_schema,
            cache=self.cache,
        )


class CallPolicy(Struct, frozen=True, kw_only=True):
    """Limits of every call. Times are in seconds.

    `retry` holds for the last target of a route; before a fallback there is less patience.
    """

    max_tokens: int = 4096
    idle_s: float = 60.0
    total_s: float = 600.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    retry_before_fallback: RetryPolicy = field(
        default_factory=lambda: RetryPolicy(attempts=3, longest_wait_s=5.0)
    )


class Gateway:
    """Model calls for one turn. Several tasks of the turn may use it at once.

    `budget` counts the turn's output; ask it `may_continue` after a `max_tokens` stop.
    """

    def __init__(
        self,
        herald: ActorRef[HeraldMessage],
        providers: Mapping[str, ActorRef[ProviderMessage]],
        models: Models,
        policy: CallPolicy,
        budget: TurnBudget,
        random: Random | None = None,
        attachments: Attachments | None = None,
    ) -> None:
        self._herald = herald
        self._providers = providers
        self._models = models
        self._policy = policy
        self._random = random or Random()
        self._attachments = attachments or NoAttachments()
        self.budget = budget

    def window(self, role: Role = "main", model: str | None = None) -> int:
        """Context window, in tokens, of the model that would answer."""
        return self._models.window(role, model)

    def target(self, role: Role = "main", model: str | None = None) -> Target:
        """The model that is asked first."""
        return self._models.target(role, model)

    @asynccontextmanager
    async def stream(self, call: ModelCall) -> AsyncGenerator[AsyncIterator[ModelPiece]]:
        """Open a model call; the pieces end with `Completed`, and leaving closes the connection.

        Entering and reading raise SeptemberError: LLM_RATE_LIMITED (with retry_after),
        LLM_TIMEOUT, LLM_PROVIDER_ERROR or CONTEXT_OVERFLOW.
        """
        async with AsyncExitStack() as stack:
            yield await self._open(call, stack)

    async def complete(self, call: ModelCall) -> Completed:
        """Make a call and return only its end. Raises what `stream` raises."""
        async with self.stream(call) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completed):
                    return piece
        raise AssertionError("a model stream ends with Completed or raises")

    async def _open(self, call: ModelCall, stack: AsyncExitStack) -> ModelStream:
        """Try the route's targets until one has something to show."""
        failed: list[Attempt] = []
        targets = await self._route(call)
        for target in targets:
            last = target is targets[-1]
            policy = self._policy.retry if last else self._policy.retry_before_fallback
            stream = await self._try(call, target, policy, failed, stack)
            if stream is not None:
                return stream
            if failed[-1].fault is Fault.CONTEXT_OVERFLOW:
                break
        raise explain(failed)

    async def _try(
        self,
        call: ModelCall,
        target: Target,
        policy: RetryPolicy,
        failed: list[Attempt],
        stack: AsyncExitStack,
    ) -> ModelStream | None:
        """Try one target as often as `policy` allows; None when it failed for good."""
        stripped = False
        for attempt in range(1, policy.attempts + 1):
            try:
                return await stack.enter_async_context(self._attempt(call, target, failed))
            except ProviderError as error:
                failure = error
            failed.append(Attempt.of(target, failure))
            if isinstance(failure, BreakerOpen):
                return None
            if not stripped and await self._can_strip(call, target, failure):
                stripped = True
                continue
            left_s = trio.current_effective_deadline() - trio.current_time()
            decision = decide(policy, failure, attempt, left_s, self._random)
            if isinstance(decision, GiveUp):
                return None
            await trio.sleep(decision.seconds)
        return None

    async def _can_strip(self, call: ModelCall, target: Target, failure: ProviderError) -> bool:
        """Whether media are to blame for a refusal and the call can be made without them."""
        if failure.fault is not Fault.REJECTED:
            return False
        request = call.request(target.model, self._policy.max_tokens)
        return await self._attachments.refused(request, target.provider, failure.message)

    async def _route(self, call: ModelCall) -> tuple[Target, ...]:
        route = await self._herald.call(ChooseRoute(call.role, call.model))
        if isinstance(route, QuotaUsedUp):
            raise quota_used_up(route.used, route.limit, route.retry_after)
        if route.targets[0].provider not in self._providers:
            raise not_configured(route.targets[0])
        return route.targets

    @asynccontextmanager
    async def _attempt(
        self, call: ModelCall, target: Target, failed: list[Attempt]
    ) -> AsyncGenerator[ModelStream]:
        """One permit, one stream. The permit goes back whatever happens."""
        provider = self._providers[target.provider]
        ticket = uuid4().hex
        left_out: list[LeftOut] = []
        stream = self._new_stream(target, failed, left_out)
        with work_span(f"attempt {target.provider}", target) as span:
            try:
                client = await self._permit(provider, ticket, target)
                request = call.request(target.model, self._policy.max_tokens)
                prepared = await self._attachments.prepare(request, target.provider)
                left_out.extend(prepared.left_out)
                shown = False
                with stream.guard:
                    async with client.stream(prepared.request) as live:
                        await stream.open(live)
                        shown = True
                        yield stream
                if stream.guard.cancelled_caught:
                    late = stream.timed_out()
                    raise stream.final(late) if shown else late
            except ProviderError as failure:
                stream.outcome = Failed(failure.fault, failure.retry_after)
                span.detail = str(failure)
                self._herald.cast(RecordFailure(target, failure.fault))
                raise
            finally:
                if isinstance(stream.outcome, Failed):
                    span.outcome = stream.outcome.fault.value
                provider.cast(Finish(ticket, stream.outcome))

    async def _permit(
        self, provider: ActorRef[ProviderMessage], ticket: str, target: Target
    ) -> Provider:
        try:
            answer = await provider.call(Acquire(ticket))
        except ActorError as error:
            message = f"its actor is down ({error})"
            raise ProviderError(Fault.UNAVAILABLE, message, provider=target.provider) from error
        if isinstance(answer, Permit):
            return answer.provider
        if answer.fault is Fault.UNAVAILABLE:
            raise BreakerOpen(target.provider, answer.retry_after)
        raise ProviderError(
            answer.fault,
            "asked for a pause",
            provider=target.provider,
            retry_after=answer.retry_after,
        )

    def _new_stream(
        self, target: Target, failed: list[Attempt], left_out: list[LeftOut]
    ) -> ModelStream:
        async def complete(finished: Finished) -> Completed:
            return await self._completed(finished, target, tuple(failed), tuple(left_out))

        def final(failure: ProviderError) -> SeptemberError:
            self._herald.cast(RecordFailure(target, failure.fault))
            return explain([*failed, Attempt.of(target, failure)], partial=True)

        until = trio.current_time() + self._policy.total_s
        return ModelStream(target.provider, self._policy.idle_s, until, complete, final)

    async def _completed(
        self,
        finished: Finished,
        target: Target,
        failed: tuple[Attempt, ...],
        left_out: tuple[LeftOut, ...],
    ) -> Completed:
        self.budget.spend(finished.usage.output_tokens)
        return Completed(
            finished.message,
            finished.stop_reason,
            finished.usage,
            finished.model,
            provider=target.provider,
            cost_usd=cost_usd(target.provider, target.model, finished.usage),
            context_window=window(target.model, self._models.window_override),
            attempts=failed,
            cache_alert=await self._record(target, finished.usage),
            left_out=left_out,
        )

    async def _record(self, target: Target, usage: TokenUsage) -> CacheHitRatioAlert | None:
        """Count the call even if the turn is being cancelled: the tokens are spent."""
        record = RecordUsage(target, usage)
        alert = None
        with trio.CancelScope(shield=True), suppress(ActorError):
            alert = await self._herald.call(record, timeout=_RECORD_WITHIN_S)
        return alert
