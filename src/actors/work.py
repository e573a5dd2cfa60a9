"""Named spans for work inside an actor that is no message: a model call, a tool, a wait."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

import trio

from .cell import Envelope
from .span import current_span, span_scope
from .trace import Span, Trace


@contextmanager
def work_span(
    name: str, payload: object = None, *, traceparent: str | None = None
) -> Generator[Span]:
    """Record the body as a span of the tree this task works for; without a trace, only scope it.

    `payload` may change until the body ends: it is rendered later. An exception becomes the
    outcome (its `code` if it has one) and the detail, and goes on its way. An outcome that the
    body has set itself stays.
    """
    trace = trace_here()
    if trace is None:
        with span_scope(traceparent) as scope:
            yield Span(name, payload, scope, 0.0)
        return
    with trace.span(name, payload, traceparent=traceparent) as span:
        try:
            yield span
        except BaseException as error:
            _note(span, error)
            raise


def trace_here() -> Trace | None:
    """Return the trace of the actor whose work this task does, or None."""
    scope = current_span()
    held = scope.holder or scope if scope is not None else None
    return held.cell.runtime.trace if isinstance(held, Envelope) else None


def _note(span: Span, error: BaseException) -> None:
    first = _first_failure(error)
    if first is not None:
        span.detail = span.detail or str(getattr(first, "message", first))
    if span.outcome == "ok":
        span.outcome = _outcome(first)


def _outcome(failure: BaseException | None) -> str:
    return str(getattr(failure, "code", type(failure).__name__)) if failure else "cancelled"


def _first_failure(error: BaseException) -> BaseException | None:
    """The first error that is no cancellation, looking into groups."""
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return next((one for one in map(_first_failure, inner) if one), None)
    return None if isinstance(error, trio.Cancelled) else error
