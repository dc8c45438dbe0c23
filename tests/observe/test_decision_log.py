"""The decision log has one line per check, tells no secret, and never holds up a check."""

import io
import json
import select
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.core.decisions import Allow, Deny, Reason
from authz_server.observe import decision_log
from authz_server.observe.decision_log import DecisionLog, Entry, as_json, as_text, brief, fields, writes

PATIENCE = 10.0  # seconds after which a test that waits has failed
ALLOWED = Allow(api="pets", route="GET /pets/{petId}", headers=(("x-auth-sub", "secret-sub"),), metadata={"email": "secret-mail"})
DENIED = Deny(reason=Reason.TOKEN_EXPIRED, api="pets", route="GET /pets/{petId}")
ENTRY = Entry(1_757_430_433.0625, 0.0012345, "GET", "api.test", "11111111-2222-4333-8444-555555555555", ALLOWED)


def numbered(number: int) -> Entry:
    """Make an entry that can be told apart."""
    return ENTRY._replace(host=f"host-{number}")


def hosts(written: str) -> list[str]:
    """List the hosts of the lines that were written."""
    return [json.loads(line)["host"] for line in written.splitlines()]


def test_an_allow_is_logged_with_its_route() -> None:
    """Time, decision, api, route, method, host, request id and duration stand in every entry."""
    assert fields(ENTRY) == {
        "time": "2025-09-09T15:07:13.062+00:00",
        "decision": "allow",
        "api": "pets",
        "route": "GET /pets/{petId}",
        "method": "GET",
        "host": "api.test",
        "request_id": "11111111-2222-4333-8444-555555555555",
        "duration_ms": 1.234,
    }


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.label)
def test_a_denial_is_logged_with_its_reason(reason: Reason) -> None:
    """The operator learns the reason and the status that was sent."""
    told = fields(ENTRY._replace(decision=Deny(reason=reason)))

    assert (told["reason"], told["status"]) == (reason.label, reason.value.status)
    assert told["decision"] == ("unavailable" if reason.value.status >= 500 else "deny")
    assert (told["api"], told["route"]) == ("", "")


def test_only_claims_that_the_api_names_are_logged() -> None:
    """Headers and metadata of an allow do not appear; the claims that are meant for the log do."""
    for line in (as_json, as_text):
        assert "secret" not in line(ENTRY)
    logged = ENTRY._replace(decision=Allow(api="a", route="r", logged={"sub": "ada"}))
    assert fields(logged)["claims"] == {"sub": "ada"}


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        pytest.param(ENTRY, '15:07:13.062 allow       pets GET /pets/{petId}  "GET api.test"  1.234 ms', id="allow"),
        pytest.param(
            ENTRY._replace(decision=Allow(api="a", route="r", logged={"sub": "ada"})),
            '15:07:13.062 allow       a r  "GET api.test"  1.234 ms  "sub": "ada"',
            id="allow with claims",
        ),
        pytest.param(
            ENTRY._replace(decision=DENIED),
            '15:07:13.062 deny        pets GET /pets/{petId}  "GET api.test"  1.234 ms  401 token_expired',
            id="deny",
        ),
        pytest.param(
            ENTRY._replace(decision=Deny(reason=Reason.NO_API)),
            '15:07:13.062 deny        - -  "GET api.test"  1.234 ms  403 no_api',
            id="deny without api and route",
        ),
        pytest.param(
            ENTRY._replace(decision=Deny(reason=Reason.KEYS_UNAVAILABLE, api="a", route="r")),
            '15:07:13.062 unavailable a r  "GET api.test"  1.234 ms  503 keys_unavailable',
            id="unavailable",
        ),
        pytest.param(
            ENTRY._replace(host='evil"\n\x1b[31m'),
            '15:07:13.062 allow       pets GET /pets/{petId}  "GET evil\\"\\n\\u001b[31m"  1.234 ms',
            id="what a client chose is quoted",
        ),
    ],
)
def test_text_is_for_people(entry: Entry, text: str) -> None:
    """At a terminal a line says when, what, where, how long and why; nothing of it can move the cursor."""
    assert as_text(entry) == text


def test_what_a_client_chose_is_cut() -> None:
    """Method and host can neither make lines of any length, nor fill the memory of those that wait to be written."""
    assert brief("M" * 100, "h" * 1_000) == ("M" * 16, "h" * 255)


def test_a_user_in_front_of_the_host_is_left_out() -> None:
    """RFC 9110 section 4.2.4: what stands before `@` may be a password."""
    assert brief("GET", "ada:secret@b@api.test") == ("GET", "api.test")
    assert brief("GET", "ada:secret@" + "h" * 1_000) == ("GET", "h" * 255)


@given(method=st.text(), host=st.text())
def test_an_entry_is_one_line(method: str, host: str) -> None:
    """Whatever a client sends, an entry is one line of printable ASCII; as JSON it reads back."""
    entry = ENTRY._replace(method=method, host=host)

    for line in (as_json(entry), as_text(entry)):
        assert line.isascii()
        assert line.isprintable()
    assert json.loads(as_json(entry)) == fields(entry)


@pytest.mark.parametrize(
    "decision",
    [
        pytest.param(ALLOWED, id="allow"),
        pytest.param(Allow(api="é\n", route='GET /"{x}"', logged={"sub": 'a"\n', "é": "\ud83d\ude00"}), id="allow with claims"),
        *(pytest.param(Deny(reason=reason, api="a", route="r"), id=reason.label) for reason in Reason),
    ],
)
def test_json_is_what_the_fields_say(decision: Allow | Deny) -> None:
    """A line of JSON is `fields`, in their order and without spaces between them, whatever is logged."""
    entry = ENTRY._replace(decision=decision, method='G"\n', host="\ud800é", seconds=0.012345)

    assert as_json(entry) == json.dumps(fields(entry), separators=(",", ":"))


@pytest.mark.parametrize(("seconds", "told"), [(0.0, "0.000"), (0.0000001, "0.000"), (0.00001, "0.010"), (1e6, "1000000000.000")])
def test_durations_are_numbers(seconds: float, told: str) -> None:
    """A duration is a JSON number of milliseconds with three decimals, however short or long it was."""
    assert f'"duration_ms":{told}}}' in as_json(ENTRY._replace(seconds=seconds))


@pytest.mark.parametrize(
    ("time", "told"), [(0.0, "1970-01-01T00:00:00.000"), (1_757_430_433.999, "2025-09-09T15:07:13.999"), (1e9, "2001-09-09T01:46:40.000")]
)
def test_times_have_milliseconds(time: float, told: str) -> None:
    """A time is ISO 8601 in UTC; a second is not taken for the one before it."""
    assert fields(ENTRY._replace(time=time))["time"] == told + "+00:00"


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


def test_a_slow_reader_holds_nobody_up(log: DecisionLog, stream: Stream, lost: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """While the stream is stuck, entries are kept up to a limit, and those beyond it are counted and lost."""
    monkeypatch.setattr(decision_log, "MAX_WAITING", 3)
    stream.gate.clear()
    log(numbered(0))
    assert stream.reached.wait(PATIENCE)
    for number in range(1, 6):
        log(numbered(number))

    assert lost == [1, 1]
    stream.gate.set()
    log.close()
    assert hosts(stream.getvalue()) == ["host-0", "host-1", "host-2", "host-3"]


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
