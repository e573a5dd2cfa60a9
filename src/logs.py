"""Logs: one JSON object per line on standard output, whoever wrote it.

`{timestamp, level, logger, request_id, task_id, message, extra}` (contract, section 16).
Every line passes a redactor last, so no secret of the Engine's own can be in it.
"""

import logging
import sys
import traceback
from collections.abc import Callable, Generator, MutableMapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from io import TextIOWrapper
from typing import Any, Final, TextIO, TypeAlias

import msgspec


@contextmanager
def _unseen(library: str) -> Generator[None]:
    """Let what is imported meanwhile believe that `library` is not installed."""
    if library in sys.modules:
        yield
        return
    sys.modules[library] = None  # type: ignore[assignment]  # how Python itself marks it
    try:
        yield
    finally:
        del sys.modules[library]


with _unseen("rich"):  # structlog would load all of it, a tenth of a start, for a console
    import structlog

get_logger: Final[Callable[[str], Any]] = structlog.get_logger
"""The logger of this name. Only this module imports structlog, so that it comes without rich."""

Redactor: TypeAlias = Callable[[str], str]
"""Takes secrets out of a finished line."""

_EventDict: TypeAlias = MutableMapping[str, Any]

_LEVEL: Final = {"critical": "error", "warn": "warning", "exception": "error"}


class RequestLog(msgspec.Struct):
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
    threshold = logging.getLevelNamesMapping()[level]
    out = stream or sys.stdout
    _make_utf8(out)
    render = _Renderer(redact)
    structlog.configure(
        processors=[structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=partial(_Writer, out),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Foreign(out, render)]
    root.setLevel(threshold)
    logging.getLogger("hypercorn.error").setLevel(max(logging.WARNING, threshold))
    logging.captureWarnings(True)


def _make_utf8(out: TextIO) -> None:
    """JSON is UTF-8, whatever the locale says."""
    if isinstance(out, TextIOWrapper):
        out.reconfigure(encoding="utf-8", errors="backslashreplace")


class _Writer:
    """What structlog hands a finished line to. Straight to the stream: `logging` costs more."""

    def __init__(self, out: TextIO, name: str = "september") -> None:
        self.name = name
        self._out = out

    def write(self, line: str) -> None:
        """Write one line, whole. A reader that has gone must not stop who has something to say."""
        with suppress(OSError, ValueError):
            self._out.write(line)
            self._out.flush()

    debug = info = warning = error = critical = exception = write


class _Foreign(logging.Handler):
    """Takes what libraries say through `logging`."""

    def __init__(self, out: TextIO, render: "_Renderer") -> None:
        super().__init__()
        self._out = out
        self._render = render

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record in the common form."""
        try:
            event: _EventDict = {"event": record.getMessage()}
            if record.exc_info:
                event["exception"] = "".join(traceback.format_exception(*record.exc_info))
            writer = _Writer(self._out, record.name)
            writer.write(self._render(writer, record.levelname.lower(), event))
        except Exception:
            self.handleError(record)


class _Renderer:
    """Renders an event as the documented object, without its secrets."""

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._encode = msgspec.json.Encoder(enc_hook=repr).encode

    def __call__(self, logger: object, method: str, event: _EventDict) -> str:
        """The line of an event, with its line break. A processor, in structlog's terms."""
        request = _request.get()
        line: dict[str, object] = {
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": _LEVEL.get(method, method),
            "logger": getattr(logger, "name", None),
            "request_id": request.request_id if request else None,
            "task_id": event.pop("task_id", request.task_id if request else None),
            "message": str(event.pop("event", "")),
            "extra": event,
        }
        return self._redact(self._encoded(line).decode()) + "\n"

    def _encoded(self, line: dict[str, object]) -> bytes:
        try:
            return self._encode(line)
        except (TypeError, ValueError):  # a lone surrogate, or keys that JSON does not have
            told = {"message": ascii(line["message"]), "extra": {"repr": ascii(line["extra"])}}
            return self._encode({**line, **told})
