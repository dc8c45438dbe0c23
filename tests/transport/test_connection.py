"""One connection, octet by octet: what each call is answered, however its frames are cut, mixed or broken off."""

import itertools
import time

import pytest
from grpc_health.v1 import health_pb2
from hyperframe.frame import (
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from authz_server.transport import grpc
from tests.transport.http2 import CHECK, HEALTH_CHECK, HEALTH_WATCH, PREFACE, Client, Waiting, body, open_calls, pieces, written

MAX = grpc.MAX_MESSAGE_SIZE


def served(client, stream, answer=b"ksa"):
    """Whether a stream got an answer and a good status."""
    seen = client.answer(stream)
    return (seen.messages, seen.status, seen.ended, seen.reset) == ([answer], "0", True, None)


def refused(client, stream):
    """The status and message of a stream that was answered with trailers only."""
    seen = client.answer(stream)
    assert (seen.body, seen.ended, seen.headers[":status"]) == (b"", True, "200")
    return seen.status, seen.headers["grpc-message"]


# What a call is answered.


def test_a_check_is_answered_with_head_message_and_trailers():
    """As every gRPC client expects of a unary call."""
    client = Client()
    client.send(client.call(1))
    answer = client.answer(1)

    assert client.checked == [b"ask"]
    assert answer.headers == {":status": "200", "content-type": "application/grpc"}
    assert (answer.messages, answer.trailers, answer.ended) == ([b"ksa"], {"grpc-status": "0"}, True)


def test_settings_are_announced_at_once_and_acknowledged():
    """A client learns how many streams it may open and how long header lists may be, before it has said anything."""
    client = Client(handshake=False)
    (ours,) = client.read()
    client.send(PREFACE, SettingsFrame(0))
    (acknowledged,) = client.read()

    assert ours.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 128
    assert ours.settings[SettingsFrame.MAX_HEADER_LIST_SIZE] == 65_536
    assert "ACK" in acknowledged.flags


def test_a_ping_is_answered():
    """Envoy's keepalive depends on it."""
    client = Client()
    client.send(PingFrame(0, b"12345678"))

    assert [(frame.opaque_data, set(frame.flags)) for frame in client.read() if isinstance(frame, PingFrame)] == [(b"12345678", {"ACK"})]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/envoy.service.auth.v3.Authorization/Chek",
        CHECK + "?x",
        CHECK + "/",
        CHECK.upper(),
        CHECK[1:],
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_an_unknown_path_is_unimplemented(path, whole):
    """Whether its message has come or not; the stream is free again at its end."""
    client = Client()
    client.send(client.head(1, path))
    if whole:
        client.send(body(1, grpc.framed(b"ask")))
    client.send(client.call(3))

    assert refused(client, 1)[0] == "12"
    assert served(client, 3)


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"grpc_encoding": "gzip"}, "12"), ({"grpc_timeout": "1"}, "13"), ({"drop": ["te"]}, "13")],
)
def test_a_bad_head_is_answered_at_once_and_its_message_swallowed(headers, status):
    """Neither the message nor the check runs."""
    client = Client()
    client.send(client.head(1, **headers))
    assert refused(client, 1)[0] == status

    client.send(body(1, b"x" * 100, end=False), body(1, b"x" * 100))
    assert not client.checked
    assert client.answer(1).reset is None


@pytest.mark.parametrize(
    ("method", "drop", "http"),
    [
        ("GET", ["content-type"], "415"),
        ("HEAD", ["content-type"], "415"),
        ("POST", ["content-type"], "415"),
        ("GET", [], "405"),
        ("HEAD", [], "405"),
    ],
)
def test_a_peer_that_speaks_no_grpc_gets_an_http_answer(method, drop, http):
    """A human with curl reads why; HEAD has no body."""
    client = Client()
    client.send(client.head(1, method=method, drop=drop, end=method != "POST"))
    answer = client.answer(1)

    assert (answer.headers[":status"], answer.headers["content-type"], answer.ended) == (http, "text/plain", True)
    assert len(answer.body) == (0 if method == "HEAD" else int(answer.headers["content-length"]))


@pytest.mark.parametrize(
    "head",
    [
        {"path": "/"},
        {"method": "GET"},
        {"method": "PUT"},
        {"end": True},
        {"drop": ["te"]},
        {"drop": ["content-type"]},
        {"grpc_encoding": "gzip"},
        {"grpc_timeout": "1"},
    ],
    ids=str,
)
def test_a_bad_head_is_refused_whatever_came_before(head):
    """That a head like it was good is no reason to look at this one less closely."""
    seasoned, fresh = Client(), Client()
    seasoned.send(seasoned.call(1))
    for client in (seasoned, fresh):
        client.send(client.head(3, **head))

    assert served(seasoned, 1)
    assert seasoned.answer(3).headers == fresh.answer(3).headers
    assert seasoned.answer(3).headers[":status"] != "200" or seasoned.answer(3).headers["grpc-status"] != "0"
    assert seasoned.checked == [b"ask"]


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"", "13"),
        (b"\0\0\0\0\x05as", "13"),
        (grpc.framed(b"ask") + grpc.framed(b"ask"), "13"),
        (b"\x01\0\0\0\x03ask", "13"),
    ],
    ids=["no message", "truncated", "two messages", "compressed"],
)
def test_a_body_that_is_no_single_message_is_an_error(octets, status):
    """The check does not see it."""
    client = Client()
    client.send(client.head(1), body(1, octets))

    assert refused(client, 1)[0] == status
    assert not client.checked


def test_a_head_that_ends_the_stream_has_no_message():
    """A unary call has one."""
    client = Client()
    client.send(client.head(1, end=True))

    assert refused(client, 1) == ("13", "the request has no message")


def test_trailers_of_a_client_end_its_call():
    """They are allowed, and nobody needs them."""
    client = Client()
    client.send(client.head(1), body(1, grpc.framed(b"ask"), end=False), client.block(1, [("x-checksum", "1")], end=True))

    assert served(client, 1)


@pytest.mark.parametrize("size", [1, 4, 5, 6, 100, 16_384])
def test_a_message_may_come_in_any_pieces(size):
    """DATA frames and messages have nothing to do with each other."""
    message = bytes(range(256)) * 2
    client = Client()
    client.send(client.head(1), *pieces(1, grpc.framed(message), size))

    assert served(client, 1, message[::-1])


@pytest.mark.parametrize("size", [100, 1_000, 16_384])
def test_a_message_of_the_greatest_size_is_served_and_a_longer_one_is_not(size):
    """The limit is exact, and a client is told to send no more."""
    client = Client(check=lambda data: b"%d" % len(data))
    client.send(client.head(1), *pieces(1, grpc.framed(bytes(MAX)), size))
    client.send(client.head(3), *pieces(3, grpc.framed(bytes(MAX + 1)), size)[:-1])

    assert served(client, 1, b"%d" % MAX)
    assert refused(client, 3)[0] == "8"
    assert client.answer(3).reset == 0


def test_a_message_in_single_octets_takes_linear_time():
    """Pieces are appended, never copied whole for each; ten times as many take some ten times as long."""

    def seconds(length):
        client = Client(check=lambda data: b"%d" % len(data))
        client.send(client.head(1), body(1, b"\0" + length.to_bytes(4), end=False))
        octets = body(1, b"\0", end=False).serialize() * length
        began = time.process_time()
        client.send(octets)
        took = time.process_time() - began
        client.send(body(1))
        assert served(client, 1, b"%d" % length)
        return took

    assert seconds(500_000) < 40 * seconds(50_000)


def test_padding_is_no_part_of_a_message():
    """DATA and HEADERS may be padded."""
    client = Client()
    head, data = client.head(1), body(1, grpc.framed(b"ask"))
    for frame in (head, data):
        frame.flags.add("PADDED")
        frame.pad_length = 20
    client.send(head, data)

    assert served(client, 1)


def test_empty_and_unknown_frames_change_nothing():
    """An extension frame is skipped, and DATA may be empty."""
    client = Client()
    unknown = b"\0\0\x03\xfa\0\0\0\0\x01abc"
    client.send(client.head(1), unknown, body(1, end=False), body(1, grpc.framed(b"ask"), end=False), unknown, body(1))

    assert served(client, 1)


# However the octets are cut and the streams are mixed.


def recorded():
    """What a client sends in an exchange with everything in it."""
    client = Client()
    first, split = client.head(1, grpc_timeout="1S"), client.head(3)
    halves = len(split.data) // 2
    head = HeadersFrame(3, split.data[:halves])
    rest = b"\0" + len(split.data[halves:]).to_bytes(2) + b"\x09\x04\0\0\0\x03" + split.data[halves:]
    frames = [
        first,
        head,
        rest,
        body(3, grpc.framed(b"three")[:7], end=False),
        PingFrame(0, b"pingpong"),
        body(1, grpc.framed(b"one")),
        client.call(5, b"", HEALTH_CHECK),
        body(3, grpc.framed(b"three")[7:], end=False),
        client.head(7),
        RstStreamFrame(7, 8),
        body(3),
        client.call(9, b"nine", "/else"),
        WindowUpdateFrame(0, 1_000),
        client.head(11, method="GET", drop=["content-type"], end=True),
    ]
    return written(PREFACE, SettingsFrame(0), *frames)


def answered(*octets):
    """What a new connection answers to octets in pieces."""
    client = Client(handshake=False)
    for piece in octets:
        client.send(piece)
    client.read()
    return client.answers, client.checked, client.ended


def test_the_same_octets_get_the_same_answers_wherever_they_are_cut():
    """In two pieces at every place, and octet by octet."""
    octets = recorded()
    whole = answered(octets)
    assert sorted(stream for stream, answer in whole[0].items() if answer.ended) == [1, 3, 5, 9, 11]

    assert answered(*(octets[at : at + 1] for at in range(len(octets)))) == whole
    for at in range(1, len(octets)):
        assert answered(octets[:at], octets[at:]) == whole, at


def test_interleaved_streams_are_told_apart():
    """Whichever way the pieces of three calls are mixed."""
    parts = {stream: pieces(stream, grpc.framed(b"%d" % stream), 3) for stream in (1, 3, 5)}
    for order in set(itertools.permutations([1, 1, 3, 3, 5, 5])):
        client = Client()
        client.send(*(client.head(stream) for stream in parts))
        left = {stream: list(frames) for stream, frames in parts.items()}
        for stream in order:
            client.send(left[stream].pop(0))
        for frames in left.values():
            client.send(*frames)

        assert all(served(client, stream, b"%d" % stream) for stream in parts)


# Calls that wait for keys.


@pytest.mark.parametrize(
    ("timeout", "patience"),
    [(None, 1.0), ("10S", 1.0), ("1S", 0.98), ("250m", 0.23), ("20m", 0.0), ("1n", 0.0), ("99999999H", 1.0)],
)
def test_a_check_waits_a_second_at_most_and_never_past_its_deadline(timeout, patience):
    """Envoy must have the answer before it gives up."""
    client = Client(check=lambda _: Waiting())
    client.send(client.call(1, **({"grpc_timeout": timeout} if timeout else {})))

    assert client.waits[0].seconds == pytest.approx(patience)


@pytest.mark.parametrize(("expected", "patience"), [("250", 0.23), ("800", 0.48), ("x", 0.48), ("", 0.48), ("9" * 5_000, 0.48)])
def test_a_try_of_envoy_may_be_shorter_than_the_deadline(expected, patience):
    """It says so in a header of its own."""
    client = Client(check=lambda _: Waiting())
    client.send(client.call(1, grpc_timeout="500m", x_envoy_expected_rq_timeout_ms=expected))

    assert client.waits[0].seconds == pytest.approx(patience)


def test_each_call_has_its_own_deadline():
    """Though all else of its head is as before."""
    client = Client(check=lambda _: Waiting())
    for stream, timeout in ((1, "300m"), (3, "300m"), (5, "200m"), (7, "300m")):
        client.send(client.call(stream, grpc_timeout=timeout))

    assert [wait.seconds for wait in client.waits] == [pytest.approx(seconds) for seconds in (0.28, 0.28, 0.18, 0.28)]


def test_a_deadline_counts_from_the_head_of_a_call():
    """Not from the end of a body that took its time."""
    client = Client(check=lambda _: Waiting())
    client.send(client.head(1, grpc_timeout="900m"))
    client.now += 0.5
    client.send(body(1, grpc.framed(b"ask")))

    assert client.waits[0].seconds == pytest.approx(0.38)


def test_a_waiting_check_holds_up_no_other():
    """Answers leave in the order in which they are ready."""
    client = Client(check=lambda data: Waiting() if data == b"wait" else data)
    client.send(client.call(1, b"wait"), client.call(3, b"ask"))
    assert served(client, 3, b"ask")
    assert not client.answer(1).headers

    client.waits[0].reply(b"late")
    assert served(client, 1, b"late")


def test_an_answer_at_once_may_come_from_waiting():
    """When too many wait already, the refusal comes before the connection goes on."""
    client = Client(check=lambda _: Waiting())

    def wait(check, _, reply):
        reply(check.refuse())
        return lambda: None

    client.connection._peer.wait = wait
    client.send(client.call(1), client.call(3))

    assert served(client, 1, b"refused")
    assert served(client, 3, b"refused")


# Streams that are broken off, in every state.


def arriving(client):
    """Bring a call to the state after its head."""
    client.send(client.head(1))


def half(client):
    """Bring a call to the middle of its body."""
    client.send(client.head(1), *pieces(1, grpc.framed(b"x" * 50_000), 16_384)[:2])


def waiting(client):
    """Bring a call to where it waits for keys."""
    client.send(client.call(1, b"wait"))


def parked(client):
    """Bring a call to where its answer waits for credit."""
    client.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}), client.call(1))


def watching(client):
    """Bring a call to where it watches."""
    client.send(client.call(1, b"", HEALTH_WATCH))


def answered_early(client):
    """Bring a call to where it was refused before its end."""
    client.send(client.head(1, "/else"))


def answered_fully(client):
    """Bring a call to its end."""
    client.send(client.call(1))


STATES = [arriving, half, waiting, parked, watching, answered_early, answered_fully]


def test_all_states_are_what_they_say():
    """The table of states is no fiction."""
    clients = {}
    for state in STATES:
        clients[state] = Client(check=lambda data: Waiting() if data == b"wait" else data[::-1])
        state(clients[state])
        clients[state].read()

    assert all(1 not in clients[state].answers for state in (arriving, half, waiting))
    assert len(clients[waiting].waits) == 1
    assert clients[parked].answers[1].headers
    assert not clients[parked].answers[1].body
    assert clients[parked].connection._http2.has_pending_send()
    assert clients[watching].health._watchers
    assert clients[answered_early].answers[1].ended
    assert clients[answered_early].connection._refused
    assert served(clients[answered_fully], 1)


@pytest.mark.parametrize("breaking", ["reset", "data after end", "end of connection"])
@pytest.mark.parametrize("state", STATES)
def test_a_broken_stream_costs_nothing_further(state, breaking):
    """It is not answered, what it waited for is cancelled, nothing of it is kept, and the connection goes on."""
    client = Client(check=lambda data: Waiting() if data == b"wait" else data[::-1])
    state(client)
    before = len(client.octets)
    if breaking == "reset":
        client.send(RstStreamFrame(1, 8))
    elif breaking == "data after end":
        client.send(body(1), body(1, b"x"))
    else:
        client.connection.abandon()
    connection = client.connection

    assert not open_calls(connection)
    assert not connection._refused
    assert not connection._bodies._octets
    assert not client.health._watchers
    assert connection._http2 is None or not connection._http2.has_pending_send()
    assert all(wait.cancelled for wait in client.waits)

    for wait in client.waits:  # a door that is late must do no harm
        wait.reply(b"late")
    client.health.set(ready=True)
    if breaking == "reset":
        assert len(client.octets) == before
    if breaking != "end of connection":
        client.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65_535}), client.call(9))
        assert served(client, 9)
    assert b"late" not in client.octets


def test_broken_streams_leave_room_for_others():
    """Calls that are broken off after their head or while they wait are forgotten, and never end the connection when others are completed."""
    client = Client(check=lambda _: Waiting())
    stream = 1
    for _ in range(7):
        for _ in range(16):
            client.send(client.head(stream), client.call(stream + 2), RstStreamFrame(stream, 8), RstStreamFrame(stream + 2, 8))
            stream += 4
        client.send(client.head(stream), body(stream))  # something is completed now and then
        stream += 2

    assert not client.ended
    assert not open_calls(client.connection)
    assert all(wait.cancelled for wait in client.waits)


def test_malformed_heads_reset_their_stream_alone():
    """Pseudo-headers out of order, upper case, connection headers, te, a wrong content-length."""
    client = Client()
    good = [(":method", "POST"), (":scheme", "http"), (":path", CHECK), *{"content-type": "application/grpc", "te": "trailers"}.items()]
    bad = [
        good[1:],
        [*good, (":authority", "late")],
        [*good, ("Upper", "case")],
        [*good, ("connection", "close")],
        [*good[:-1], ("te", "gzip")],
        [*good, ("content-length", "4")],
        [*good, (":status", "200")],
        [*good, ("x", "a\r\nb")],
    ]
    for number, fields in enumerate(bad):
        client.send(client.block(1 + 2 * number, fields), body(1 + 2 * number, grpc.framed(b"ask")))
    last = 1 + 2 * len(bad)
    client.send(client.call(last))

    assert all(client.answer(1 + 2 * number).reset for number in range(len(bad)))
    assert served(client, last)
    assert client.checked == [b"ask"]


# Credit.


def test_an_answer_waits_for_credit_and_its_trailers_wait_for_it():
    """Zero window, then one octet at a time, then all."""
    client = Client(window=0)
    client.send(client.call(1, b"ask"))
    assert client.answer(1).headers
    assert not client.answer(1).body

    for octet in range(1, 4):
        client.send(WindowUpdateFrame(1, 1))
        assert len(client.answer(1).body) == octet
    assert not client.answer(1).ended
    client.send(WindowUpdateFrame(1, 100))

    assert served(client, 1)


def test_credit_of_the_connection_is_shared():
    """What one stream may send, the connection must allow, too."""
    client = Client(check=lambda _: bytes(40_000), window=2**31 - 1)
    client.send(client.call(1), client.call(3))
    assert served(client, 1, bytes(40_000))
    assert len(client.answer(3).body) == 65_535 - 40_005

    client.send(WindowUpdateFrame(0, 40_000))
    assert served(client, 3, bytes(40_000))


def test_settings_may_open_and_close_windows():
    """A smaller initial window makes those of open streams negative; a larger one lets answers go."""
    client = Client(check=lambda _: bytes(200), window=100)
    client.send(client.call(1))
    assert len(client.answer(1).body) == 100

    client.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 50}), WindowUpdateFrame(1, 40))
    assert len(client.answer(1).body) == 100
    client.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1_000}))
    assert served(client, 1, bytes(200))


def test_a_client_is_given_credit_as_its_octets_are_taken():
    """Long messages never stall, also those that are refused or broken off."""
    client = Client(check=lambda _: b"")
    for stream, path in ((1, CHECK), (3, "/else"), (5, CHECK)):
        client.send(client.head(stream, path), *pieces(stream, bytes(300_000), 16_384))
    client.send(client.head(7), body(7, bytes(16_000), end=False), RstStreamFrame(7, 8))
    granted = sum(frame.window_increment for frame in client.all(WindowUpdateFrame) if frame.stream_id == 0)

    assert granted > 3 * 300_000 + 16_000 - 65_535


def test_frames_are_no_longer_than_the_peer_allows():
    """SETTINGS_MAX_FRAME_SIZE is 16,384 unless it says otherwise."""
    client = Client(check=lambda _: bytes(40_000))
    client.send(client.call(1))

    assert max(frame.body_len for frame in client.all(Frame)) <= 16_384
    assert served(client, 1, bytes(40_000))


# Health.


def status(message):
    """Read a HealthCheckResponse with the published protos."""
    return health_pb2.HealthCheckResponse.FromString(message).status


def test_health_check_is_answered():
    """Envoy and Kubernetes ask it."""
    client = Client()
    client.send(client.call(1, b"", HEALTH_CHECK))
    client.health.set(ready=True)
    client.send(
        client.call(3, b"", HEALTH_CHECK), client.call(5, health_pb2.HealthCheckRequest(service="else").SerializeToString(), HEALTH_CHECK)
    )

    assert [status(client.answer(stream).messages[0]) for stream in (1, 3)] == [2, 1]
    assert refused(client, 5)[0] == "5"


def test_watch_tells_the_status_and_each_change():
    """And ends with a reset."""
    client = Client()
    client.send(client.call(1, b"", HEALTH_WATCH))
    client.health.set(ready=True)
    client.health.set(ready=True)
    client.health.set(ready=False)

    assert [status(message) for message in client.answer(1).messages] == [2, 1, 2]
    assert not client.answer(1).ended

    client.send(RstStreamFrame(1, 8))
    client.health.set(ready=True)
    assert len(client.answer(1).messages) == 3


def test_watch_of_an_unknown_service_stays_open():
    """It says SERVICE_UNKNOWN once."""
    client = Client()
    client.send(client.call(1, health_pb2.HealthCheckRequest(service="else").SerializeToString(), HEALTH_WATCH))
    client.health.set(ready=True)

    assert [status(message) for message in client.answer(1).messages] == [3]
    assert not client.answer(1).ended


@pytest.mark.parametrize(("message", "code"), [(b"\xff", "13"), (None, "13")])
def test_watch_of_garbage_is_an_error(message, code):
    """No message, or none that can be read."""
    client = Client()
    client.send(client.head(1, HEALTH_WATCH, end=True) if message is None else client.call(1, message, HEALTH_WATCH))

    assert refused(client, 1)[0] == code
    assert not open_calls(client.connection)


def test_news_waits_for_credit():
    """A watcher with a closed window hears everything once it opens, in order."""
    client = Client(window=0)
    client.send(client.call(1, b"", HEALTH_WATCH))
    client.health.set(ready=True)
    assert not client.answer(1).body

    client.send(WindowUpdateFrame(1, 1_000))
    assert [status(message) for message in client.answer(1).messages] == [2, 1]


def test_data_frames_hold_answers_only():
    """No DATA is sent for a call that is refused."""
    client = Client()
    client.send(client.call(1, b"x", "/else"))

    assert not client.all(DataFrame)
