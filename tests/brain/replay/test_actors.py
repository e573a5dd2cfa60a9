"""Each actor that says it can be replayed is, from what a running Engine recorded: to the same
end with the same code, and told at the right message with other code."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from september.actors import Actor, ActorCrashed, Reply
from september.brain import hitl
from september.brain.agent.compaction import compactor
from september.brain.agent.compaction.compactor import Compact, Compactor
from september.brain.agent.compaction.plan import Room
from september.brain.agent.compaction.sizing import Scale
from september.brain.assets.directory import Directory
from september.brain.catalog import catalog_root
from september.brain.channels.log import EventLog
from september.brain.coordinator.coordinator import Coordinator, CountTurns
from september.brain.coordinator.slots import Admission, TaskSlots
from september.brain.herald.provider_actor import ProviderActor
from september.brain.herald.quota import QuotaWindow
from september.brain.learning.centre import LearningCentre
from september.brain.replay.actors import replay_actor
from september.brain.retention.retention import GetSwept, Retention, Sweeper
from september.brain.store.connection import Connection
from september.errors import SeptemberError
from september.http.routes.observability import Record
from september.traces.life import Life
from september.traces.replay import Replay
from tests.brain.raven.stage import SAY, Recorded, recorded, settings, tool
from tests.brain.raven.test_why import until

pytestmark = pytest.mark.timeout(60)

ACTORS = (
    "slots",
    "coordinator",
    "approvals",
    "channels",
    "engine/herald/herald",
    "engine/herald/providers/scripted",
    "compactor",
    "learning",
    "retention",
    "directory",
)
LIMITS = {"TASK_SLOTS": "1", "LLM_QUOTA_TOKENS": "1000", "LLM_QUOTA_WINDOW_S": "3600"}


class Past:
    """What an Engine recorded that is gone now, and the settings that it had."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.copytree(str(catalog_root(None)), folder / "catalog")
        (folder / "catalog" / "servers").mkdir(exist_ok=True)
        server = {"name": "none", "transport": "stdio", "command": "/bin/false"}
        (folder / "catalog" / "servers" / "none.json").write_text(json.dumps(server))
        self._more = {**LIMITS, "CATALOG_DIR": str(folder / "catalog")}
        self.env = settings(folder, *_rules(folder), **self._more)
        self.lives: dict[str, Life] = {}

    async def record(self) -> None:
        folder = self._folder
        async with recorded(folder, *_rules(folder), **self._more) as stage:
            await _some_turns(stage)
            await _some_questions(stage)
            for actor in (*ACTORS, "sandbox"):
                self.lives[actor] = await life_of(stage, actor)

    async def replay(self, actor: str, **options: Any) -> Replay:
        return await replay_actor(self.lives[actor], self.env, **options)

    def at(self, actor: str, kind: str, place: int = 0) -> Life:
        """The life of an actor up to one of its messages of this type."""
        life = self.lives[actor]
        found = [row for row in life.taken if row.message_type == kind]
        return msgspec.structs.replace(life, at=found[place].span_id)


def _rules(folder: Path) -> tuple[dict[str, Any], ...]:
    return tool("write_file", path=str(folder / "out.txt"), content="x"), SAY


async def _some_turns(stage: Recorded) -> None:
    """One that is allowed to write; one that is cancelled while it asks; one over the quota."""

    async def answered() -> bool:
        body = {"task_id": "task", "answer": "yes"}
        return (await stage.http.post("/hitl/respond", json=body)).status_code == 200

    async def asked() -> bool:
        return bool((await stage.get("/hitl/pending"))["pending"])

    async def queues() -> bool:
        return "waits" in (await stage.engine.database.read(_tasks))

    assert not await answered()  # nobody has asked yet
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.turn, "write it", "task")
        await until(answered)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.turn, "and again", "other")
        await until(asked)
        nursery.start_soon(stage.turn, "me, too", "waits")
        await until(queues)
        await stage.http.post("/execute/cancel", json={"task_id": "other"})
        await until(asked)
        await stage.http.post("/execute/cancel", json={"task_id": "waits"})
    await stage.turn("too much", "third")


def _tasks(connection: Connection) -> list[str]:
    return [str(task) for (task,) in connection.execute("SELECT task_id FROM turns")]


async def _some_questions(stage: Recorded) -> None:
    """What nobody asks in a turn."""
    for path in ("/assets/connections", "/assets/servers", "/learning/status", "/health"):
        await stage.http.get(path)
    await stage.http.post("/assets/connect", json={"server_name": "none"})
    tree = stage.engine.tree
    await tree.ref("retention", Retention).call(GetSwept())
    await tree.ref("compactor", Compactor).call(Compact("task", Room(1, 2), Scale()))
    await tree.ref("compactor", Compactor).call(Compact("task", Room(9999, 9999), Scale()))


async def life_of(stage: Recorded, actor: str, at: str | None = None) -> Life:
    query = {"of": actor} if at is None else {"of": actor, "at": at}
    answer = await stage.http.get("/observability/record", params=query)
    assert answer.status_code == 200, answer.text
    found = msgspec.json.decode(answer.content, type=Record).life
    assert found is not None
    return found


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    folder = tmp_path_factory.mktemp("past")
    told = Past(folder)
    trio.run(told.record)
    for brain in folder.glob("brain.sqlite*"):
        brain.unlink()
    yield told
    assert not list(folder.glob("brain.sqlite*")), "a replay has opened the brain"
    shutil.rmtree(folder)


@pytest.mark.parametrize("actor", ACTORS)
async def test_the_same_code_goes_the_same_way(actor: str, past: Past) -> None:
    told = await past.replay(actor)
    assert told.difference is None, told.difference
    assert told.stopped is None, told.why
    assert len(told.steps) >= 3
    assert told.lost == 0


def answering(kind: type[Actor[Any]], change: Callable[[Any], object]) -> Any:
    """A `handle` with another answer: what `change` makes of it."""
    original = kind.handle

    async def handle(self: Any, msg: Any) -> Any:
        answer = await original(self, msg)
        return Reply(change(answer.value)) if isinstance(answer, Reply) else answer

    return handle


def seven_ahead(answer: object) -> object:
    return Admission(7) if isinstance(answer, Admission) else answer


async def forgets(self: Coordinator, *_: object) -> None:
    """A turn that ended gives its slot back no more, and nobody closes it."""


def finds_nothing(*_: object) -> SeptemberError:
    return SeptemberError("TASK_NOT_FOUND", "nobody asks")


def one_more(answer: object) -> object:
    return answer + 1 if type(answer) is int else answer


def does_nothing(*_: object) -> None:
    """As it says."""


def tomorrow(*_: object) -> float:
    return 86_400.0


async def no_round(self: Sweeper) -> None:
    """Nothing is swept."""


def offers_less(answer: object) -> object:
    return () if isinstance(answer, tuple) else answer


BUGS = {
    "slots": (TaskSlots, "handle", answering(TaskSlots, seven_ahead), "Admit", '"ahead":0', "7"),
    "coordinator": (Coordinator, "_ended", forgets, "TurnDown", "Release", "sends no Release"),
    "approvals": (hitl, "_choose", finds_nothing, "Respond", "no answer", "nobody asks"),
    "channels": (EventLog, "handle", answering(EventLog, one_more), "Append", "int ", "int "),
    "engine/herald/herald": (
        QuotaWindow, "retry_after", does_nothing, "ChooseRoute", "QuotaUsedUp", "Route",
    ),
    "engine/herald/providers/scripted": (
        ProviderActor, "_admit", does_nothing, "Acquire", "Permit", "no answer",
    ),
    "compactor": (compactor, "plan", does_nothing, "Compact", "Compaction", "NothingHelps"),
    "learning": (LearningCentre, "_rest", tomorrow, "Beside", "Rested", "86400"),
    "retention": (Sweeper, "round", no_round, "GetSwept", '"rounds":1', '"rounds":0'),
    "directory": (
        Directory, "handle", answering(Directory, offers_less), "ListServers", "none", "tuple",
    ),
}  # fmt: skip
"""By actor: where its code is changed, to what, the message at which it must show, then and now."""


@pytest.mark.parametrize("actor", BUGS)
async def test_other_code_is_told_at_the_message_where_it_shows(
    actor: str, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, name, now, message, then, instead = BUGS[actor]
    monkeypatch.setattr(where, name, now)
    found = (await past.replay(actor)).difference
    assert found is not None
    assert found.row.message_type == message
    assert then in found.recorded and instead in found.now and found.recorded != found.now


def test_every_kind_that_can_be_replayed_is_among_these() -> None:
    def below(kind: type[Actor[Any]]) -> Iterator[type[Actor[Any]]]:
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    kinds = [one for one in below(Actor) if one.__module__.startswith("september")]
    assert len([one for one in kinds if one.replayable]) == len(ACTORS) == len(BUGS)


async def test_up_to_a_span_it_shows_that_message_and_goes_no_further(past: Past) -> None:
    life = past.at("coordinator", "StartTurn", 1)
    told = await replay_actor(life, past.env)
    assert told.difference is None and told.target is not None
    assert told.target is told.steps[-1]
    assert told.target.now.startswith("ok: Accepted")
    assert {call.name for call in told.target.calls} >= {
        "Admit to engine/tasks/slots",
        "Append to engine/channels",
    }
    assert all(call.now is not None for call in told.target.calls)


async def test_a_life_after_a_restart_finds_the_turn_that_lived_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(_: Coordinator) -> None:
        raise ValueError("injected")

    slow = {"steps": [{"wait_s": 1.0}, {"text": "Well then."}]}
    async with recorded(tmp_path, slow) as stage, trio.open_nursery() as nursery:

        async def is_running() -> bool:
            return (await stage.engine.coordinator.call(CountTurns())).running == 1

        nursery.start_soon(stage.turn)
        await until(is_running)
        with monkeypatch.context() as patched:
            patched.setattr(Coordinator, "_count", breaks)
            with pytest.raises(ActorCrashed):
                await stage.engine.coordinator.call(CountTurns())
        await until(lambda: _is_idle(stage))
        first = await life_of(stage, "coordinator")
    assert first.incarnation == 2
    env = settings(tmp_path, slow)
    told = await replay_actor(first, env)
    assert told.difference is None, told.difference
    assert told.stopped is None, told.why
    assert {"Started", "TurnDown"} <= {step.row.message_type for step in told.steps}
    alone = msgspec.structs.replace(first, births=())
    found = (await replay_actor(alone, env)).difference
    assert found is not None and found.row.message_type == "Started"  # it closes the turn instead


async def _is_idle(stage: Recorded) -> bool:
    return (await stage.engine.coordinator.call(CountTurns())).running == 0


async def test_what_is_touched_outside_is_refused_with_the_reason(past: Past) -> None:
    with pytest.raises(SeptemberError, match="files, processes or the network"):
        await past.replay("sandbox")


async def test_a_message_that_was_cut_stops_the_replay_there_and_is_named(past: Past) -> None:
    life = past.lives["coordinator"]
    first = next(row for row in life.taken if row.message_type == "StartTurn")
    cut = msgspec.structs.replace(
        first, message=first.message.replace("write it", "wri… (2000 characters)")
    )
    cut_life = msgspec.structs.replace(
        life, taken=[cut if row is first else row for row in life.taken]
    )
    told = await replay_actor(cut_life, past.env)
    assert told.difference is None and told.stopped is cut
    assert told.why == "StartTurn.request.message was cut: it had 2000 characters"
    told = await replay_actor(cut_life, past.env, as_kept=True)
    assert told.difference is None and told.stopped is None
    assert [row for row, _ in told.kept] == [cut]


async def test_an_answer_that_is_not_kept_stops_the_replay_there_and_is_named(past: Past) -> None:
    life = past.lives["approvals"]
    asked = next(row for row in life.taken if row.message_type == "Respond")
    read = next(row for row in life.sent if row.parent_id == asked.span_id)
    gone = msgspec.structs.replace(read, detail='Value tuple [{"$type":"_Row","request":"<Pe')
    lost = msgspec.structs.replace(life, sent=[gone if row is read else row for row in life.sent])
    told = await replay_actor(lost, past.env)
    assert told.stopped is asked and told.difference is None
    assert read.span_id in told.why and "too long to keep" in told.why


async def test_a_replay_touches_nothing_outside_a_temporary_folder(past: Past) -> None:
    seen: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if not watching:
            return
        if event in ("socket.connect", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork"):
            seen.append(f"{event} {arguments}")
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        if writes and not str(arguments[0]).startswith(("/tmp/", "/dev/null")):
            seen.append(f"open {arguments}")

    sys.addaudithook(watch)
    try:
        for actor in ACTORS:
            await past.replay(actor)
    finally:
        watching = False
    assert seen == []


_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
