"""Human in the loop: durable, answered once, expiring, found again by the same tool call."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from september.actors import ActorRef, ActorStopped
from september.actors.testing import running
from september.brain.hitl import (
    Answer,
    ApprovalMessage,
    Approvals,
    Ask,
    ListPending,
    Resolved,
    Respond,
    Withdraw,
)
from september.errors import SeptemberError

from .conftest import Brain

QUESTION = Ask("t", "turn-1", "call-1", "permission", "May I?", tool="bash", options=("yes", "no"))


@asynccontextmanager
async def approvals(
    brain: Brain, lifetime_s: float = 3600
) -> AsyncGenerator[ActorRef[ApprovalMessage]]:
    async with running(Approvals(brain.database, brain.log, lifetime_s)) as ref:
        yield ref


class Asked:
    """Asks in the background; `answer` is there when the nursery ends."""

    def __init__(self) -> None:
        self.answer: Answer | None = None

    async def run(self, ref: ActorRef[ApprovalMessage], ask: Ask = QUESTION) -> None:
        self.answer = await ref.call(ask)


async def until_pending(ref: ActorRef[ApprovalMessage], count: int = 1) -> str:
    while True:
        waiting = await ref.call(ListPending())
        if len(waiting) == count:
            return waiting[-1].request_id
        await trio.lowlevel.checkpoint()


async def events(brain: Brain) -> list[str]:
    rows = await brain.database.read(
        lambda c: c.execute("SELECT type FROM channel_events ORDER BY id").fetchall()
    )
    return [row[0] for row in rows]


async def test_an_answer_wakes_the_turn_and_is_told(brain: Brain) -> None:
    asked = Asked()
    async with approvals(brain) as ref, trio.open_nursery() as nursery:
        nursery.start_soon(asked.run, ref)
        request_id = await until_pending(ref)
        assert await ref.call(Respond("t", "yes", feedback="go")) == Resolved(request_id)
    assert asked.answer == Answer("user", "yes", "go")
    assert await events(brain) == ["hitl_request", "hitl_resolved"]


async def test_a_request_survives_a_restart_and_is_not_asked_twice(brain: Brain) -> None:
    async with approvals(brain) as ref, trio.open_nursery() as nursery:
        nursery.start_soon(Asked().run, ref)
        request_id = await until_pending(ref)
        nursery.cancel_scope.cancel()
    asked = Asked()
    async with approvals(brain) as ref, trio.open_nursery() as nursery:
        nursery.start_soon(asked.run, ref)
        assert await ref.call(ListPending()) != ()
        assert await ref.call(Respond("t", "no")) == Resolved(request_id)
    assert asked.answer == Answer("user", "no")
    assert await events(brain) == ["hitl_request", "hitl_resolved"]


async def test_an_answer_given_while_nobody_waited_is_found_later(brain: Brain) -> None:
    async with approvals(brain) as ref:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Asked().run, ref)
            await until_pending(ref)
            nursery.cancel_scope.cancel()
        await ref.call(Respond("t", "yes"))
        assert await ref.call(QUESTION) == Answer("user", "yes")


async def test_the_same_answer_twice_is_fine_and_another_is_a_mismatch(brain: Brain) -> None:
    async with approvals(brain) as ref, trio.open_nursery() as nursery:
        nursery.start_soon(Asked().run, ref)
        request_id = await until_pending(ref)
        for named in (request_id, None, request_id):
            assert await ref.call(Respond("t", "yes", named)) == Resolved(request_id)
        for named in (request_id, None, "hitl-other"):
            refusal = await ref.call(Respond("t", "no", named))
            assert isinstance(refusal, SeptemberError)
            assert refusal.code == "HITL_MISMATCH"


async def test_an_answer_to_a_task_that_never_asked_is_not_found(brain: Brain) -> None:
    async with approvals(brain) as ref:
        refusal = await ref.call(Respond("nobody", "yes"))
        assert isinstance(refusal, SeptemberError)
        assert refusal.status == 404


async def test_nobody_answers_and_the_request_expires(brain: Brain) -> None:
    async with approvals(brain, lifetime_s=0.01) as ref:
        assert await ref.call(QUESTION) == Answer("expiry")
        assert await ref.call(ListPending()) == ()
    assert await events(brain) == ["hitl_request", "hitl_resolved"]


async def test_cancelling_the_turn_resolves_what_it_asked(brain: Brain) -> None:
    asked, other = Asked(), Asked()
    elsewhere = Ask("u", "turn-2", "call-1", "question", "Which?")
    async with approvals(brain) as ref, trio.open_nursery() as nursery:
        nursery.start_soon(asked.run, ref)
        nursery.start_soon(other.run, ref, elsewhere)
        await until_pending(ref, 2)
        await ref.call(Withdraw("t", "turn-1"))
        (left,) = await ref.call(ListPending())
        assert left.task_id == "u"
        nursery.start_soon(ref.call, Respond("u", "blue"))
    assert asked.answer == Answer("cancel")
    assert other.answer == Answer("user", "blue")


async def test_several_requests_of_a_task_are_answered_oldest_first(brain: Brain) -> None:
    asked = [Asked(), Asked()]
    async with approvals(brain) as ref, trio.open_nursery() as nursery:
        for number, one in enumerate(asked):
            ask = Ask("t", "turn-1", f"call-{number}", "question", f"{number}?")
            nursery.start_soon(one.run, ref, ask)
            await until_pending(ref, number + 1)
        await ref.call(Respond("t", "first"))
        await ref.call(Respond("t", "second"))
    assert [one.answer for one in asked] == [Answer("user", "first"), Answer("user", "second")]


async def test_stopping_approvals_leaves_the_request_pending(brain: Brain) -> None:
    async with trio.open_nursery() as nursery:
        async with approvals(brain) as ref:
            failed = trio.Event()

            async def ask() -> None:
                with pytest.raises(ActorStopped):
                    await ref.call(QUESTION)
                failed.set()

            nursery.start_soon(ask)
            await until_pending(ref)
        await failed.wait()
    rows = await brain.database.read(
        lambda c: c.execute("SELECT status FROM hitl_requests").fetchall()
    )
    assert rows == [("pending",)]
