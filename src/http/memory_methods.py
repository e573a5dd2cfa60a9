"""The methods `memory.<operation>` of POST /rpc: what each takes and does."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from ..brain.clock import EARLIEST_MS, LATEST_MS
from ..errors import SeptemberError
from .endpoint import Exchange
from .memory_port import NewEdge, NewEpisode, NewFact, NewNode
from .wire import Input

InputT = TypeVar("InputT", bound=Input)

SECONDS_BELOW: Final = 10**11
"""A number below this is seconds since the epoch, above it milliseconds (10^11 s: year 5138)."""

Moment: TypeAlias = str | int | float
Text: TypeAlias = Annotated[str, Meta(pattern=r"\S")]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]


class EpisodeParams(Input, frozen=True, kw_only=True):
    """Something that happened. `occurred_at`: ISO-8601, or a number since the epoch."""

    human = ("key", "description", "value")

    key: Text
    description: str
    value: str
    occurred_at: Moment | None = None
    source: str = "user"


class EpisodesParams(Input, frozen=True, kw_only=True):
    """Several things that happened, in order."""

    episodes: Annotated[tuple[EpisodeParams, ...], Meta(max_length=10_000)]


class KnowledgeParams(Input, frozen=True, kw_only=True):
    """Something that is so. What it contradicts is closed."""

    human = ("subject", "content")

    subject: Text
    content: Text
    type: str = "fact"
    confidence: Share = 0.8
    source: str = "user"
    valid_from: Moment | None = None
    valid_until: Moment | None = None


class NodeParams(Input, frozen=True, kw_only=True):
    """A person or thing."""

    name: Text
    kind: str = "person"
    description: str = ""


class EdgeParams(Input, frozen=True, kw_only=True):
    """`from` stands in a relation to `to`; both by name."""

    source_name: Text = msgspec.field(name="from")
    target_name: Text = msgspec.field(name="to")
    relation: Text
    confidence: Share = 0.8


class SocialParams(Input, frozen=True, kw_only=True):
    """People and things, and how they stand to each other."""

    nodes: tuple[NodeParams, ...] = ()
    edges: tuple[EdgeParams, ...] = ()
    source: str = "user"


class ForgetParams(Input, frozen=True, kw_only=True):
    """A memory by its id."""

    id: Text


class IntegrityParams(Input, frozen=True, kw_only=True):
    """Whether to mend what is found."""

    repair: bool = False


class NoParams(Input, frozen=True, kw_only=True):
    """No fields at all."""


class Method(msgspec.Struct, Generic[InputT], frozen=True):
    """A method: what it takes and what it does."""

    takes: type[InputT]
    call: Callable[[Exchange[Any], InputT], Awaitable[object]]


async def episode_write(exchange: Exchange[Any], params: EpisodeParams) -> object:
    """Remember one episode."""
    written = await exchange.engine.memory.write_episodes([_episode(params, "params")])
    return {"id": written.ids[0]}


async def episode_write_many(exchange: Exchange[Any], params: EpisodesParams) -> object:
    """Remember episodes, all or none."""
    episodes = [_episode(one, f"episodes[{at}]") for at, one in enumerate(params.episodes)]
    return await exchange.engine.memory.write_episodes(episodes)


async def knowledge_write(exchange: Exchange[Any], params: KnowledgeParams) -> object:
    """Know a fact."""
    fact = NewFact(
        subject=params.subject,
        content=params.content,
        type=params.type,
        confidence=params.confidence,
        source=params.source,
        valid_from=_ms(params.valid_from, "valid_from"),
        valid_until=_ms(params.valid_until, "valid_until"),
    )
    return await exchange.engine.memory.write_fact(fact)


async def social_write(exchange: Exchange[Any], params: SocialParams) -> object:
    """Know people and things."""
    nodes = [
        NewNode(name=one.name, kind=one.kind, description=one.description) for one in params.nodes
    ]
    edges = [
        NewEdge(
            from_name=one.source_name,
            to_name=one.target_name,
            relation=one.relation,
            confidence=one.confidence,
        )
        for one in params.edges
    ]
    return await exchange.engine.memory.write_graph(nodes, edges, params.source)


async def forget(exchange: Exchange[Any], params: ForgetParams) -> object:
    """Forget one memory."""
    return await exchange.engine.memory.forget(params.id)


async def integrity(exchange: Exchange[Any], params: IntegrityParams) -> object:
    """Check rows against indexes."""
    return await exchange.engine.memory.integrity(repair=params.repair)


async def status(exchange: Exchange[Any], params: NoParams) -> object:
    """How many memories wait for their vector."""
    return await exchange.engine.memory.progress()


METHODS: Final[Mapping[str, Method[Any]]] = {
    "memory.episode_write": Method(EpisodeParams, episode_write),
    "memory.episode_write_many": Method(EpisodesParams, episode_write_many),
    "memory.knowledge_write": Method(KnowledgeParams, knowledge_write),
    "memory.social_write": Method(SocialParams, social_write),
    "memory.forget": Method(ForgetParams, forget),
    "memory.integrity": Method(IntegrityParams, integrity),
    "memory.status": Method(NoParams, status),
}
"""Every method there is."""


def _episode(params: EpisodeParams, place: str) -> NewEpisode:
    return NewEpisode(
        key=params.key,
        description=params.description,
        value=params.value,
        occurred_at=_ms(params.occurred_at, f"{place}.occurred_at"),
        source=params.source,
    )


def _ms(moment: Moment | None, field: str) -> int | None:
    """Milliseconds since the epoch; a time without a zone is UTC."""
    if moment is None:
        return None
    ms = _read_ms(moment, field) if isinstance(moment, str) else _number_ms(moment)
    if not EARLIEST_MS <= ms <= LATEST_MS:
        raise _no_time(str(moment)[:40], field)
    return int(ms)


def _number_ms(moment: float) -> float:
    return moment * 1000 if abs(moment) < SECONDS_BELOW else moment


def _read_ms(moment: str, field: str) -> float:
    try:
        read = datetime.fromisoformat(moment)
    except ValueError as error:
        raise _no_time(moment[:40], field) from error
    zoned = read if read.tzinfo is not None else read.replace(tzinfo=UTC)
    return zoned.timestamp() * 1000


def _no_time(moment: str, field: str) -> SeptemberError:
    return SeptemberError(
        "INVALID_REQUEST",
        f"{field}: {moment!r} is no time; send ISO-8601 such as 2026-11-20T10:00:00Z, or a number"
        " since the epoch between the years 1 and 9999",
        {"field": field},
    )
