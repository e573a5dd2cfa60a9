"""Human in the loop: questions that a turn waits on, durable, expiring, answered once.

A request belongs to a tool call, so a turn that is taken up again after a restart asks with the
same words and finds its old request (contract, sections 8 and 19.1).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias, assert_never, cast

import msgspec
import trio

from ..actors import Actor, ActorRef, Later, Message, Reply
from ..errors import SeptemberError
from .channels.events import Event, HitlRequest, HitlResolved, JsonObject
from .channels.log import LogMessage, append
from .clock import iso, new_id, now_ms
from .herald.conversation import MediaBlock
from .media.rows import MediaItem, as_column, keep, of_column
from .security.secrets import SecretScrubber
from .store.connection import Connection
from .store.database import Database

Kind: TypeAlias = Literal["permission", "question", "plan"]
By: TypeAlias = Literal["user", "expiry", "cancel"]


class Answer(msgspec.Struct, frozen=True):
    """How a request ended. `text` is None when nobody answered."""

    by: By
    text: str | None = None
    feedback: str | None = None
    media: tuple[MediaBlock, ...] = ()


class Pending(msgspec.Struct, frozen=True):
    """A request that waits, as GET /hitl/pending shows it. Times are milliseconds."""

    request_id: str
    task_id: str
    turn_id: str
    kind: Kind
    question: str
    tool: str | None
    input: JsonObject | None
    options: tuple[str, ...]
    created_at: int
    expires_at: int


class Ask(Message[Answer], msgspec.Struct, frozen=True):
    """Put a question to the person and wait for the answer, however long it takes.

    `announce` events precede the hitl_request on the wire.
    """

    task_id: str
    turn_id: str
    tool_call_id: str
    kind: Kind
    question: str
    tool: str | None = None
    input: JsonObject | None = None
    options: tuple[str, ...] = ()
    announce: tuple[Event, ...] = ()


class Resolved(msgspec.Struct, frozen=True):
    """The request that an answer went to."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Respond(Message["Resolved | SeptemberError"]):
    """A person's answer to the task's oldest pending request, or to `request_id`.

    `media` names what came with it by id; `items` is what is to be kept under those ids.
    """

    task_id: str
    answer: str
    request_id: str | None = None
    feedback: str | None = None
    media: tuple[MediaBlock, ...] = ()
    items: tuple[MediaItem, ...] = field(default=(), repr=False)


class Withdraw(Message[None], msgspec.Struct, frozen=True):
    """Resolve what a turn, or one tool call of it, still waits on: nobody needs the answer."""

    task_id: str
    turn_id: str
    tool_call_id: str | None = None


class ListPending(Message[tuple[Pending, ...]], msgspec.Struct, frozen=True):
    """All requests that wait, oldest first."""


class Expire(Message[None], msgspec.Struct, frozen=True):
    """The time of a request is over."""

    request_id: str


ApprovalMessage: TypeAlias = Ask | Respond | Withdraw | ListPending | Expire


class Approvals(Actor[ApprovalMessage]):
    """Keeps the open questions, wakes the turn whose question is answered."""

    replayable = True

    def __init__(
        self,
        database: Database,
        log: ActorRef[LogMessage],
        lifetime_s: float,
        scrubber: SecretScrubber | None = None,
    ) -> None:
        self._database = database
        self._log = log
        self._lifetime_ms = int(lifetime_s * 1000)
        self._scrubber = scrubber or SecretScrubber()
        self._waiting: dict[str, _Wait] = {}

    async def handle(self, msg: ApprovalMessage) -> Reply | Later:
        match msg:
            case Ask():
                return await self._ask(msg)
            case Respond():
                return msg.reply(await self._respond(msg))
            case Withdraw():
                await self._withdraw(msg)
                return msg.done()
            case ListPending():
                return msg.reply(await self._database.read(pending))
            case Expire(request_id):
                await self._expire(request_id)
                return msg.done()
            case _:
                assert_never(msg)

    async def _ask(self, ask: Ask) -> Reply | Later:
        known = await self._database.read(partial(_of_call, ask=ask))
        if known is not None and known.status != "pending":
            return ask.reply(_answer_of(known))
        request = known.request if known is not None else await self._open(ask)
        wait = self._waiting.setdefault(request.request_id, _Wait(request.expires_at))
        return ask.reply_after(partial(wait.answered, partial(self._time_is_up, request)))

    def _time_is_up(self, request: Pending) -> None:
        self.ref.cast(Expire(request.request_id))

    async def _open(self, ask: Ask) -> Pending:
        now = now_ms()
        request = Pending(
            new_id("hitl"), ask.task_id, ask.turn_id, ask.kind, ask.question,
            ask.tool, ask.input, ask.options, now, now + self._lifetime_ms,
        )  # fmt: skip
        events = (*ask.announce, announcement(request))
        insert = partial(_insert, ask=ask, request=request)
        await append(self._log, ask.task_id, ask.turn_id, events, insert)
        return request

    async def _respond(self, msg: Respond) -> "Resolved | SeptemberError":
        found = await self._database.read(partial(_candidates, task_id=msg.task_id))
        chosen = _choose(found, msg)
        if isinstance(chosen, SeptemberError):
            return chosen
        if msg.media and chosen.request.kind == "permission":
            return _no_media(msg)
        if chosen.status == "pending":
            answer = Answer("user", msg.answer, msg.feedback, msg.media)
            await self._resolve(chosen.request, answer, msg.items)
        return Resolved(chosen.request.request_id)

    async def _withdraw(self, msg: Withdraw) -> None:
        for request in await self._database.read(partial(_withdrawn, msg=msg)):
            await self._resolve(request, Answer("cancel"))

    async def _expire(self, request_id: str) -> None:
        for request in await self._database.read(pending):
            if request.request_id == request_id:
                await self._resolve(request, Answer("expiry"))

    async def _resolve(
        self, request: Pending, answer: Answer, items: tuple[MediaItem, ...] = ()
    ) -> None:
        event = HitlResolved(
            request_id=request.request_id,
            task_id=request.task_id,
            answer=self._scrubber.scrub(answer.text) if answer.text is not None else None,
            by=answer.by,
        )
        settle = partial(_settle, request=request, answer=answer, items=items)
        await append(self._log, request.task_id, request.turn_id, (event,), settle)
        wait = self._waiting.pop(request.request_id, None)
        if wait is not None:
            wait.wake(answer)


class _Wait:
    """A turn waiting for one answer."""

    def __init__(self, expires_at: int) -> None:
        self._expires_at = expires_at
        self._event = trio.Event()
        self._answer = Answer("cancel")

    def wake(self, answer: Answer) -> None:
        self._answer = answer
        self._event.set()

    async def answered(self, time_is_up: Callable[[], None]) -> Answer:
        with trio.move_on_after(max(0.0, (self._expires_at - now_ms()) / 1000)) as limit:
            await self._event.wait()
        if limit.cancelled_caught:
            time_is_up()
            await self._event.wait()
        return self._answer


class _Row(msgspec.Struct, frozen=True):
    """A stored request with its outcome."""

    request: Pending
    status: str
    answer: str | None
    feedback: str | None
    media: tuple[MediaBlock, ...]


_STATUS: dict[By, str] = {"user": "answered", "expiry": "expired", "cancel": "cancelled"}
_ENDED_BY: dict[str, By] = {status: by for by, status in _STATUS.items()}
_COLUMNS = (
    "request_id, task_id, turn_id, kind, question, tool, input, options, created_at,"
    " expires_at, status, answer, feedback, media"
)


def _answer_of(row: _Row) -> Answer:
    return Answer(_ENDED_BY[row.status], row.answer, row.feedback, row.media)


def announcement(request: Pending) -> HitlRequest:
    """A request as the wire and GET /hitl/pending show it."""
    return HitlRequest(
        request_id=request.request_id,
        task_id=request.task_id,
        kind=request.kind,
        question=request.question,
        created_at=iso(request.created_at),
        expires_at=iso(request.expires_at),
        tool=request.tool if request.tool is not None else msgspec.UNSET,
        input=request.input if request.input is not None else msgspec.UNSET,
        options=list(request.options) if request.options else msgspec.UNSET,
    )


def _choose(found: tuple[_Row, ...], msg: Respond) -> "_Row | SeptemberError":
    """The request that an answer is for: rules of contract 19.1."""
    waiting = [row for row in found if row.status == "pending"]
    if msg.request_id is not None:
        named = [row for row in found if row.request.request_id == msg.request_id]
        if named and (named[0].status == "pending" or named[0].answer == msg.answer):
            return named[0]
        return _mismatch(msg, waiting) if found else _nothing(msg.task_id)
    if waiting:
        return waiting[0]
    answered = [row for row in found if row.status == "answered"]
    if not answered:
        return _nothing(msg.task_id)
    return answered[-1] if answered[-1].answer == msg.answer else _mismatch(msg, waiting)


def _nothing(task_id: str) -> SeptemberError:
    return SeptemberError(
        "TASK_NOT_FOUND",
        f"task {task_id!r} waits for no answer; GET /hitl/pending lists the tasks that do",
        {"task_id": task_id},
    )


def _mismatch(msg: Respond, waiting: list[_Row]) -> SeptemberError:
    expected = [row.request.request_id for row in waiting]
    return SeptemberError(
        "HITL_MISMATCH",
        "the request was answered otherwise or is not the one that waits;"
        " GET /hitl/pending shows what waits now",
        {"task_id": msg.task_id, "request_id": msg.request_id, "pending": expected},
    )


def _no_media(msg: Respond) -> SeptemberError:
    return SeptemberError(
        "INVALID_REQUEST",
        "content_blocks: a permission is given or refused in words; answer without them, and send"
        " the media with the task's next message (POST /execute, media)",
        {"field": "content_blocks", "task_id": msg.task_id},
    )


def _row(columns: tuple[object, ...]) -> _Row:
    *request, status, answer, feedback, media = columns
    plain = dict(zip(_COLUMNS.split(", "), request, strict=False))
    plain["input"] = msgspec.json.decode(str(plain["input"])) if plain["input"] else None
    plain["options"] = msgspec.json.decode(str(plain["options"] or "[]"))
    ended = {"status": status, "answer": answer, "feedback": feedback}
    kept = {"media": of_column(cast("str | None", media))}
    return msgspec.convert({"request": plain, **ended, **kept}, _Row)


def pending(connection: Connection) -> tuple[Pending, ...]:
    """All pending requests, oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM hitl_requests WHERE status = 'pending'"
        " ORDER BY created_at, request_id"
    )
    return tuple(_row(row).request for row in rows)


def _withdrawn(connection: Connection, msg: Withdraw) -> tuple[Pending, ...]:
    """The pending requests that go. What a call asks several times has ids `<call>#<number>`."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM hitl_requests WHERE status = 'pending' AND turn_id = ?1"
        " AND (?2 IS NULL OR tool_call_id = ?2 OR instr(tool_call_id, ?2 || '#') = 1)"
        " ORDER BY created_at, request_id",
        (msg.turn_id, msg.tool_call_id),
    )
    return tuple(_row(row).request for row in rows)


def _candidates(connection: Connection, task_id: str) -> tuple[_Row, ...]:
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM hitl_requests WHERE task_id = ? ORDER BY created_at, request_id",
        (task_id,),
    )
    return tuple(_row(row) for row in rows)


def _of_call(connection: Connection, ask: Ask) -> _Row | None:
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM hitl_requests WHERE turn_id = ? AND tool_call_id = ?",
        (ask.turn_id, ask.tool_call_id),
    ).fetchone()
    return _row(found) if found else None


def _insert(connection: Connection, ask: Ask, request: Pending) -> None:
    connection.execute(
        "INSERT INTO hitl_requests (request_id, task_id, turn_id, tool_call_id, kind, question,"
        " tool, input, options, status, created_at, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?)",
        (
            request.request_id, request.task_id, request.turn_id, ask.tool_call_id, request.kind,
            request.question, request.tool,
            msgspec.json.encode(request.input).decode() if request.input is not None else None,
            msgspec.json.encode(request.options).decode(),
            request.created_at, request.expires_at,
        ),
    )  # fmt: skip


def _settle(
    connection: Connection, request: Pending, answer: Answer, items: tuple[MediaItem, ...]
) -> None:
    keep(connection, request.task_id, items)
    connection.execute(
        "UPDATE hitl_requests SET status = ?, answer = ?, feedback = ?, media = ?, resolved_at = ?"
        " WHERE request_id = ? AND status = 'pending'",
        (
            _STATUS[answer.by], answer.text, answer.feedback, as_column(answer.media), now_ms(),
            request.request_id,
        ),
    )  # fmt: skip
