"""The types: what must not pass the checker does not. Each marked line is refused, no other."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

SNIPPET = """
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from september.actors import Actor, ActorRef, ChildSpec, DynamicSpec, Message, Reply, Tree


@dataclass(frozen=True, slots=True)
class Ask(Message[int]):
    name: str


@dataclass(frozen=True, slots=True)
class Tell(Message[None]):
    name: str


@dataclass(frozen=True, slots=True)
class Foreign(Message[None]):
    pass


Inbox: TypeAlias = Ask | Tell


class Good(Actor[Inbox]):
    async def handle(self, msg: Inbox) -> Reply:
        match msg:
            case Ask():
                return msg.reply(1)
            case Tell():
                return msg.done()
            case _:
                assert_never(msg)


class WrongReply(Actor[Inbox]):
    async def handle(self, msg: Inbox) -> Reply:
        match msg:
            case Ask():
                return msg.reply("one")  # REFUSED
            case Tell():
                return msg.done()


class ForgottenReply(Actor[Inbox]):
    async def handle(self, msg: Inbox) -> Reply:
        match msg:
            case Ask():
                return msg.done()  # REFUSED
            case Tell():
                pass  # the forgotten reply is reported at `async def`


class ForgottenBranch(Actor[Inbox]):
    async def handle(self, msg: Inbox) -> Reply:
        match msg:
            case Ask():
                return msg.reply(1)
            case _:
                assert_never(msg)  # REFUSED


CHILD = ChildSpec("good", Good)
MANY = DynamicSpec[Inbox]("many")


async def use(ref: ActorRef[Inbox], tree: Tree) -> None:
    number: int = await ref.call(Ask("x"))
    text: str = await ref.call(Ask("x"))  # REFUSED
    await ref.call(Foreign())  # REFUSED
    ref.cast(Tell("x"))
    ref.cast(Ask("x"))  # REFUSED
    await tree.ref(CHILD).call(Ask("x"))
    await tree.ref(CHILD).call(Foreign())  # REFUSED
    await tree.ref("good", Good).call(Foreign())  # REFUSED
    many = tree.ref(MANY)
    (await many.start("a", Good)).cast(Foreign())  # REFUSED
    narrow: ActorRef[Tell] = ref
    wide: ActorRef[Inbox | Foreign] = ref  # REFUSED
    print(number, text, narrow, wide)
"""


def test_the_checker_refuses_every_misuse_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "snippet.py"
    file.write_text(SNIPPET)
    printed = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(file)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(ROOT / ".dev")},
    ).stdout
    reported = {int(line.split(":")[1]) for line in printed.splitlines() if "snippet.py:" in line}
    lines = SNIPPET.splitlines()
    refused = {at for at, line in enumerate(lines, 1) if line.endswith("# REFUSED")}
    forgotten = lines.index("class ForgottenReply(Actor[Inbox]):") + 2
    assert reported == refused | {forgotten}, printed
