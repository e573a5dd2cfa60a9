"""What learning does to recall, and what it costs without a model.

    .venv/bin/python -m bench.learning LOCOMO.json

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
from tempfile import TemporaryDirectory

import trio

from bench.recall_quality import Conversation, Turn, conversations
from september.brain.learning.study import Study
from september.brain.memory.episodes import Episode, episode_of, write_many
from tests.brain.learning.stage import ByRules, finish_turn
from tests.brain.memory.conftest import Mind, mind_in

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Figures:
    """One way to fill a brain: recall at ten, and what the passes came to."""

    recall: list[float]
    passes: Counter[str]
    seconds: float


def pairs(conversation: Conversation) -> Iterator[list[Turn]]:
    """Pairs of lines of one session: what was said, and the answer."""
    pending: list[Turn] = []
    for line in conversation.turns:
        if pending and (pending[0].session != line.session or pending[0].speaker == line.speaker):
            yield pending
            pending = []
        pending.append(line)
        if len(pending) == 2:
            yield pending
            pending = []
    if pending:
        yield pending


def milliseconds(line: Turn) -> int:
    """When it was said."""
    return int(line.when.timestamp() * 1000)


def episodes(conversation: Conversation) -> Iterator[Episode]:
    """Every line as an episode of its own; its source is the line's id."""
    for line in conversation.turns:
        at = milliseconds(line)
        description = f"{line.speaker}, {line.when:%d %B %Y}"
        yield episode_of(
            line.speaker, description, line.said, now=at, occurred_at=at, source=line.id
        )


async def learned(
    under: Mind, conversation: Conversation
) -> tuple[dict[str, set[str]], Counter[str], float]:
    """Learn the conversation; the lines that each source stands for, and the passes by status."""
    holds: dict[str, set[str]] = {}
    for number, (first, *others) in enumerate(pairs(conversation)):
        asked = f"{first.speaker}: {first.said}"
        answered = "".join(f"{line.speaker}: {line.said}" for line in others)
        at = milliseconds(first) + number % 1000
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
    under: Mind, conversation: Conversation, holds: Mapping[str, set[str]]
) -> list[float]:
    """The share of each question's evidence among the first ten episodes."""
    shares: list[float] = []
    for question in conversation.questions:
        hits = await under.memory.search_episodes(question.text, 10)
        lines: set[str] = set()
        for hit in hits:
            lines |= holds.get(hit.episode.source, {hit.episode.source})
        shares.append(len(question.evidence & lines) / len(question.evidence))
    return shares


async def fill(conversation: Conversation, *, lines: bool, learn: bool) -> Figures:
    """Fill a brain one way, and ask."""
    with TemporaryDirectory() as folder:
        return await filled(Path(folder), conversation, lines=lines, learn=learn)


async def filled(folder: Path, conversation: Conversation, *, lines: bool, learn: bool) -> Figures:
    """The same, in this folder."""
    async with mind_in(folder / "brain.sqlite") as under:
        if lines:
            whole = tuple(episodes(conversation))
            await under.memory.write(partial(write_many, episodes=whole))
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
    count = sum(len(list(pairs(one))) for one in whole)
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
