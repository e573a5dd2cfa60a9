"""The quality half of `bench/recall.py`: LoCoMo's questions, asked of a real Engine over HTTP."""

import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

_KEY: Final = "bench-key"
_START: Final = """
import os, sys
from september.config import load_engine_config
from september.http.serve import run_engine
sys.exit(run_engine(load_engine_config(os.environ), on_ready=lambda url: print(url, flush=True)))
"""


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation; `said` ends with what its picture shows."""

    id: str
    speaker: str
    said: str
    when: datetime
    session: str


@dataclass(frozen=True)
class Question:
    """A question, the turns that answer it, and LoCoMo's category."""

    text: str
    evidence: frozenset[str]
    category: int


@dataclass(frozen=True)
class Conversation:
    """A conversation's turns in order, and its questions."""

    name: str
    turns: tuple[Turn, ...]
    questions: tuple[Question, ...]


Episode = Mapping[str, object]

LAYOUTS: Final[Mapping[str, Callable[[Turn], Episode]]] = {
    "plain": lambda turn: {
        "key": turn.speaker,
        "description": f"{turn.speaker}, {turn.when:%d %B %Y}",
        "value": turn.said,
        "occurred_at": turn.when.isoformat(),
    },
    "spoken": lambda turn: {
        "key": turn.id,
        "description": "",
        "value": f"{turn.speaker}: {turn.said}",
        "occurred_at": turn.when.isoformat(),
    },
    "timeless": lambda turn: {
        "key": f"{turn.session}/{turn.id}",
        "description": f"{turn.session}, {turn.when:%I:%M %p on %d %B, %Y}",
        "value": f"{turn.speaker}: {turn.said}",
    },
    "twice": lambda turn: {"key": turn.speaker, "description": turn.said, "value": turn.said},
    "described": lambda turn: {
        "key": f"locomo/{turn.id}",
        "description": f"{turn.speaker} said: {turn.said}",
        "value": "",
        "occurred_at": turn.when.isoformat(),
    },
}
"""Ways to write a turn as an episode. The first is what the figures are of."""


def conversations(file: Path) -> Iterator[Conversation]:
    """Read LoCoMo."""
    for one in json.loads(file.read_text())["conversations"]:
        turns = tuple(_turns(one["conversation"]))
        known = {turn.id for turn in turns}
        asked = (
            Question(q["question"], frozenset(q["evidence"]) & known, q["category"])
            for q in one["qa"]
        )
        yield Conversation(one["sample_id"], turns, tuple(q for q in asked if q.evidence))


def _turns(conversation: Mapping[str, Any]) -> Iterator[Turn]:
    sessions = [name for name in conversation if re.fullmatch(r"session_\d+", name)]
    for session in sorted(sessions, key=lambda name: int(name[8:])):
        text = conversation[f"{session}_date_time"]
        when = datetime.strptime(text, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
        for turn in conversation[session]:
            shown = f" [shares {turn['blip_caption']}]" if turn.get("blip_caption") else ""
            yield Turn(turn["dia_id"], turn["speaker"], turn["text"] + shown, when, session)


class Client:
    """One connection to an Engine."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)

    def post(self, path: str, body: object) -> Any:
        """The answer to a POST."""
        head = {"X-Engine-Key": _KEY, "Content-Type": "application/json"}
        self._connection.request("POST", path, json.dumps(body), head)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {text[:300]!r}")
        return json.loads(text)

    def rpc(self, method: str, **params: object) -> Any:
        """The result of a direct call."""
        return self.post("/rpc", {"method": method, "params": params})["result"]


@contextmanager
def engine() -> Generator[Client]:
    """A real Engine process with a fresh brain and the local embedder."""
    with tempfile.TemporaryDirectory() as folder:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "ENGINE_API_KEY": _KEY,
            "ENGINE_PORT": "0",
            "LLM_PROVIDER": "scripted",
            "SQLITE_DB_PATH": f"{folder}/brain.sqlite",
            "ENGINE_LOG_LEVEL": "WARNING",
        }
        command = [sys.executable, "-c", _START]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as running:
            assert running.stdout is not None
            try:
                yield Client(running.stdout.readline().strip())
            finally:
                running.terminate()


@dataclass
class Score:
    """Shares of evidence found, one for each question, and milliseconds for each search."""

    five: list[float] = field(default_factory=list[float])
    ten: list[float] = field(default_factory=list[float])
    category: list[int] = field(default_factory=list[int])
    ms: list[float] = field(default_factory=list[float])

    def add(self, question: Question, found: Sequence[str | None], ms: float) -> None:
        """Count one answer."""
        hits = [turn in question.evidence for turn in found]
        self.five.append(sum(hits[:5]) / len(question.evidence))
        self.ten.append(sum(hits) / len(question.evidence))
        self.category.append(question.category)
        self.ms.append(ms)

    def __iadd__(self, other: "Score") -> "Score":
        self.five += other.five
        self.ten += other.ten
        self.category += other.category
        self.ms += other.ms
        return self

    def of(self, category: int) -> list[float]:
        """Shares of one category among the first ten."""
        return [ten for ten, kind in zip(self.ten, self.category, strict=True) if kind == category]

    def line(self) -> str:
        """The figures."""
        kept = [at for at, category in enumerate(self.category) if category != 5]
        p95 = statistics.quantiles(self.ms, n=20)[-1]
        return (
            f"R@5 {_share(self.five)}  R@10 {_share(self.ten)}"
            f"   without category 5: R@5 {_share([self.five[at] for at in kept])}"
            f"  R@10 {_share([self.ten[at] for at in kept])}"
            f"   {len(self.ten)} questions, p50 {statistics.median(self.ms):.1f} ms, p95 {p95:.1f}"
        )


def quality(file: Path, layout: str, *, together: bool) -> None:
    """Ask all questions; each conversation in a brain of its own unless all are together."""
    read = list(conversations(file))
    groups = [read] if together else [[one] for one in read]
    total = Score()
    print(f"layout {layout}: {json.dumps(LAYOUTS[layout](read[0].turns[0]))[:160]}")
    for group in groups:
        with engine() as client:
            seconds = _write(client, group, layout)
            score = _asked(client, group, layout)
            turns = sum(len(one.turns) for one in group)
            names = "+".join(one.name for one in group)
            print(
                f"{names:10} {score.line()}; {turns} turns written and embedded in {seconds:.1f} s"
            )
            total += score
    print(f"{'all':10} {total.line()}")
    kinds = {kind: total.of(kind) for kind in sorted(set(total.category))}
    by_kind = ", ".join(f"{kind}: {_share(shares)}" for kind, shares in kinds.items())
    print(f"R@10 by LoCoMo's category  {by_kind}")


def _write(client: Client, group: Sequence[Conversation], layout: str) -> float:
    """Write all turns and wait for their vectors; return seconds."""
    began = time.perf_counter()
    for conversation in group:
        episodes = [
            {**LAYOUTS[layout](turn), "source": f"{conversation.name}/{turn.id}"}
            for turn in conversation.turns
        ]
        client.rpc("memory.episode_write_many", episodes=episodes)
    while client.rpc("memory.status")["pending"]:
        time.sleep(0.05)
    return time.perf_counter() - began


def _asked(client: Client, group: Sequence[Conversation], layout: str) -> Score:
    score = Score()
    for conversation in group:
        for question in conversation.questions:
            began = time.perf_counter()
            hits = client.post("/memory/episodes/search", {"query": question.text, "limit": 10})
            ms = 1000 * (time.perf_counter() - began)
            found = [_turn(hit["source"], conversation.name) for hit in hits]
            score.add(question, found, ms)
    return score


def _turn(source: str, conversation: str) -> str | None:
    name, _, turn = source.partition("/")
    return turn if name == conversation else None


def _share(shares: Sequence[float]) -> str:
    return f"{100 * statistics.mean(shares):.1f} %" if shares else "none"
