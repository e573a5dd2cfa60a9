"""Herald's subtree, from the settings."""

import pytest

from september.actors import Actor, ChildSpec, Message, Reply, SupervisorSpec, running_tree
from september.brain.herald.conversation import ChatMessage, TextBlock
from september.brain.herald.gateway import Gateway, ModelCall
from september.brain.herald.route import Target
from september.brain.herald.tree import HeraldSpecs, models_of
from september.config import EngineConfig, Secret
from september.errors import ConfigError

KEY = Secret("key")


class Ask(Message[str]):
    """Make a model call and embed something."""


class Asker(Actor[Ask]):
    """Lives in the same tree, as the coordinator does."""

    def __init__(self, specs: HeraldSpecs) -> None:
        self._gateway: Gateway = specs.gateway_opener()()
        self._embeddings = specs.embeddings()

    async def handle(self, msg: Ask) -> Reply:
        said = (ChatMessage("user", (TextBlock("What is love?"),)),)
        done = await self._gateway.complete(ModelCall(system=(), messages=said, role="light"))
        (vector,) = await self._embeddings.embed(["love"])
        assert len(vector) == 4 * self._embeddings.dimension
        return msg.reply(f"{done.provider} {self._embeddings.name}")


async def test_the_keyless_engine_calls_and_embeds() -> None:
    specs = HeraldSpecs(EngineConfig(llm_provider="scripted"))
    asker = ChildSpec("asker", lambda: Asker(specs))
    async with running_tree(SupervisorSpec("test", (specs.root, asker))) as tree:
        answer = await tree.ref(asker).call(Ask())
    assert answer == "scripted wordllama-l2-supercat-256/sif-1"


def test_a_bare_model_belongs_to_the_configured_provider() -> None:
    models = models_of(
        EngineConfig(
            llm_provider="anthropic",
            llm_model="big",
            light_model="small",
            fallback_model="openai:gpt-4o",
        )
    )
    assert models.main == Target("anthropic", "big")
    assert models.light == Target("anthropic", "small")
    assert models.fallback == Target("openai", "gpt-4o")
    assert models.planner is None


def test_there_is_an_actor_for_every_provider_with_a_key() -> None:
    config = EngineConfig(llm_provider="anthropic", llm_api_key=KEY, gemini_api_key=KEY)
    assert set(HeraldSpecs(config).providers) == {"anthropic", "gemini"}


def test_a_fallback_at_a_provider_without_a_key_stops_the_boot() -> None:
    config = EngineConfig(llm_provider="anthropic", llm_api_key=KEY, fallback_model="openai:gpt-4o")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        HeraldSpecs(config)


def test_openai_embeds_when_its_key_is_there_unless_told_otherwise() -> None:
    with_key = EngineConfig(llm_provider="scripted", openai_api_key=KEY)
    local = EngineConfig(llm_provider="scripted", openai_api_key=KEY, embedding_provider="local")
    assert HeraldSpecs(with_key).embedding_space == "openai:text-embedding-3-small:1536"
    assert HeraldSpecs(local).embedding_space.startswith("wordllama")
