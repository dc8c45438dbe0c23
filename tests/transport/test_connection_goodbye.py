"""How a connection ends: two steps, between which and after which no call is lost."""

import pytest
from grpc_health.v1 import health_pb2
from hyperframe.frame import GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from authz_server.transport import grpc
from authz_server.transport.connection import MAX_RESETS, MAX_STREAMS
from authz_server.transport.goodbye import FAREWELL_SECONDS, GOAWAY_SECONDS, MAX_WITHHELD
from tests.transport.http2 import HEALTH_WATCH, Client, Waiting, body

EVERY_STREAM = 2**31 - 1
NO_ERROR, PROTOCOL_ERROR, STREAM_CLOSED, REFUSED_STREAM, CANCEL, CALM = 0, 1, 5, 7, 8, 11


def test_the_first_step_refuses_nothing():
    """The highest stream id is named, so calls that are on their way are served."""
    client = Client()
    client.send(client.call(1))
    client.leave()
    client.send(client.call(3), client.call(5))

    assert client.goaways() == [(EVERY_STREAM, NO_ERROR)]
    assert [client.answer(stream).messages for stream in (1, 3, 5)] == [[b"ksa"]] * 3
    assert not client.ended


def test_the_second_step_names_the_last_call_served():
    """It comes when the ping is answered, so the client has heard of the first; later calls are refused for others to serve."""
    client = Client(check=lambda _: Waiting())
    client.send(client.call(1))
    client.leave()
    client.send(client.call(3))
    client.pong()
    assert client.goaways() == [(EVERY_STREAM, NO_ERROR), (3, NO_ERROR)]

    client.send(client.call(5))
    assert client.answer(5).reset == REFUSED_STREAM
    assert len(client.waits) == 2
    assert not client.ended

    for wait in list(client.waits):
        wait.reply(b"late")
    assert [client.answer(stream).messages for stream in (1, 3)] == [[b"late"]] * 2
    assert client.ended


def test_a_client_that_answers_no_ping_gets_both_steps_all_the_same():
    """A little later each."""
    client = Client()
    client.connection.leave()
    for step in range(2):
        client.tick(GOAWAY_SECONDS - 0.25)
        assert len(client.goaways()) == step
        client.tick(0.25)

    assert len(client.goaways()) == 2
    assert client.ended


def test_another_ping_is_no_answer():
    """Neither a client's own ping nor an acknowledgement of something else."""
    client = Client()
    client.connection.leave()
    client.send(PingFrame(0, b"read it?"), PingFrame(0, b"goodbye.", flags=["ACK"]))
    assert not client.goaways()

    client.pong()
    client.send(PingFrame(0, b"goodbye."), PingFrame(0, b"read it?", flags=["ACK"]))
    assert len(client.goaways()) == 1


def test_the_goodbye_is_the_first_that_a_client_reads():
    """A client that puts new calls in the place of those whose answers it reads would lose them to a goodbye that it reads with these."""
    client = Client()
    client.connection.leave()
    assert isinstance(client.read()[-1], PingFrame)
    client.send(client.call(1), client.call(3))
    assert not client.read()

    client.pong()
    assert isinstance(client.read()[0], GoAwayFrame)
    assert [client.answer(stream).messages for stream in (1, 3)] == [[b"ksa"]] * 2


def test_what_is_answered_before_the_goodbye_is_not_held_back():
    """Not even for as long as the client takes to say that it has read it."""
    client = Client()
    client.send(*(client.call(1 + 2 * number) for number in range(MAX_STREAMS + 1)))

    assert client.answer(2 * MAX_STREAMS - 3).messages == [b"ksa"]
    assert not client.answer(2 * MAX_STREAMS + 1).ended
    assert not client.goaways()


def test_little_is_held_back_for_the_goodbye():
    """A client that asks on without telling that it has read gets it in the middle."""
    client = Client(check=lambda _: bytes(MAX_WITHHELD // 4), window=2**31 - 1)
    client.send(WindowUpdateFrame(0, 2**31 - 1 - 65_535))
    client.connection.leave()
    for stream in (1, 3, 5):
        client.send(client.call(stream))
        assert not client.goaways()

    client.send(client.call(7))
    assert client.goaways() == [(EVERY_STREAM, NO_ERROR)]
    assert client.answer(7).ended


def test_an_error_says_what_was_held_back():
    """Answers, and then what was wrong."""
    client = Client()
    client.connection.leave()
    client.send(client.call(1))
    client.send(bytes(9))  # DATA of no stream

    assert client.answer(1).messages == [b"ksa"]
    assert client.goaways() == [(EVERY_STREAM, NO_ERROR), (1, PROTOCOL_ERROR)]
    assert client.ended


def test_leaving_twice_is_leaving_once():
    """Age, a drain and a limit may come together."""
    client = Client()
    for _ in range(2):
        for _ in range(3):
            client.connection.leave()
        client.pong()
    client.connection.leave()

    assert len(client.goaways()) == 2
    assert len(client.all(PingFrame)) == 2


def test_a_call_that_is_arriving_at_the_second_step_is_served():
    """Its head came in time."""
    client = Client()
    client.send(client.head(1))
    client.leave()
    client.pong()
    assert not client.ended

    client.send(body(1, grpc.framed(b"ask")))
    assert client.answer(1).messages == [b"ksa"]
    assert client.ended


def test_an_answer_that_waits_for_credit_is_sent_before_the_end():
    """The goodbye waits for it, though not for ever."""
    client = Client(window=0)
    client.send(client.call(1))
    client.leave()
    client.pong()
    client.tick(FAREWELL_SECONDS - 1)
    assert not client.ended

    client.send(WindowUpdateFrame(1, 100))
    assert client.answer(1).status == "0"
    assert client.ended


@pytest.mark.parametrize("broken_off", [False, True])
def test_an_answer_that_nobody_takes_does_not_hold_the_connection(broken_off):
    """It ends when the client breaks it off, or after a while."""
    client = Client(window=0)
    client.send(client.call(1))
    client.leave()
    client.pong()
    if broken_off:
        client.send(RstStreamFrame(1, CANCEL))
    else:
        for _ in range(int(FAREWELL_SECONDS)):
            client.send(PingFrame(0, bytes(8)))
            client.tick(1)

    assert client.ended


def test_a_watch_ends_with_the_connection():
    """Its client is told to ask again, elsewhere."""
    client = Client()
    client.send(client.call(1, b"", HEALTH_WATCH))
    client.leave()
    client.health.set(ready=True)
    assert not client.answer(1).ended

    client.pong()
    answer = client.answer(1)
    assert [health_pb2.HealthCheckResponse.FromString(message).status for message in answer.messages] == [2, 1]
    assert answer.trailers["grpc-status"] == "14"
    assert client.ended
    assert not client.health._watchers


def test_a_watch_that_is_arriving_at_the_second_step_does_not_hold_the_connection():
    """It is told the status, and then it ends like any other."""
    client = Client()
    client.send(client.head(1, HEALTH_WATCH))
    client.leave()
    client.pong()
    client.send(body(1, grpc.framed(b"")))

    assert client.answer(1).trailers["grpc-status"] == "14"
    assert client.ended


def test_a_connection_says_goodbye_at_its_age():
    """Busy or idle."""
    for busy in (False, True):
        client = Client(lifetime=30.0)
        for second in range(29):
            client.tick(1)
            if busy:
                client.send(client.call(1 + 2 * second))
        assert not client.goaways()

        client.tick(1)
        client.pong()
        assert client.goaways() == [(EVERY_STREAM, NO_ERROR)]


def test_the_goodbye_comes_in_good_time():
    """The HTTP/2 library ends a connection after so many streams or resets; a client may use all its streams thrice until it has heard."""
    assert MAX_STREAMS + 3 * 128 < 4_096
    assert MAX_RESETS + 128 <= 256


def test_a_connection_says_goodbye_long_before_its_streams_run_out():
    """All calls that a client may have sent until it hears of it are served."""
    client = Client()
    for number in range(MAX_STREAMS - 1):
        client.send(client.call(1 + 2 * number))
    assert not client.all(PingFrame)

    client.send(*(client.call(1 + 2 * number) for number in range(MAX_STREAMS - 1, MAX_STREAMS + 127)))
    client.pong()
    assert client.goaways() == [(EVERY_STREAM, NO_ERROR)]
    client.pong()

    assert client.goaways()[-1] == (2 * (MAX_STREAMS + 127) - 1, NO_ERROR)
    assert sum(answer.messages == [b"ksa"] for answer in client.answers.values()) == MAX_STREAMS + 127
    assert client.ended


@pytest.mark.parametrize("reset", [CANCEL, REFUSED_STREAM, STREAM_CLOSED, None])
def test_a_connection_says_goodbye_long_before_its_resets_run_out(reset):
    """Those of a client, whatever it gives as its reason, and those that a malformed head costs."""
    client = Client(check=lambda _: Waiting())
    stream = 1
    for _ in range(MAX_RESETS):
        assert not client.all(PingFrame)
        if reset is None:
            client.send(client.head(stream, te="gzip"))
        else:
            client.send(client.call(stream), RstStreamFrame(stream, reset))
        client.send(client.head(stream + 2, method="GET", drop=["content-type"], end=True))
        stream += 4

    client.pong()
    assert client.goaways() == [(EVERY_STREAM, NO_ERROR)]
    client.send(client.call(stream))
    client.waits[-1].reply(b"late")
    assert client.answer(stream).messages == [b"late"]


def test_a_client_that_ignores_every_goodbye_is_ended():
    """It may open streams that are refused for a while, and no more."""
    client = Client(check=lambda _: Waiting())
    client.send(client.call(1))
    client.leave()
    client.pong()
    stream = 3
    while not client.ended:
        client.send(client.call(stream))
        stream += 2
        assert stream < 10_000

    assert client.goaways()[-1][1] == CALM
    assert client.waits[0].cancelled


@pytest.mark.parametrize("error", [NO_ERROR, CALM])
def test_the_goodbye_of_a_client_ends_nothing(error):
    """It closes the connection itself once its calls are answered."""
    client = Client(check=lambda _: Waiting())
    client.send(client.call(1), GoAwayFrame(0, 0, error))
    assert not client.ended

    client.waits[0].reply(b"late")
    assert client.answer(1).messages == [b"late"]


def test_leaving_before_the_preface_is_leaving():
    """A connection that never said anything ends, too."""
    client = Client(handshake=False)
    client.connection.leave()
    client.tick(2 * GOAWAY_SECONDS)

    assert client.ended
    assert isinstance(client.read()[0], SettingsFrame)
