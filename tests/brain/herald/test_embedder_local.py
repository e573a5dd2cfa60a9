"""The local embedder, with its real weights."""

import subprocess
import sys
from array import array

import pytest

from september.brain.herald.embedder_local import DIMENSION, LocalEmbedder
from september.brain.herald.embeddings import Vector


def cosine(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(array("f", one), array("f", other), strict=True))


@pytest.fixture(scope="module")
def embedder() -> LocalEmbedder:
    return LocalEmbedder()


async def test_texts_that_mean_the_same_are_nearer_than_others(embedder: LocalEmbedder) -> None:
    cat, kitten, market = await embedder.embed(
        ["The cat sat on the mat", "A kitten was sitting on a rug", "Stocks fell sharply today"]
    )
    assert cosine(cat, kitten) > cosine(cat, market) + 0.3


async def test_vectors_are_of_length_one_and_of_the_promised_dimension(
    embedder: LocalEmbedder,
) -> None:
    (vector,) = await embedder.embed(["anything"])
    assert len(array("f", vector)) == DIMENSION == embedder.dimension
    assert cosine(vector, vector) == pytest.approx(1.0, abs=1e-5)


async def test_a_text_without_words_is_all_zeros(embedder: LocalEmbedder) -> None:
    blank, empty = await embedder.embed(["", ""])
    assert blank == empty == bytes(4 * DIMENSION)
    assert await embedder.embed_query("?!", {"a": 1.0}) == bytes(4 * DIMENSION)


async def test_a_batch_gives_what_single_texts_give(embedder: LocalEmbedder) -> None:
    texts = ["one", "two words", "and three words", ""]
    together = await embedder.embed(texts)
    assert together == [(await embedder.embed([text]))[0] for text in texts]


async def test_a_query_turns_towards_its_rare_words(embedder: LocalEmbedder) -> None:
    (cello,) = await embedder.embed(["cello"])
    question = "When did Caroline buy the Cello?"
    common = {"when": 0.1, "did": 0.1, "the": 0.1, "caroline": 0.1, "buy": 1.0}
    plain = await embedder.embed_query(question, {})
    weighted = await embedder.embed_query(question, common)
    assert cosine(weighted, cello) > cosine(plain, cello) + 0.1


async def test_a_very_long_text_is_cut_rather_than_refused(embedder: LocalEmbedder) -> None:
    (vector,) = await embedder.embed(["word " * 100_000])
    assert any(vector)


async def test_it_can_be_used_again_after_it_was_closed() -> None:
    embedder = LocalEmbedder()
    before = await embedder.embed(["again"])
    await embedder.aclose()
    assert await embedder.embed(["again"]) == before


def test_an_idle_engine_has_loaded_nothing_heavy() -> None:
    heavy = "numpy tokenizers safetensors wordllama anthropic openai google.genai pydantic".split()
    program = (
        "import sys, september.brain.herald.tree as t\n"
        "from september.config import EngineConfig\n"
        "t.HeraldSpecs(EngineConfig(llm_provider='scripted'))\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "[]"
