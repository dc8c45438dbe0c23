"""What one connection may cost: floods, bounds and silence, with a clock that only the test moves."""

import itertools

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from authz_server.transport import grpc
from authz_server.transport.answers import ALWAYS_OWED, MAX_OWED, MAX_OWED_BY_ALL
from authz_server.transport.call import Held
from authz_server.transport.connection import (
    CONTROL_CHARGE,
    HALF_OPEN_SECONDS,
    KEEPALIVE_SECONDS,
    MAX_UNPRODUCTIVE,
    MAX_WATCHES_EACH,
    SILENCE_SECONDS,
    STALLED_SECONDS,
)
from tests.transport.http2 import CHECK, HEALTH_WATCH, PREFACE, Client, Waiting, body, open_calls, written

NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, CANCEL, COMPRESSION_ERROR, CALM = 0, 1, 3, 6, 8, 9, 11
CONTROL_FRAMES = MAX_UNPRODUCTIVE // CONTROL_CHARGE

FLOODS = {
    "ping": PingFrame(0, b"12345678"),
    "settings": SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 100}),
    "empty settings": SettingsFrame(0),
    "settings acknowledgement": SettingsFrame(0, flags=["ACK"]),
    "ping acknowledgement": PingFrame(0, b"12345678", flags=["ACK"]),
    "priority": PriorityFrame(1, depends_on=3),
    "window update": WindowUpdateFrame(0, 1),
    "window update of a stream": WindowUpdateFrame(1, 1),
    "goaway": GoAwayFrame(0),
    "empty data": DataFrame(1),
    "padded data": DataFrame(1, pad_length=200, flags=["PADDED"]),
    "data for nobody": DataFrame(3, b"x"),
    "unknown": b"\0\0\0\xfa\0\0\0\0\1",
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_ends_the_connection(flood):
    """Whatever does not complete a call, there is an end to it."""
    client = Client()
    client.send(client.head(1), client.head(3), RstStreamFrame(3, CANCEL))
    chunk = written(FLOODS[flood]) * 4_000
    sent = 0
    while not client.ended:
        client.send(chunk)
        sent += len(chunk)
        assert sent <= MAX_UNPRODUCTIVE + len(chunk)

    assert client.goaways()[-1][1] == CALM
    assert len(client.octets) < MAX_UNPRODUCTIVE


@pytest.mark.parametrize("flood", ["ping", "settings", "window update", "data for nobody"])
def test_control_frames_count_for_more_than_their_length(flood):
    """Each makes work of its own."""
    client = Client()
    client.send(client.head(1), client.head(3), RstStreamFrame(3, CANCEL))
    client.send(written(FLOODS[flood]) * (CONTROL_FRAMES - 100))
    assert not client.ended

    client.send(written(FLOODS[flood]) * 100)
    assert client.ended


@pytest.mark.parametrize("path", [CHECK, HEALTH_WATCH])
def test_a_client_that_completes_calls_may_go_on(path):
    """Pings, credit and settings between calls are how clients behave."""
    client = Client()
    for stream in range(1, 60, 2):
        client.send(written(FLOODS["ping"]) * 1_000, client.call(stream, b"", path))

    assert not client.ended


@pytest.mark.parametrize("goodbye", [False, True])
def test_nothing_is_read_or_written_after_the_end(goodbye):
    """What arrives late is none of our business, whether the end came with a goodbye or with an error."""
    client = Client()
    if goodbye:
        client.leave()
        client.pong()
    else:
        client.send(b"\0" * 100)
    assert client.ended
    before = len(client.octets)
    client.send(client.call(1))
    client.tick(1_000)
    client.connection.leave()
    client.connection.abandon()
    client.health.set(ready=True)

    assert not client.checked
    assert len(client.octets) == before


def raw(kind, flags, stream, payload=b""):
    """Write a frame of any type, flags and stream."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        (raw(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
        (raw(DATA, 0, 99, b"x"), PROTOCOL_ERROR),
        (raw(DATA, 8, 1, b"\5abc"), PROTOCOL_ERROR),
        (raw(HEADERS, 4, 0, b"\x82"), PROTOCOL_ERROR),
        (raw(HEADERS, 4, 2, b"\x82"), PROTOCOL_ERROR),
        (raw(HEADERS, 4, 5, b"\xff\xff\xff\xff\xff"), COMPRESSION_ERROR),
        (raw(RST_STREAM, 0, 0, bytes(4)), PROTOCOL_ERROR),
        (raw(RST_STREAM, 0, 99, bytes(4)), PROTOCOL_ERROR),
        (raw(RST_STREAM, 0, 1, bytes(3)), FRAME_SIZE_ERROR),
        (raw(SETTINGS, 0, 1), PROTOCOL_ERROR),
        (raw(SETTINGS, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
        (raw(SETTINGS, 1, 0, bytes(6)), FRAME_SIZE_ERROR),
        (raw(SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff"), FLOW_CONTROL_ERROR),
        (raw(SETTINGS, 0, 0, b"\0\5\0\0\0\1"), PROTOCOL_ERROR),
        (raw(SETTINGS, 0, 0, b"\0\2\0\0\0\2"), PROTOCOL_ERROR),
        (raw(PUSH_PROMISE, 4, 1, b"\0\0\0\2\x82"), PROTOCOL_ERROR),
        (raw(PING, 0, 1, bytes(8)), PROTOCOL_ERROR),
        (raw(PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
        (raw(GOAWAY, 0, 1, bytes(8)), PROTOCOL_ERROR),
        (raw(WINDOW_UPDATE, 0, 0, bytes(4)), PROTOCOL_ERROR),
        (raw(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), FLOW_CONTROL_ERROR),
        (raw(WINDOW_UPDATE, 0, 99, b"\0\0\0\1"), PROTOCOL_ERROR),
        (raw(CONTINUATION, 4, 1, b"\x82"), PROTOCOL_ERROR),
        (raw(HEADERS, 0, 5, b"\x82") + raw(PING, 0, 0, bytes(8)), PROTOCOL_ERROR),
        (raw(HEADERS, 0, 5, b"\x82") + raw(CONTINUATION, 4, 7, b"\x82"), PROTOCOL_ERROR),
        (b"\0\x40\x01" + raw(PING, 0, 0)[3:], FRAME_SIZE_ERROR),
    ],
)
def test_a_protocol_error_ends_the_connection(octets, error):
    """With a GOAWAY that names it; waiting checks are cancelled."""
    client = Client(check=lambda _: Waiting())
    client.send(client.head(1), client.call(3), octets)

    assert client.ended
    assert client.goaways()[-1][1] == error
    assert client.waits[0].cancelled


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\nhost: authz\r\n\r\n",
        b"G",
        b"\x16\x03\x01\x02\0\x01\0",
        PREFACE[:20] + b"XX\r\n",
        PREFACE + PingFrame(0, bytes(8)).serialize(),
        PREFACE + HeadersFrame(1, b"\x82", flags=["END_HEADERS"]).serialize(),
    ],
    ids=["HTTP/1", "one wrong octet", "TLS", "almost", "a ping first", "a head first"],
)
def test_whoever_does_not_begin_with_preface_and_settings_is_sent_away(octets):
    """HTTP/1 and TLS clients learn it at once."""
    client = Client(handshake=False)
    client.send(octets)

    assert client.ended
    assert client.goaways() == [(0, PROTOCOL_ERROR)]


def header_block(client, fields):
    """Build a head of any length, in as many frames as it takes."""
    octets = client.block(1, [(":method", "POST"), (":scheme", "http"), (":path", CHECK), *fields]).data
    parts = [octets[at : at + 16_000] for at in range(0, len(octets), 16_000)]
    frames = [HeadersFrame(1, parts[0]), *(ContinuationFrame(1, part) for part in parts[1:])]
    frames[-1].flags.add("END_HEADERS")
    return frames


@pytest.mark.parametrize(
    "fields",
    [[("x", "y" * 70_000)], [("x-many", "y")] * 3_000, [(f"x-{number}", "y" * 30) for number in range(1_200)]],
    ids=["one long header", "one header many times", "many headers"],
)
def test_a_header_list_that_is_too_long_ends_the_connection(fields):
    """64 KiB as HPACK counts, with 32 for each header, whatever compression made of it."""
    client = Client()
    client.send(*header_block(client, fields))

    assert client.ended
    assert client.goaways()[-1][1] == CALM


def test_a_header_list_below_the_limit_is_served():
    """Envoy may send all headers of a request to some services; here they only cost room."""
    client = Client()
    fields = [("content-type", "application/grpc"), ("te", "trailers"), ("x", "y" * 60_000)]
    client.send(*header_block(client, fields), body(1, grpc.framed(b"ask")))

    assert client.answer(1).messages == [b"ksa"]


@pytest.mark.parametrize("fragment", [b"", b"x", b"x" * 16_000])
def test_a_flood_of_continuations_ends_the_connection(fragment):
    """A head that never ends is bounded in frames and in octets, also when they are empty."""
    client = Client()
    client.send(HeadersFrame(1, b"\x82"))
    count = 0
    while not client.ended:
        client.send(ContinuationFrame(1, fragment))
        count += 1
        assert count <= 20

    assert client.goaways()[-1][1] == CALM


def test_a_stream_too_many_is_refused_and_the_others_are_served():
    """128 at one time, whether they arrive, wait, or wait for credit; refusing them is no reason to leave."""
    client = Client(check=lambda data: Waiting() if data == b"wait" else data[::-1])
    client.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}))
    last = 2 * 128 - 1
    for stream in range(1, last + 1, 6):
        client.send(client.head(stream))
        client.send(client.call(stream + 2, b"wait") if stream + 2 <= last else b"")
        client.send(client.call(stream + 4) if stream + 4 <= last else b"")
    for stream in range(last + 2, last + 602, 2):
        client.send(client.head(stream))

    assert [client.answer(stream).reset for stream in range(last + 2, last + 602, 2)] == [7] * 300
    assert all(client.answer(stream).reset is None for stream in range(1, last + 1, 2))
    assert not client.goaways()

    client.send(body(1, grpc.framed(b"ask")), WindowUpdateFrame(1, 100), client.call(last + 602), WindowUpdateFrame(last + 602, 100))
    assert client.answer(1).messages == client.answer(last + 602).messages == [b"ksa"]


# Time.


def test_a_call_that_does_not_end_is_given_up():
    """So is one that was refused before its end; one that waits or watches is complete."""
    client = Client(check=lambda _: Waiting())
    client.send(client.head(1), client.head(3, "/else"), client.call(5), client.call(7, b"", HEALTH_WATCH))
    client.send(body(1, b"\0\0", end=False))
    client.tick(HALF_OPEN_SECONDS)
    assert [client.answer(stream).reset for stream in (1, 3, 5, 7)] == [None] * 4

    client.tick(0.5)
    assert [client.answer(stream).reset for stream in (1, 3, 5, 7)] == [CANCEL, NO_ERROR, None, None]
    assert open_calls(client.connection) == [5, 7]
    assert not client.connection._refused


def test_trickling_does_not_keep_a_call_open():
    """The time counts from its head, whatever comes in between."""
    client = Client()
    client.send(client.head(1))
    for _ in range(int(HALF_OPEN_SECONDS) + 1):
        client.send(body(1, b"\0", end=False))
        client.tick(1)

    assert client.answer(1).reset == CANCEL


def test_silence_is_broken_by_one_ping_and_the_answer_keeps_the_connection():
    """One ping each time, not one for each tick."""
    client = Client(lifetime=1e6)
    client.tick(KEEPALIVE_SECONDS)
    assert not client.all(PingFrame)

    for pings in (1, 2, 3):
        client.tick(10)
        assert len(client.all(PingFrame)) == pings
        client.pong()
        client.tick(KEEPALIVE_SECONDS - 5)
        assert len(client.all(PingFrame)) == pings
    assert not client.ended


def test_a_peer_that_answers_no_ping_is_gone():
    """Its calls are forgotten, what they waited for is cancelled."""
    client = Client(check=lambda _: Waiting())
    client.send(client.call(1), client.call(3, b"", HEALTH_WATCH))
    client.tick(SILENCE_SECONDS)
    assert not client.ended

    client.tick(0.25)
    assert client.ended
    assert client.waits[0].cancelled
    assert not client.health._watchers


def test_a_peer_that_gives_no_credit_for_answers_is_ended():
    """However lively it is otherwise: what it does not take fills memory. One that takes them in time may go on."""
    client = Client(window=0)
    for stream in (1, 3):
        client.send(client.call(stream))
        client.tick(STALLED_SECONDS - 1)
        client.send(PingFrame(0, bytes(8)))
        assert not client.ended
        client.send(WindowUpdateFrame(stream, 100))
        client.tick(1)
    assert client.answer(3).ended

    client.send(client.call(5))
    for _ in range(int(STALLED_SECONDS) + 1):
        client.tick(1)
        client.connection.receive(written(PingFrame(0, bytes(8))) if not client.ended else b"", client.now)
    assert client.ended


def test_the_answer_to_a_keepalive_is_no_answer_to_a_goodbye():
    """Else a late one would end the goodbye before the client has heard of it."""
    client = Client(lifetime=KEEPALIVE_SECONDS + 1)
    client.tick(KEEPALIVE_SECONDS + 0.5)
    (alive,) = client.all(PingFrame)
    client.tick(0.5)
    for goaways in range(2):
        client.send(PingFrame(0, alive.opaque_data, flags=["ACK"]))
        assert len(client.goaways()) == goaways
        client.pong()
        assert len(client.goaways()) == goaways + 1


def test_answers_that_wait_for_credit_are_bounded_for_one_connection():
    """A peer that asks on and takes nothing is ended; what it takes counts no more."""
    held = Held()
    client = Client(check=lambda _: bytes(65_536), window=0, held=held)
    client.send(WindowUpdateFrame(0, 2**24))
    streams = iter(range(1, 1_000, 2))
    for stream in itertools.islice(streams, 200):  # each is taken before the next
        client.send(client.call(stream))
        assert held.owed == 65_541
        client.send(WindowUpdateFrame(stream, 100_000))
        assert held.owed == 0
    for count, stream in enumerate(streams):
        client.send(client.call(stream))
        if client.ended:
            break
        assert held.owed == 65_541 * (count + 1) <= MAX_OWED

    assert client.goaways()[-1][1] == CALM
    assert held.owed == 0


def test_answers_that_wait_for_credit_are_bounded_for_all_connections():
    """Where all together are owed too much, one that is owed more than a little is ended when it asks on, and others are served."""
    held = Held()
    held.owed = MAX_OWED_BY_ALL
    little, much = (Client(check=lambda data: bytes(int(data)), window=0, held=held) for _ in range(2))
    little.send(little.call(1, b"%d" % (ALWAYS_OWED - 5)))
    much.send(much.call(1, b"%d" % ALWAYS_OWED))
    much.send(PingFrame(0, bytes(8)))

    assert (little.ended, much.ended) == (False, True)
    assert held.owed == MAX_OWED_BY_ALL + ALWAYS_OWED
    little.connection.abandon()
    assert held.owed == MAX_OWED_BY_ALL


def test_an_answer_that_comes_late_is_bounded_too():
    """Also where the call waited for keys."""
    held = Held()
    held.owed = MAX_OWED_BY_ALL
    client = Client(check=lambda _: Waiting(), window=0, held=held)
    client.send(client.call(1))
    client.waits[0].reply(bytes(ALWAYS_OWED))

    assert client.ended
    assert held.owed == MAX_OWED_BY_ALL


@pytest.mark.parametrize("how", [RstStreamFrame(1, CANCEL), WindowUpdateFrame(1, 1_000)], ids=["cancelled", "taken"])
def test_what_is_no_longer_owed_is_not_counted(how):
    """A stream that is over owes nothing."""
    held = Held()
    client = Client(check=lambda _: bytes(500), window=0, held=held)
    client.send(client.call(1))
    assert held.owed == 505
    client.send(how)

    assert held.owed == 0
    assert not client.ended


def test_watches_are_few():
    """Of one connection and of all: one too many is refused, a call beside them is served, and one that ends makes room."""
    client = Client()
    streams = range(1, 2 * MAX_WATCHES_EACH + 3, 2)
    client.send(*(client.call(stream, b"", HEALTH_WATCH) for stream in streams))
    *kept, refused = streams
    assert [client.answer(stream).status for stream in kept] == [None] * MAX_WATCHES_EACH
    assert client.answer(refused).status == str(int(grpc.Status.RESOURCE_EXHAUSTED))
    client.send(RstStreamFrame(1, CANCEL), client.call(101, b"", HEALTH_WATCH), client.call(103))

    assert client.answer(101).status is None
    assert client.answer(103).status == "0"
