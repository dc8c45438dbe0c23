"""The decision log has one line per check, tells no secret, and never holds up a check."""

import io
import json
import select
import threading
import tracemalloc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.core.decisions import Allow
from authz_server.observe import decision_log
from authz_server.observe.decision_log import DecisionLog, memory, writes
from authz_server.observe.entry import Entry, as_json, fields
from tests.waiting import PATIENCE, until

ALLOWED = Allow(api="pets", route="GET /pets/{petId}", headers=(("x-auth-sub", "secret-sub"),), metadata={"email": "secret-mail"})
ENTRY = Entry(1_757_430_433.0625, 0.0012345, "GET", "api.test", "11111111-2222-4333-8444-555555555555", ALLOWED)


def numbered(number: int) -> Entry:
    """Make an entry that can be told apart."""
    return ENTRY._replace(host=f"host-{number}")


def hosts(written: str) -> list[str]:
    """List the hosts of the lines that were written."""
    return [json.loads(line)["host"] for line in written.splitlines()]


@pytest.mark.parametrize(
    ("sizes", "groups"), [([2_048, 2_048], 1), ([2_048, 2_049], 2), ([4_096], 1), ([4_097, 1], 2), ([1, 4_096, 1], 3), ([], 0)]
)
def test_a_pipe_is_filled_to_the_brim(sizes: list[int], groups: int) -> None:
    """PIPE_BUF octets are one write, one more is another."""
    assert select.PIPE_BUF == 4_096
    assert len(list(writes("x" * size for size in sizes))) == groups


@given(st.lists(st.integers(0, 6_000)))
def test_writes_are_what_a_pipe_takes_whole(sizes: list[int]) -> None:
    """Lines keep their order and are never split; together they are at most PIPE_BUF octets, or one line that is longer."""
    lines = ["é" * (size // 2) + "\n" for size in sizes]
    groups = list(writes(lines))

    assert [line for group in groups for line in group] == lines
    for group in groups:
        assert group
        assert len(group) == 1 or sum(len(line.encode()) for line in group) <= select.PIPE_BUF
    for group, following in pairwise(groups):
        assert sum(len(line.encode()) for line in [*group, following[0]]) > select.PIPE_BUF


class Stream(io.StringIO):
    """A stream that tells when it is written to, and that can be held up."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def write(self, text: str) -> int:
        """Write, once the gate is open."""
        self.reached.set()
        assert self.gate.wait(PATIENCE)
        return super().write(text)


@pytest.fixture
def stream() -> Stream:
    """Where lines go."""
    return Stream()


@pytest.fixture
def lost() -> list[int]:
    """How many lines were lost, each time."""
    return []


@pytest.fixture
def log(stream: Stream, lost: list[int]) -> Iterator[DecisionLog]:
    """A log that ends with the test."""
    log = DecisionLog(stream, as_json, lost.append)
    yield log
    stream.gate.set()
    log.close()


def test_entries_are_written_in_order(log: DecisionLog, stream: Stream, lost: list[int]) -> None:
    """Closing writes everything that is left, each entry on a line of its own."""
    for number in range(1_000):
        log(numbered(number))
    log.close()

    assert hosts(stream.getvalue()) == [f"host-{number}" for number in range(1_000)]
    assert stream.getvalue().endswith("\n")
    assert lost == []


def test_entries_are_written_soon(log: DecisionLog, stream: Stream) -> None:
    """Nobody has to close the log to see a line."""
    log(ENTRY)

    assert stream.reached.wait(PATIENCE)


def test_lines_do_not_stay_in_a_buffer(lost: list[int]) -> None:
    """A line that was written is there for its reader."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(io.BufferedWriter(raw, 65_536), write_through=False)
    log = DecisionLog(stream, as_json, lost.append)
    log(ENTRY)
    log.close()

    assert hosts(raw.getvalue().decode()) == ["api.test"]
    stream.close()


def test_a_log_without_entries_writes_nothing(log: DecisionLog, stream: Stream) -> None:
    """An idle server leaves its output alone."""
    log.close()

    assert not stream.reached.is_set()


def stuck(log: DecisionLog, stream: Stream) -> None:
    """Let the log write a line that its reader does not take."""
    stream.gate.clear()
    log(numbered(0))
    assert stream.reached.wait(PATIENCE)


def test_a_slow_reader_holds_nobody_up(log: DecisionLog, stream: Stream, lost: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """While the stream is stuck, lines are kept up to a limit of bytes, and those beyond it are counted and lost."""
    monkeypatch.setattr(decision_log, "MAX_WAITING_BYTES", 4 * memory(as_json(ENTRY._replace(host="host-0")) + "\n"))
    stuck(log, stream)
    for number in range(1, 6):
        log(numbered(number))

    assert lost == [1, 1]
    stream.gate.set()
    log.close()
    assert hosts(stream.getvalue()) == ["host-0", "host-1", "host-2", "host-3"]


def test_a_short_line_fits_where_a_long_one_does_not(
    log: DecisionLog, stream: Stream, lost: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is about bytes, and not about lines."""
    monkeypatch.setattr(decision_log, "MAX_WAITING_BYTES", 3_000)
    stuck(log, stream)
    log(ENTRY._replace(host="long" * 1_000))
    log(numbered(1))

    assert lost == [1]
    stream.gate.set()
    log.close()
    assert hosts(stream.getvalue()) == ["host-0", "host-1"]


def test_lines_that_were_written_make_room(log: DecisionLog, stream: Stream, lost: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that was full takes lines again once its reader has taken the old ones, as often as it happens."""
    monkeypatch.setattr(decision_log, "MAX_WAITING_BYTES", 3_000)
    for _ in range(5):
        stuck(log, stream)
        while not lost:
            log(ENTRY)
        stream.gate.set()
        until(lambda: log.waiting == 0)
        assert lost == [1]
        lost.clear()
        stream.reached.clear()


class Heavy:
    """What a decision refers to besides what its line says: the request, the token and its claims."""


def test_a_line_that_waits_keeps_nothing_of_its_check(log: DecisionLog, stream: Stream) -> None:
    """The request, the token and the claims of a check are gone while its line waits for the reader."""
    stuck(log, stream)
    heavy = Heavy()
    there = weakref.ref(heavy)
    log(ENTRY._replace(decision=replace(ALLOWED, evaluation=cast("Any", heavy))))
    del heavy

    assert there() is None


def test_what_waits_takes_no_more_memory_than_it_may(
    log: DecisionLog, stream: Stream, lost: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mebibyte of lines is a mebibyte of memory, whatever the entries were made of; 5 % is for how memory is handed out."""
    monkeypatch.setattr(decision_log, "MAX_WAITING_BYTES", 1_048_576)
    stuck(log, stream)
    claims = {"name": "é" * 1_000}
    log(ENTRY)
    for _ in [ENTRY._replace() for _ in range(4_000)]:
        pass  # Python keeps some tuples for later use: let it have them before
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(4_000):
            decision = Allow(api="pets", route="GET /pets", metadata={"email": f"{number}" * 2_000}, logged=claims if number % 2 else {})
            log(ENTRY._replace(host=f"host-{number}", decision=decision))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert sum(lost) > 0
    assert 0.5 * 1_048_576 < after - before < 1.05 * 1_048_576


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(28, "No space left on device"), ValueError("I/O operation on closed file")], ids=repr
)
def test_a_broken_stream_loses_lines_and_nothing_else(error: Exception, lost: list[int]) -> None:
    """A pipe that is closed or a disk that is full costs lines, which are counted; the log goes on."""
    written: list[str] = []

    class Broken(Stream):
        def write(self, text: str) -> int:
            if "host-2" not in text:
                self.reached.set()
                raise error
            written.append(text)
            return len(text)

    stream = Broken()
    log = DecisionLog(stream, as_json, lost.append)
    log(numbered(0))
    assert stream.reached.wait(PATIENCE)
    log(numbered(2))
    log.close()

    assert hosts("".join(written)) == ["host-2"]
    assert lost == [1]


def test_a_stream_that_is_closed_costs_its_lines(lost: list[int]) -> None:
    """All entries of a write that fails are counted."""
    stream = io.StringIO()
    stream.close()
    log = DecisionLog(stream, as_json, lost.append)
    for number in range(3):
        log(numbered(number))
    log.close()

    assert sum(lost) == 3


def test_a_line_that_can_not_be_written_costs_only_itself(stream: Stream, lost: list[int], caplog: pytest.LogCaptureFixture) -> None:
    """It is counted, and said once without values; the lines around it are there."""

    def line(entry: Entry) -> str:
        if entry.host in {"host-1", "host-2", "host-4"}:
            raise KeyError(entry.host)
        return as_json(entry)

    log = DecisionLog(stream, line, lost.append)
    for number in range(4):
        log(numbered(number))
    assert stream.reached.wait(PATIENCE)
    log(numbered(4))
    log(numbered(5))
    log.close()

    assert hosts(stream.getvalue()) == ["host-0", "host-3", "host-5"]
    assert sum(lost) == 3
    assert [record.getMessage().startswith("bug: KeyError while writing the decision log") for record in caplog.records] == [True]
    assert "host-1" not in caplog.text


def test_text_that_has_no_octets_costs_only_its_write(lost: list[int]) -> None:
    """Half of a pair of UTF-16 is no text for a stream."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw)
    log = DecisionLog(stream, lambda entry: entry.host, lost.append)
    log(ENTRY._replace(host="\ud800"))
    log.close()
    again = DecisionLog(stream, as_json, lost.append)
    again(ENTRY)
    again.close()

    assert lost == [1]
    assert hosts(raw.getvalue().decode()) == ["api.test"]
    stream.close()


def test_the_log_keeps_up_with_threads(log: DecisionLog, stream: Stream) -> None:
    """Entries of many threads are all written, none torn."""
    threads = [threading.Thread(target=lambda: [log(ENTRY) for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()

    lines: list[Any] = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines == [fields(ENTRY)] * 4_000
