"""Logs: one JSON object per line on standard output, whoever wrote it.

`{timestamp, level, logger, request_id, task_id, message, extra}` (contract, section 16).
Every line passes a redactor last, so no secret of the Engine's own can be in it.
"""

import logging
import sys
from collections.abc import Callable, Generator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TextIO, TypeAlias

import msgspec
import structlog

Redactor: TypeAlias = Callable[[str], str]
"""Takes secrets out of a finished line."""

_EventDict: TypeAlias = MutableMapping[str, Any]

_OWN: Final = frozenset({"timestamp", "level", "logger", "event", "request_id", "task_id"})
_LEVEL: Final = {"critical": "error", "warn": "warning", "exception": "error"}


@dataclass(slots=True)
class RequestLog:
    """The request that a line belongs to. The task becomes known only while it is handled."""

    request_id: str
    task_id: str | None = None


_request: Final[ContextVar[RequestLog | None]] = ContextVar("september.logs", default=None)


@contextmanager
def request_log(request_id: str) -> Generator[RequestLog]:
    """Mark the lines written inside, also in tasks started inside, as of this request."""
    log = RequestLog(request_id)
    token = _request.set(log)
    try:
        yield log
    finally:
        _request.reset(token)


def note_task(task_id: str | None) -> None:
    """Say which task the current request is about; outside any request, nothing happens."""
    log = _request.get()
    if log is not None:
        log.task_id = task_id


def configure_logs(level: str, *, redact: Redactor = str, stream: TextIO | None = None) -> None:
    """Send everything that is logged, by structlog or by `logging`, to `stream` (stdout).

    `level` is DEBUG, INFO, WARNING or ERROR. Calling it again replaces the settings.
    """
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_request,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _Line(redact),
        ],
        foreign_pre_chain=shared,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.getLogger("hypercorn.error").setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)


def _with_request(logger: object, method: str, event: _EventDict) -> _EventDict:
    log = _request.get()
    if log is not None:
        event.setdefault("request_id", log.request_id)
        event.setdefault("task_id", log.task_id)
    return event


class _Line:
    """Renders an event as the documented object."""

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._encode = msgspec.json.Encoder(enc_hook=repr, decimal_format="number").encode

    def __call__(self, logger: object, method: str, event: _EventDict) -> str:
        level = event.get("level", method)
        line = {
            "timestamp": event.get("timestamp"),
            "level": _LEVEL.get(level, level),
            "logger": event.get("logger"),
            "request_id": event.get("request_id"),
            "task_id": event.get("task_id"),
            "message": str(event.get("event", "")),
            "extra": {key: value for key, value in event.items() if key not in _OWN},
        }
        return self._redact(self._encode(line).decode())
