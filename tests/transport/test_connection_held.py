"""What connections hold of checks that arrive in pieces: bounded for each and for all, and told as a denial where it is too much."""

import pytest
from hyperframe.frame import DataFrame, RstStreamFrame, WindowUpdateFrame

from authz_server.transport import connection, grpc
from authz_server.transport.bodies import ALWAYS_HELD, MAX_HELD, MAX_HELD_BY_ALL
from authz_server.transport.call import Call, Held
from authz_server.transport.connection import HALF_OPEN_SECONDS
from tests.transport.http2 import HEALTH_CHECK, HEALTH_WATCH, Client, Waiting, body, pieces

LONG = 1_000_000
MOST = MAX_HELD // LONG  # long checks that one connection may hold


def begin(client, streams, size=LONG):
    """Send checks but for their ends."""
    for stream in streams:
        client.send(client.head(stream), *pieces(stream, grpc.framed(bytes(size)))[:-1])


def length(data):
    """Answer a check with its length."""
    return b"%d" % len(data)


def answers(client, streams):
    """The messages of streams that were answered as gRPC demands."""
    seen = [client.answer(stream) for stream in streams]
    assert all((each.ended, each.status) == (True, "0") for each in seen)
    return [message for each in seen for message in each.messages]


@pytest.mark.parametrize("size", [1_000_000, 100_000, 40_000])
def test_long_checks_that_arrive_at_one_time_are_bounded_together(size):
    """Those that are too much are denied, which is no gRPC error; the others are served, and later ones, too."""
    client = Client(check=length)
    streams = range(1, 2 * min(128, MAX_HELD // size + 2), 2)
    begin(client, streams, size)
    denied = [stream for stream in streams if client.answer(stream).ended]
    others = [stream for stream in streams if stream not in denied]
    client.send(*(body(stream) for stream in others))

    assert len(others) == MAX_HELD // (size + grpc.PREFIX_SIZE)
    assert answers(client, denied) == [b"refused"] * len(denied)
    assert [client.answer(stream).reset for stream in denied] == [0] * len(denied)
    assert answers(client, others) == [b"%d" % size] * len(others)

    again = streams[-1] + 2
    begin(client, [again], size)
    client.send(body(again))
    assert answers(client, [again]) == [b"%d" % size]


def test_first_pieces_are_held_like_later_ones():
    """Calls that begin and do not go on take what they take, be it one piece each, until they are reset or served."""
    held = Held()
    client = Client(check=length, held=held)
    piece = grpc.framed(bytes(20_000))[:16_384]
    for stream in range(1, 201, 2):
        client.send(client.head(stream), body(stream, piece, end=False))
    assert held.octets == 100 * len(piece)

    client.send(*(RstStreamFrame(stream, 8) for stream in range(1, 101, 2)))
    client.send(*(body(stream, bytes(20_000 + grpc.PREFIX_SIZE - len(piece))) for stream in range(101, 201, 2)))
    assert held.octets == 0
    assert answers(client, range(101, 201, 2)) == [b"20000"] * 50


def test_a_first_piece_counts_whatever_comes_behind_it_at_one_time():
    """Also when a later call comes in several pieces."""
    held = Held()
    client = Client(held=held)
    client.send(client.head(1), body(1, bytes(100), end=False), client.head(3), *[body(3, bytes(10), end=False)] * 2)

    assert held.octets == 120


@pytest.mark.parametrize("kind", ["waits", "watches", "arrives"])
def test_what_was_there_before_is_not_looked_at_when_a_call_comes(monkeypatch, kind):
    """A call costs the same beside a hundred others."""
    looks = []

    class Watched(Call):
        """A call that notes when what is held of it is looked at."""

        _held = None

        @property
        def held(self):
            looks.append(self)
            return self._held

        @held.setter
        def held(self, octets):
            self._held = octets

    monkeypatch.setattr(connection, "Call", Watched)
    client = Client(check=lambda data: Waiting() if data == b"wait" else data[::-1])
    begun = {"waits": lambda at: client.call(at, b"wait"), "watches": lambda at: client.call(at, b"", HEALTH_WATCH), "arrives": client.head}
    for stream in range(1, 201, 2):
        client.send(begun[kind](stream))
    client.tick(0.25)
    looks.clear()
    client.send(client.call(201), client.head(203))

    assert client.answer(201).messages == [b"ksa"]
    assert len(set(looks)) == 2


def test_what_arrives_whole_is_not_held():
    """Nor is what waits for keys."""
    held = Held()
    client = Client(held=held)
    client.send(client.call(1, bytes(16_000)))

    assert held.octets == 0
    assert answers(client, [1]) == [bytes(16_000)]


def test_connections_are_bounded_together():
    """Who holds little is served also when others hold all that there is; who wants more is denied."""
    held = Held()
    greedy = [Client(held=held) for _ in range(MAX_HELD_BY_ALL // (MOST * LONG) + 1)]
    for client in greedy:
        begin(client, range(1, 2 * MOST, 2))
    assert held.octets <= MAX_HELD_BY_ALL
    assert not greedy[0].refused
    assert greedy[-1].refused
    begin(greedy[-1], [99], MAX_HELD_BY_ALL - held.octets - grpc.PREFIX_SIZE)
    assert held.octets == MAX_HELD_BY_ALL

    modest = Client(check=length, held=held)
    begin(modest, [1], ALWAYS_HELD // 2)
    modest.send(body(1))
    begin(modest, [3], 2 * ALWAYS_HELD)
    assert answers(modest, [1, 3]) == [b"%d" % (ALWAYS_HELD // 2), b"refused"]

    for client in [*greedy, modest]:
        client.connection.abandon()
    assert held.octets == 0


def test_a_health_check_that_is_too_much_is_an_error():
    """There is nothing else to tell who asks for health with megabytes."""
    client = Client()
    begin(client, range(1, 2 * MOST, 2))
    client.send(client.head(99, HEALTH_CHECK), *pieces(99, grpc.framed(bytes(LONG)))[:-1])

    assert client.answer(99).status == "8"


def turned_down(shut):
    """Have a check denied for which no more can be held, while the peer gives no credit for the answer."""
    client = Client(check=lambda _: bytes(65_535 - grpc.PREFIX_SIZE), window=0 if shut == "stream" else 1_000_000)
    if shut == "connection":
        client.send(client.call(99))  # its answer takes all the credit there is
    begin(client, range(101, 101 + 2 * MOST + 2, 2))
    stream = 101 + 2 * MOST
    assert client.answer(stream).headers[":status"] == "200"
    assert not client.answer(stream).body
    return client, stream


@pytest.mark.parametrize("shut", ["stream", "connection"])
def test_a_denial_of_what_is_too_much_waits_for_credit(shut):
    """It arrives whole and is no gRPC error, although the end of the request is no longer waited for."""
    client, stream = turned_down(shut)
    client.send(WindowUpdateFrame(stream if shut == "stream" else 0, 100))

    assert answers(client, [stream]) == [b"refused"]
    assert client.answer(stream).reset is None


@pytest.mark.parametrize("end", [True, False])
def test_a_request_that_goes_on_after_its_denial_costs_nothing(end):
    """What comes of it is not held, and gets credit; it is forgotten at its end, or reset when that does not come."""
    client, stream = turned_down("stream")
    before = client.connection._bodies._octets
    credited = len(client.all(WindowUpdateFrame))
    client.send(*[DataFrame(stream, bytes(16_384))] * 4)
    assert client.connection._bodies._octets == before
    assert len(client.all(WindowUpdateFrame)) > credited

    client.send(*[body(stream)] * end)
    assert bool(client.connection._refused) == (not end)
    client.send(WindowUpdateFrame(stream, 100))
    client.tick(HALF_OPEN_SECONDS + 1)
    assert answers(client, [stream]) == [b"refused"]
    assert client.answer(stream).reset == (None if end else 0)
    assert not client.connection._refused
