"""Memory: search, the soul, export and import (contract, sections 9 and 19.20)."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from ...brain.catalog import Skill
from ...brain.memory.bundle import (
    Bundle,
    EdgeRow,
    EpisodeRow,
    KnowledgeRow,
    NodeRow,
    SoulRow,
    SourceRow,
)
from ..endpoint import Endpoint, Exchange, Json, Nothing
from ..memory_port import FoundEpisode, FoundFact, FoundNode, FullSoul, Imported, SoulView
from ..wire import Input


class SearchBody(Input, frozen=True, kw_only=True):
    """What to look for."""

    human: ClassVar[tuple[str, ...]] = ("query",)

    query: Annotated[str, Meta(pattern=r"\S", description="A question or words, in any order")]
    limit: Annotated[int, Meta(ge=1, le=100, description="How many at most")] = 20


class KnowledgeBody(SearchBody, frozen=True, kw_only=True):
    """What to look for among the facts."""

    history: Annotated[
        bool, Meta(description="Also facts that no longer hold: their valid_until is set")
    ] = False


class ImportBody(Input, frozen=True, kw_only=True):
    """What GET /memory/export answered."""

    format: Literal["september-memory"]
    version: Literal[1]
    episodes: tuple[EpisodeRow, ...] = ()
    knowledge: tuple[KnowledgeRow, ...] = ()
    knowledge_sources: tuple[SourceRow, ...] = ()
    social_nodes: tuple[NodeRow, ...] = ()
    social_edges: tuple[EdgeRow, ...] = ()
    soul: tuple[SoulRow, ...] = ()
    skills: tuple[Skill, ...] = ()


async def search_episodes(exchange: Exchange[SearchBody]) -> Json:
    """Search what happened."""
    body = exchange.input
    return Json(await exchange.engine.memory.search_episodes(body.query, body.limit))


async def search_knowledge(exchange: Exchange[KnowledgeBody]) -> Json:
    """Search what is known."""
    body = exchange.input
    found = await exchange.engine.memory.search_knowledge(
        body.query, body.limit, history=body.history
    )
    return Json(found)


async def search_social(exchange: Exchange[SearchBody]) -> Json:
    """Search people and things."""
    body = exchange.input
    return Json(await exchange.engine.memory.search_social(body.query, body.limit))


async def soul(exchange: Exchange[Nothing]) -> Json:
    """Who the assistant is."""
    full = await exchange.engine.memory.soul()
    return Json(SoulView(identity=full.identity, values=full.values, patterns=full.patterns))


async def full_soul(exchange: Exchange[Nothing]) -> Json:
    """Who the assistant is, and how it became so."""
    return Json(await exchange.engine.memory.soul())


async def export(exchange: Exchange[Nothing]) -> Json:
    """All of memory."""
    return Json(await exchange.engine.memory.export())


async def import_(exchange: Exchange[ImportBody]) -> Json:
    """Merge a document."""
    body = exchange.input
    names = Bundle.__struct_fields__
    bundle = Bundle(**{name: getattr(body, name) for name in names})
    return Json(await exchange.engine.memory.merge(bundle))


_SAMPLE = {"query": "When is the team's retreat?", "limit": 10}

ENDPOINTS = (
    Endpoint(
        "POST",
        "/memory/episodes/search",
        "Search what happened: by words, by meaning, and by what was said around it.",
        search_episodes,
        SearchBody,
        answers=tuple[FoundEpisode, ...],
        sample=_SAMPLE,
    ),
    Endpoint(
        "POST",
        "/memory/knowledge/search",
        "Search what is known and, on request, what once was.",
        search_knowledge,
        KnowledgeBody,
        answers=tuple[FoundFact, ...],
        sample=_SAMPLE,
    ),
    Endpoint(
        "POST",
        "/memory/social/search",
        "Search people and things, with how they stand to each other.",
        search_social,
        SearchBody,
        answers=tuple[FoundNode, ...],
        sample={"query": "Ana", "limit": 10},
    ),
    Endpoint("GET", "/memory/soul", "Who the assistant is.", soul, Nothing, answers=SoulView),
    Endpoint(
        "GET",
        "/memory/soul/full",
        "Who the assistant is, and how it became so.",
        full_soul,
        Nothing,
        answers=FullSoul,
    ),
    Endpoint(
        "GET",
        "/memory/export",
        "All of memory and your own skills as one JSON document, history and tombstones included.",
        export,
        Nothing,
        answers=Bundle,
    ),
    Endpoint(
        "POST",
        "/memory/import",
        "Merge an exported document by id. A broken or foreign one changes nothing.",
        import_,
        ImportBody,
        answers=Imported,
        sample=msgspec.to_builtins(Bundle()),
    ),
)
