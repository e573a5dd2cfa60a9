"""Exceptions to answers: one table, one envelope, never a stack."""

from collections.abc import Callable, Iterator
from math import ceil
from typing import Final, TypeAlias, cast

import msgspec
import trio
from hypercorn.typing import ASGISendCallable

from ..actors import ActorCrashed, ActorStopped, MailboxFull, current_span
from ..errors import SeptemberError
from ..logs import get_logger
from .asgi import send_whole

_log = get_logger("september.http")


def envelope(error: SeptemberError) -> bytes:
    """The flat JSON body of a refusal (contract, section 2.1)."""
    body: dict[str, object] = {"error": error.code, "message": error.message}
    if error.details:
        body["details"] = error.details
    return msgspec.json.encode(body, enc_hook=str)


Envelope: TypeAlias = Callable[[SeptemberError], bytes]
"""Makes the body of a refusal: each service has its own."""


def headers(error: SeptemberError) -> list[tuple[str, str]]:
    """The headers of a refusal."""
    if error.retry_after is None:
        return [("content-type", "application/json")]
    wait = str(max(1, ceil(error.retry_after)))  # Retry-After takes whole seconds
    return [("content-type", "application/json"), ("retry-after", wait)]


async def send_refusal(
    send: ASGISendCallable, error: SeptemberError, body_of: Envelope = envelope
) -> None:
    """Answer a request with a refusal, whose body `body_of` makes."""
    await send_whole(send, error.status, headers(error), body_of(error))


def explain(error: BaseException) -> SeptemberError:
    """The refusal that an exception stands for; one that is unforeseen is logged.

    Raises `error` itself when it is not an Exception (a cancellation, an interrupt).
    """
    found = _relevant(error)
    known = _known(found)
    if known is not None:
        return known
    span = current_span()
    trace_id = f"{span.trace_id:032x}" if span else ""
    _log.error("request failed", trace_id=trace_id, exc_info=found)
    return SeptemberError(
        "INTERNAL",
        f"this request failed; the log and trace {trace_id} say why",
        {"trace_id": trace_id},
    )


def _known(error: Exception) -> SeptemberError | None:
    match error:
        case SeptemberError():
            return error
        case ActorCrashed():
            return None
        case ActorStopped():
            return _STOPPING
        case MailboxFull():
            return _CROWDED
        case _:
            return None


_STOPPING: Final = SeptemberError(
    "DRAINING", "the Engine is shutting down; send the request again after the restart"
)
_CROWDED: Final = SeptemberError(
    "SLOTS_EXHAUSTED", "the Engine has more work than it can queue; try again", retry_after=1.0
)


def _relevant(error: BaseException) -> Exception:
    """Of a group, the refusal that caused it, or else its first failure."""
    leaves = tuple(_leaves(error))
    failures = [leaf for leaf in leaves if isinstance(leaf, Exception)]
    fatal = [leaf for leaf in leaves if not isinstance(leaf, Exception | trio.Cancelled)]
    if fatal or not failures:
        raise error
    return next((leaf for leaf in failures if isinstance(leaf, SeptemberError)), failures[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        for inner in group.exceptions:
            yield from _leaves(inner)
    else:
        yield error
