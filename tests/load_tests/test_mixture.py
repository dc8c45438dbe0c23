"""A mixture of calls: the same for each run of a seed, drawn by Zipf's law, and counted only when all are answered."""

import itertools
import json
from collections import Counter

import caller
import mixture
import pytest

from authz_server.transport.call import Method, Services
from authz_server.transport.connection import Connection
from authz_server.transport.health import Health

PATH = "/check"


class Wire:
    """Our own connection, as the server of the load generator's calls."""

    def __init__(self, answer: bytes = b"yes") -> None:
        self.written, self.asked = b"", list[bytes]()
        self.most = 0
        self._answer = answer
        self._connection = Connection(
            Services({PATH.encode(): Method(self._check)}, b"", Health(lambda call: call())), self, now=0.0, lifetime=60.0
        )  # type: ignore[arg-type]

    def _check(self, message: bytes) -> bytes:
        self.asked.append(message)
        return self._answer

    def write(self, octets: bytes) -> None:
        """Take octets, as the connection's peer."""
        self.written += octets

    def end(self) -> None:
        """Be told of the end, as the connection's peer."""

    def serve(self, calls: caller.Calls) -> None:
        """Carry octets both ways until every call is answered."""
        now = itertools.count()
        for _ in range(1_000):
            self._connection.receive(calls.send(next(now)), 0.0)
            self.most = max(self.most, len(calls.open))
            octets, self.written = self.written, b""
            for piece in range(0, len(octets), 7):  # however they are cut
                calls.receive(octets[piece : piece + 7], next(now))
            if calls.done:
                return
        raise AssertionError("not answered")


def framed(*requests: bytes) -> list[bytes]:
    """Write gRPC messages."""
    return [bytes(1) + len(request).to_bytes(4) + request for request in requests]


def test_the_same_seed_draws_the_same_users():
    """So two servers, and two runs, are asked the same."""
    first, again, other = (list(itertools.islice(mixture.order(1_000, seed), 500)) for seed in "112")
    assert first == again != other


def test_users_ask_by_zipfs_law():
    """The first asks twice as often as the second, and ten times as often as the tenth."""
    drawn = Counter(itertools.islice(mixture.order(1_000, "1"), 100_000))
    assert drawn[0] / drawn[1] == pytest.approx(2, rel=0.1)
    assert drawn[0] / drawn[9] == pytest.approx(10, rel=0.2)
    assert max(drawn) < 1_000


def test_requests_are_read_as_they_were_written(tmp_path):
    """Each with the prefix that gRPC wants."""
    file = tmp_path / "mixture"
    mixture.write(file, [b"one", b"", b"3" * 70_000])
    assert mixture.messages(file.read_bytes()) == framed(b"one", b"", b"3" * 70_000)


def test_what_the_caller_prints_becomes_figures():
    """Rates of all calls, and percentiles of each."""
    traffic = mixture.read(json.dumps({"seconds": 0.5, "took": [40, 10, 20, 30]}))
    assert (traffic.requests, traffic.rate, traffic.p50, traffic.longest) == (4, 8.0, 20, 40)


def test_every_request_is_asked_once_and_no_more_at_once_than_wanted():
    """In the order in which they were drawn."""
    requests = [str(number).encode() for number in range(50)]
    wire, calls = Wire(), caller.Calls(PATH, iter(framed(*requests)), streams=4)
    wire.serve(calls)

    assert wire.asked == requests
    assert wire.most == 4
    assert calls.received == 50 * len(framed(b"yes")[0])
    assert len(calls.took) == 50


def test_a_caller_waits_for_credit():
    """More octets than a server takes without saying so."""
    wire, calls = Wire(), caller.Calls(PATH, iter(framed(*[bytes(10_000)] * 30)), streams=30)
    wire.serve(calls)

    assert len(wire.asked) == 30
    assert wire.most == 6


@pytest.mark.parametrize(("kind", "stream", "what"), [(3, 1, "a call"), (7, 0, "the connection")])
def test_a_call_that_is_not_answered_makes_figures_worthless(kind, stream, what):
    """A reset, or the end of the connection."""
    calls = caller.Calls(PATH, iter(framed(b"ask")), streams=1)
    calls.send(0.0)
    with pytest.raises(caller.CallError, match=f"ended {what}"):
        calls.receive(caller.frame(kind, 0, stream, bytes(8)), 1.0)


def test_a_ping_is_answered():
    """Or the server would take the load generator to be gone."""
    calls = caller.Calls(PATH, iter(()), streams=1)
    calls.send(0.0)
    calls.receive(caller.frame(6, 0, 0, b"alive?.."), 1.0)
    assert calls.send(1.0) == caller.frame(6, 1, 0, b"alive?..")
