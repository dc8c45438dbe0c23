"""The package's own log goes to one stream, as text or as one JSON object per line, and nowhere else."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from authz_server.observe.logs import JsonFormatter, TextFormatter, configure

LOGGER = logging.getLogger("authz_server")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave the logger as it was found."""
    handlers, level, propagate = LOGGER.handlers, LOGGER.level, LOGGER.propagate
    yield
    LOGGER.handlers, LOGGER.propagate = handlers, propagate
    LOGGER.setLevel(level)


@pytest.fixture
def stream() -> io.StringIO:
    """Where the log goes."""
    return io.StringIO()


def test_json_lines(stream: io.StringIO) -> None:
    """A record is one JSON object with time, level and message, its arguments filled in."""
    configure(stream, json_lines=True)
    logging.getLogger("authz_server.keys").warning("keys of %s:\n%d", "p", 2)
    (line,) = stream.getvalue().splitlines()
    told = json.loads(line)

    assert {name: told[name] for name in ("level", "message")} == {"level": "warning", "message": "keys of p:\n2"}
    assert list(told) == ["time", "level", "message"]


def test_times_are_utc() -> None:
    """The time is ISO 8601 with milliseconds, in UTC."""
    record = logging.LogRecord("n", logging.ERROR, "p", 1, "é", (), None)
    record.created = 1_757_430_433.5

    assert JsonFormatter().format(record) == '{"time":"2025-09-09T15:07:13.500+00:00","level":"error","message":"\\u00e9"}'


def test_text_lines(stream: io.StringIO) -> None:
    """At a terminal a record is time, level and message; the time is that of the decision log beside it, UTC whatever the machine's zone is."""
    configure(stream, json_lines=False)
    LOGGER.error("it %s", "broke")

    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}Z ERROR   it broke\n", stream.getvalue())


def test_both_forms_tell_the_same_time() -> None:
    """In UTC, as ISO 8601 has it."""
    record = logging.LogRecord("n", logging.ERROR, "p", 1, "broke", (), None)
    record.created = 1_757_430_433.5

    assert TextFormatter().format(record) == "15:07:13.500Z ERROR   broke"
    assert '"2025-09-09T15:07:13.500+00:00"' in JsonFormatter().format(record)


def test_details_are_left_out(stream: io.StringIO) -> None:
    """What is below INFO is not written."""
    configure(stream, json_lines=True)
    LOGGER.debug("detail")
    LOGGER.info("news")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["news"]


def test_workers_are_told_apart() -> None:
    """Of several workers each line says which one wrote it."""
    written = []
    for json_lines in (True, False):
        stream = io.StringIO()
        configure(stream, json_lines=json_lines, worker=0)
        LOGGER.info("news")
        written.append(stream.getvalue())

    told = json.loads(written[0])
    assert {**told, "time": ""} == {"time": "", "level": "info", "worker": 0, "message": "news"}
    assert written[1][13:] == " INFO    worker 0: news\n"


def test_configuring_twice_replaces_the_stream(stream: io.StringIO) -> None:
    """No line is written twice, nor handed to an application's own handlers."""
    other = io.StringIO()
    configure(other, json_lines=True)
    configure(stream, json_lines=True)
    LOGGER.info("once")

    assert other.getvalue() == ""
    assert len(stream.getvalue().splitlines()) == 1
    assert LOGGER.propagate is False
