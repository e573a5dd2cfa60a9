"""Logs are one JSON object per line, whoever wrote it, and hold no secret."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from september.logs import configure_logs, note_task, request_log


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    configure_logs("INFO", redact=lambda line: line.replace("s3cret", "***"), stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_the_documented_fields(stream: io.StringIO) -> None:
    structlog.get_logger("september.test").info("it happened", answer=42, what=object)
    (line,) = lines(stream)
    assert list(line) == [
        "timestamp",
        "level",
        "logger",
        "request_id",
        "task_id",
        "message",
        "extra",
    ]
    assert (line["level"], line["logger"]) == ("info", "september.test")
    assert (line["message"], line["extra"]["answer"]) == ("it happened", 42)
    assert line["request_id"] is line["task_id"] is None


def test_lines_of_a_request_name_it_and_its_task(stream: io.StringIO) -> None:
    log = structlog.get_logger("september.test")
    with request_log("req-1"):
        note_task("t")
        log.info("inside")
        logging.getLogger("other").warning("inside, %s", "too")
    log.info("outside")
    assert [(line["request_id"], line["task_id"]) for line in lines(stream)] == [
        ("req-1", "t"),
        ("req-1", "t"),
        (None, None),
    ]


def test_a_library_that_uses_logging_gets_the_same_form(stream: io.StringIO) -> None:
    logging.getLogger("library").error("broke: %d", 7)
    (line,) = lines(stream)
    assert (line["level"], line["logger"], line["message"]) == ("error", "library", "broke: 7")


def test_below_the_level_nothing_is_written(stream: io.StringIO) -> None:
    structlog.get_logger("september.test").debug("quiet")
    logging.getLogger("library").debug("quiet")
    assert lines(stream) == []


def test_an_exception_is_written_on_one_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        structlog.get_logger("september.test").exception("failed")
    (line,) = lines(stream)
    assert line["level"] == "error"
    assert "ValueError: two\nlines" in line["extra"]["exception"]


def test_a_secret_is_taken_out_wherever_it_stands(stream: io.StringIO) -> None:
    log = structlog.get_logger("september.test")
    log.info("key s3cret", key="s3cret", nested={"s3cret": ["s3cret"]})
    try:
        raise ValueError("s3cret")
    except ValueError:
        log.exception("failed")
    assert "s3cret" not in stream.getvalue()
    assert len(lines(stream)) == 2


def test_a_line_break_cannot_forge_a_line(stream: io.StringIO) -> None:
    structlog.get_logger("september.test").info('a\n{"level":"error"}', path="/x\r\ny")
    assert len(stream.getvalue().splitlines()) == 1


def test_what_json_cannot_say_is_logged_all_the_same(stream: io.StringIO) -> None:
    structlog.get_logger("september.test").info("odd \ud800", name="\ud800", by={(1, 2): 3})
    (line,) = lines(stream)
    assert "odd" in line["message"]
    assert "(1, 2)" in line["extra"]["repr"]


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with io.TextIOWrapper(io.FileIO(writer, "w"), write_through=True) as broken:
        configure_logs("INFO", stream=broken)
        structlog.get_logger("september.test").info("to nobody")
        logging.getLogger("library").warning("to nobody")


def test_lines_are_utf8_whatever_the_locale() -> None:
    script = (
        "import structlog, september.logs as logs;"
        "logs.configure_logs('INFO'); structlog.get_logger('x').info('h\u00e4')"
    )
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, env=env, check=True)
    assert json.loads(found.stdout.decode("utf-8"))["message"] == "h\u00e4"
