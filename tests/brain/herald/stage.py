"""A stage for gateway tests: Herald, and providers that play scripts, under a supervisor."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random

from september.actors import ActorRef, ChildSpec, Strategy, SupervisorSpec, Tree, running_tree
from september.actors.child import AnySpec
from september.brain.herald.budget import TurnBudget
from september.brain.herald.conversation import ChatMessage, TextBlock
from september.brain.herald.gateway import CallPolicy, Gateway, ModelCall, ModelPiece
from september.brain.herald.herald import Herald, HeraldMessage, HeraldPolicy
from september.brain.herald.provider import Provider
from september.brain.herald.provider_actor import (
    Inspect,
    ProviderActor,
    ProviderLimits,
    ProviderMessage,
    ProviderStatus,
)
from september.brain.herald.route import Models, Target
from september.brain.herald.scripted import ScriptedProvider
from september.brain.herald.scripted_rules import parse

MAIN = Target("scripted", "main-model")
OTHER = Target("openai", "other-model")

Rules = Sequence[Mapping[str, object]]


def provider(*rules: Mapping[str, object]) -> ScriptedProvider:
    """A scripted provider with these rules."""
    return ScriptedProvider(parse({"name": "test", "rule": list(rules)}, "test rules"))


def call(text: str = "hello") -> ModelCall:
    """A call with one user message."""
    return ModelCall(system=(), messages=(ChatMessage("user", (TextBlock(text),)),))


async def read(gateway: Gateway, wanted: ModelCall) -> list[ModelPiece]:
    """All pieces of one call."""
    async with gateway.stream(wanted) as pieces:
        return [piece async for piece in pieces]


@dataclass
class Stage:
    """What runs, and what to vary before it does."""

    main: Provider
    other: Provider | None = None
    policy: CallPolicy = field(default_factory=CallPolicy)
    limits: ProviderLimits = field(default_factory=ProviderLimits)
    quota: tuple[int, float] = (0, 0.0)
    budget: TurnBudget = field(default_factory=lambda: TurnBudget(1000, enabled=True))

    def __post_init__(self) -> None:
        self.models = Models(main=MAIN, fallback=OTHER if self.other else None)
        played: dict[str, Provider] = {"scripted": self.main} | (
            {"openai": self.other} if self.other else {}
        )
        self.providers: dict[str, ChildSpec[ProviderMessage]] = {
            name: ChildSpec(name, partial(self._provider_actor, name, play))
            for name, play in played.items()
        }
        self.herald: ChildSpec[HeraldMessage] = ChildSpec(
            "herald", lambda: Herald(HeraldPolicy(self.models, *self.quota))
        )
        self.tree: Tree

    def _provider_actor(self, name: str, play: Provider) -> ProviderActor:
        return ProviderActor(name, lambda: play, self.limits)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Gateway]:
        """Run it, with one gateway."""
        children: list[AnySpec] = [*self.providers.values(), self.herald]
        spec = SupervisorSpec("stage", tuple(children), strategy=Strategy.REST_FOR_ONE)
        async with running_tree(spec) as self.tree:
            yield self.gateway()

    def gateway(self) -> Gateway:
        """One more gateway, as another turn has it."""
        refs = {name: self.tree.ref(spec) for name, spec in self.providers.items()}
        herald = self.herald_ref
        return Gateway(herald, refs, self.models, self.policy, self.budget, Random(1))

    @property
    def herald_ref(self) -> ActorRef[HeraldMessage]:
        return self.tree.ref(self.herald)

    async def status(self, name: str = "scripted") -> ProviderStatus:
        """Where a provider stands."""
        return await self.tree.ref(self.providers[name]).call(Inspect())
