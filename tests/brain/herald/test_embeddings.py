"""The embedder's actor: batches, failures, cancellation."""

from array import array
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from math import isclose

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from september.actors.testing import running
from september.brain.herald.embeddings import BATCH_TEXTS, EmbedderActor, Embeddings, Vector, unit
from september.brain.herald.provider import Fault, ProviderError
from september.errors import SeptemberError


class LengthEmbedder:
    """A text's vector is its length; a batch takes a second. `broken` texts fail."""

    name = "length"
    dimension = 2

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.closed = False

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        self.batches.append(list(texts))
        await trio.sleep(1)
        if "broken" in texts:
            raise ProviderError(Fault.RATE_LIMITED, "no", provider="test", retry_after=4)
        return [unit([len(text), 1.0]) for text in texts]

    async def embed_query(self, text: str, weights: Mapping[str, float]) -> Vector:
        return (await self.embed([text]))[0]

    async def aclose(self) -> None:
        self.closed = True


@asynccontextmanager
async def embeddings(embedder: LengthEmbedder) -> AsyncGenerator[Embeddings]:
    async with running(EmbedderActor(embedder)) as ref:
        yield Embeddings(ref, embedder.name, embedder.dimension)


async def test_requests_that_come_meanwhile_share_one_batch(autojump_clock: MockClock) -> None:
    embedder = LengthEmbedder()
    got: dict[str, tuple[Vector, ...]] = {}

    async with embeddings(embedder) as face, trio.open_nursery() as nursery:

        async def ask(*texts: str) -> None:
            got[texts[0]] = await face.embed(texts)

        nursery.start_soon(ask, "a")
        await wait_all_tasks_blocked()
        for texts in (["bb", "ccc"], ["dddd"], ["eeeee"]):
            nursery.start_soon(ask, *texts)
    assert embedder.batches[0] == ["a"]
    assert sorted(embedder.batches[1]) == ["bb", "ccc", "dddd", "eeeee"]
    assert len(embedder.batches) == 2
    assert got["bb"] == (unit([2, 1]), unit([3, 1]))
    assert got["eeeee"] == (unit([5, 1]),)
    assert embedder.closed


async def test_a_batch_has_a_limit_but_a_request_is_never_split(
    autojump_clock: MockClock,
) -> None:
    embedder = LengthEmbedder()
    async with embeddings(embedder) as face, trio.open_nursery() as nursery:
        nursery.start_soon(face.embed, ["first"])
        await wait_all_tasks_blocked()
        nursery.start_soon(face.embed, ["x"] * (BATCH_TEXTS + 1))
        await wait_all_tasks_blocked()
        nursery.start_soon(face.embed, ["y"])
    assert [len(batch) for batch in embedder.batches] == [1, BATCH_TEXTS + 1, 1]


async def test_a_failure_is_told_to_everyone_in_the_batch_and_to_nobody_else(
    autojump_clock: MockClock,
) -> None:
    embedder = LengthEmbedder()
    failures: list[SeptemberError] = []

    async with embeddings(embedder) as face:

        async def ask(text: str) -> None:
            try:
                await face.embed([text])
            except SeptemberError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "fine")
            await wait_all_tasks_blocked()
            nursery.start_soon(ask, "broken")
            nursery.start_soon(ask, "unlucky")
        assert await face.embed(["fine again"])
    assert [(error.code, error.retry_after) for error in failures] == [("LLM_RATE_LIMITED", 4)] * 2


async def test_the_one_who_works_may_be_cancelled_without_harm_to_the_others(
    autojump_clock: MockClock,
) -> None:
    embedder = LengthEmbedder()
    got: list[tuple[Vector, ...]] = []

    async with embeddings(embedder) as face, trio.open_nursery() as nursery:
        first = trio.CancelScope()

        async def impatient() -> None:
            with first:
                await face.embed(["first"])

        async def patient() -> None:
            got.append(await face.embed(["second"]))

        nursery.start_soon(impatient)
        await wait_all_tasks_blocked()
        nursery.start_soon(patient)
        await wait_all_tasks_blocked()
        first.cancel()
    assert got == [(unit([6, 1]),)]
    assert embedder.batches[-1] == ["second"]


async def test_a_query_that_fails_is_an_error_with_a_code(autojump_clock: MockClock) -> None:
    async with embeddings(LengthEmbedder()) as face:
        assert await face.embed_query("four") == unit([4, 1])
        with pytest.raises(SeptemberError) as caught:
            await face.embed_query("broken")
    assert caught.value.code == "LLM_RATE_LIMITED"


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20))
def test_a_vector_is_packed_at_length_one_and_zeros_stay_zeros(values: list[float]) -> None:
    numbers = array("f", unit(values))
    length = sum(number * number for number in numbers)
    tiny = sum(value * value for value in values) < 1e-30
    assert tiny or isclose(length, 1.0, abs_tol=1e-4)
    assert len(numbers) == len(values)
