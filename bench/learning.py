"""What learning does to recall, and what it costs without a model.

    python -m bench.learning ../shared/data/locomo-dev.json

LoCoMo's conversations become finished turns (a line, and the other's answer to it), and the
Learning Centre learns them by rules, in passes that its own gate judges. Recall is the share of a
question's evidence lines among the first ten episodes: of the lines alone, one episode each; of
the lines with what was learned beside them; and of what was learned alone, which is what an Engine
has. A learned episode holds the lines of its turn. (LoCoMo is CC BY-NC 4.0: for measuring only.)
"""

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from bench.recall import Brain, Conversation, brain, conversations
from september.brain.learning.study import Study
from september.brain.memory.episodes import Episode, write_many
from tests.brain.learning.stage import ByRules, finish_turn

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Figures:
    """One way to fill a brain: recall at ten, and what the passes came to."""

    recall: list[float]
    passes: Counter[str]
    seconds: float


def turns(conversation: Conversation) -> Iterator[list[Episode]]:
    """Pairs of lines of one session: what was said, and the answer."""
    pending: list[Episode] = []
    for episode in conversation.episodes:
        session = episode.source.rpartition("/")[0]
        if pending and (
            pending[0].source.rpartition("/")[0] != session or pending[0].key == episode.key
        ):
            yield pending
            pending = []
        pending.append(episode)
        if len(pending) == 2:
            yield pending
            pending = []
    if pending:
        yield pending


async def learned(
    under: Brain, conversation: Conversation
) -> tuple[dict[str, set[str]], Counter[str], float]:
    """Learn the conversation; the lines that each source stands for, and the passes by status."""
    holds: dict[str, set[str]] = {}
    for number, (first, *others) in enumerate(turns(conversation)):
        asked = f"{first.key}: {first.value}"
        answered = "".join(f"{line.key}: {line.value}" for line in others)
        at = first.occurred_at + number % 1000
        finish = partial(finish_turn, number=number, asked=asked, answered=answered, at=at)
        trajectory = await under.database.write(finish)
        holds[f"trajectory:{trajectory}"] = {line.id for line in (first, *others)}
    study = Study(under.database, under.memory, ByRules(), lambda text: text)
    began = time.perf_counter()
    done = await study.learn("task")
    took = time.perf_counter() - began
    await under.memory.settled(PATIENCE_S)
    return holds, Counter(one.status for one in done), took


async def recalled(
    under: Brain, conversation: Conversation, holds: Mapping[str, set[str]]
) -> list[float]:
    """The share of each question's evidence among the first ten episodes."""
    shares: list[float] = []
    for question, evidence, _ in conversation.questions:
        hits = await under.memory.search_episodes(question, 10)
        lines: set[str] = set()
        for hit in hits:
            lines |= holds.get(hit.episode.source, {hit.episode.id})
        shares.append(len(evidence & lines) / len(evidence))
    return shares


async def fill(conversation: Conversation, *, lines: bool, learn: bool) -> Figures:
    """Fill a brain one way, and ask."""
    async with brain() as under:
        if lines:
            await under.memory.write(partial(write_many, episodes=conversation.episodes))
            await under.memory.settled(PATIENCE_S)
        holds: dict[str, set[str]] = {}
        passes: Counter[str] = Counter()
        took = 0.0
        if learn:
            holds, passes, took = await learned(under, conversation)
        return Figures(await recalled(under, conversation, holds), passes, took)


async def measure(file: Path) -> None:
    """Print the figures of every way."""
    ways = {
        "lines alone": {"lines": True, "learn": False},
        "lines and learned": {"lines": True, "learn": True},
        "learned alone": {"lines": False, "learn": True},
    }
    whole = list(conversations(file))
    count = sum(len(list(turns(one))) for one in whole)
    for name, way in ways.items():
        figures = [await fill(one, **way) for one in whole]
        passes = sum((one.passes for one in figures), Counter[str]())
        seconds = sum(one.seconds for one in figures)
        rate = f"{count / seconds:.0f} turns/s" if seconds else "-"
        print(
            f"{name:18} R@10 {_share([s for one in figures for s in one.recall])}"
            f"  passes {dict(passes)}  {rate}"
        )


def _share(shares: Sequence[float]) -> str:
    return f"{100 * statistics.mean(shares):.1f} %"


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    trio.run(measure, parser.parse_args().file)


if __name__ == "__main__":
    main()
