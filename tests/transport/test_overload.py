"""More checks than can be answered in time: what both doors promise, and how each finds out."""

import contextlib
import math
import threading
import time
from collections import Counter

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hyperframe.frame import SettingsFrame

from authz_server.demo.process import free_port
from authz_server.transport import connection, grpcio
from authz_server.transport.door import EXPECTED_TIMEOUT, late, patience, tried
from authz_server.transport.event_loop import EventLoopDoor
from authz_server.transport.grpc import framed
from authz_server.transport.grpcio import GrpcioDoor
from authz_server.transport.grpcio_queue import AtOnce
from authz_server.transport.guard import OPEN
from authz_server.transport.pulse import BEAT_SECONDS, BEHIND_SECONDS, Pulse
from tests.transport.http2 import CHECK, HEALTH_CHECK, Client, Remote, Waiting, body
from tests.waiting import PATIENCE, until

THREADS, MOST = 4, 8
STREAMS = (1, 3, 5, 7)


class Busy:
    """A check that does not end before it is told to."""

    def __init__(self):
        self.asked = threading.Semaphore(0)
        self.go = threading.Event()
        self.refused = []

    def __call__(self, _):
        """Take its time."""
        self.asked.release()
        self.go.wait(PATIENCE)
        return b"served"

    def refuse(self, data, waited):
        """Answer at once."""
        self.refused.append((data, waited))
        return b"refused"


@pytest.fixture
def check():
    """Make a check that takes its time."""
    return Busy()


@pytest.fixture(params=["grpcio", "asyncio"])
def kind(request):
    """Name each door in turn."""
    return request.param


@pytest.fixture
def port():
    """Choose where to serve."""
    return free_port()


@pytest.fixture
def connect(kind, check, port):
    """Serve few checks at a time, and give clients with a connection each."""
    with contextlib.ExitStack() as running:
        if kind == "grpcio":
            door = GrpcioDoor(check, THREADS, OPEN, MOST)
        else:
            door = EventLoopDoor(check, max_checks=MOST)
        running.callback(door.stop, 0)
        door.listen(f"127.0.0.1:{port}")
        door.start()

        def connected():
            channel = running.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]))
            grpc.channel_ready_future(channel).result(PATIENCE)
            return channel

        running.callback(check.go.set)
        yield connected


def occupy(kind, check, channel):
    """Take all threads, or the one."""
    calls = [channel.unary_unary(CHECK).future(b"first", timeout=PATIENCE) for _ in range(THREADS if kind == "grpcio" else 1)]
    for _ in calls:
        assert check.asked.acquire(timeout=PATIENCE)
    return calls


def test_only_so_many_checks_are_in_progress(kind, check, connect, port):
    """The rest is refused: with an answer, never with a gRPC error."""
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(Remote(port)) for _ in range(8)]
        for client in clients:
            client.until(lambda client=client: bool(client.all(SettingsFrame)))
        calls = occupy(kind, check, connect())
        for client in clients:
            client.send(*(client.call(stream, b"next") for stream in STREAMS))
        if kind == "grpcio":
            until(lambda: len(check.refused) == len(calls) + len(clients) * len(STREAMS) - MOST)
        time.sleep(0.3)  # for the loop to be behind; what was sent has arrived where it reads
        check.go.set()
        answers = Counter(call.result() for call in calls)
        answers.update(answer for client in clients for (answer,) in client.served(*STREAMS))

    assert answers[b"served"] in {MOST, MOST + 1}  # the one that kept the loop from reading the others
    assert answers[b"refused"] == answers.total() - answers[b"served"]
    assert connect().unary_unary(CHECK)(b"later", timeout=PATIENCE) == b"served"


@pytest.mark.parametrize("how", ["deadline", "try"])
def test_a_check_that_waited_too_long_is_refused(kind, check, connect, monkeypatch, how):
    """Its caller would have given up before the answer; who is more patient is served."""
    call = connect().unary_unary(CHECK)
    occupied = occupy(kind, check, connect())
    monkeypatch.setattr(grpcio if kind == "grpcio" else connection, "late", lambda waited, left: waited > 0 and left < 2 * PATIENCE)
    metadata = [(EXPECTED_TIMEOUT, str(int(1000 * PATIENCE)))]
    hurried = {"timeout": PATIENCE} if how == "deadline" else {"timeout": 3 * PATIENCE, "metadata": metadata}
    calls = [call.future(b"hurried", **hurried), call.future(b"patient", timeout=3 * PATIENCE)]
    time.sleep(0.3)
    check.go.set()

    assert [each.result() for each in calls] == [b"refused", b"served"]
    ((data, waited),) = check.refused
    assert data == b"hurried"
    assert waited > 0.2
    assert {each.result() for each in occupied} == {b"served"}


def test_calls_that_are_cancelled_leave_their_places(kind, check, connect):
    """Also those that waited for a thread and never had one."""
    channels = [connect() for _ in range(3)]
    waiting = occupy(kind, check, channels[0])
    waiting += [channel.unary_unary(CHECK).future(b"next", timeout=PATIENCE) for channel in channels for _ in range(MOST)]
    time.sleep(0.2)
    for call in waiting:
        call.cancel()
    check.go.set()

    def served():  # once the door has heard of it
        calls = [channel.unary_unary(CHECK).future(b"later", timeout=PATIENCE) for channel in channels[1:] for _ in range(MOST // 2)]
        return [call.result() for call in calls] == [b"served"] * MOST

    until(served)


@pytest.mark.parametrize("kind", ["grpcio"], indirect=True)
def test_health_does_not_wait_for_checks(kind, check, connect):
    """Or an overloaded server would be taken for a dead one, and its load given to the others."""
    channel = connect()
    occupy(kind, check, channel)
    calls = [channel.unary_unary(CHECK).future(b"next", timeout=PATIENCE) for _ in range(MOST)]

    assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="liveness"), timeout=PATIENCE).status == 1
    assert calls[-1].result() == b"refused"  # at once, too


@pytest.mark.parametrize("kind", ["grpcio"], indirect=True)
def test_grpcio_keeps_to_our_limits(kind, check, connect):
    """By itself it ends calls with RESOURCE_EXHAUSTED when thousands have not been taken yet."""
    occupied = occupy(kind, check, connect())
    held = threading.Event()
    check.refuse = lambda *_: held.wait(PATIENCE) and b"refused"  # holds the thread that takes calls
    calls = []
    for channel in [connect() for _ in range(28)]:
        calls += [channel.unary_unary(CHECK).future(b"next", timeout=PATIENCE) for _ in range(120)]
    time.sleep(1)
    held.set()
    check.go.set()

    assert {call.code() for call in calls} == {grpc.StatusCode.OK}
    assert len(calls) + len(occupied) > 3_000


def test_what_is_done_at_once_may_fail():
    """The thread that takes calls goes on."""

    def fail():
        raise ValueError

    assert AtOnce().submit(lambda one, two: one + two, 1, two=2).result() == 3
    assert isinstance(AtOnce().submit(fail).exception(), ValueError)


# The rules.


@pytest.mark.parametrize(
    ("waited", "left", "is_late"),
    [
        (0.0, 0.001, False),  # a short deadline is no reason to refuse who came at once
        (0.0, 0.0, True),
        (0.001, 0.001, False),
        (0.33, 0.17, False),
        (0.34, 0.16, True),
        (0.4, -1.0, True),
        (1e9, math.inf, False),
    ],
)
def test_when_a_check_is_late(waited, left, is_late):
    """When less than a third of its time is left, for the answer to be made and to travel."""
    assert late(waited, left) is is_late


@pytest.mark.parametrize(("left", "seconds"), [(math.inf, 1.0), (0.5, 0.48), (0.01, 0.0), (-5.0, 0.0)])
def test_patience_ends_before_the_callers(left, seconds):
    """A second at most, and never less than none."""
    assert patience(left) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(None, math.inf), ("250", 0.25), (b"250", 0.25), ("-1", math.inf), ("9" * 9, math.inf), ("", math.inf), ("5²", math.inf)],
)
def test_how_long_a_try_takes_is_envoys_to_say(said, seconds):
    """What is no number of milliseconds is not read."""
    assert tried(said) == seconds


# The pulse of the loop.


def test_a_loop_that_keeps_up_is_never_behind():
    """Even right before a beat."""
    pulse = Pulse(0.0, 1)
    for beat in range(1, 10):
        now = beat * BEAT_SECONDS
        assert now - pulse.before < 2.1 * BEAT_SECONDS < BEHIND_SECONDS
        assert pulse.beat(now, 0) == BEAT_SECONDS


def test_a_loop_that_has_caught_up_is_not_behind_for_long():
    """A late beat is followed by one right after what has come meanwhile."""
    pulse = Pulse(0.0, 1)
    pulse.beat(0.02, 0)
    soon = pulse.beat(0.3, 0)
    assert 0.3 - pulse.before > BEHIND_SECONDS
    now = 0.3 + soon

    assert pulse.beat(now, 0) == BEAT_SECONDS
    assert now - pulse.before < BEHIND_SECONDS


def test_what_a_turn_takes_is_counted_from_its_beat():
    """With what still waits for keys; the turn before is forgotten."""
    pulse = Pulse(0.0, 3)
    pulse.beat(1.0, 1)
    assert [pulse.take() for _ in range(4)] == [True, True, False, False]
    pulse.beat(2.0, 0)

    assert pulse.before == 1.0
    assert [pulse.take() for _ in range(4)] == [True, True, True, False]


def behind(most=99, check=None):
    """Make a client of a loop that last looked 0.3 s ago."""
    client = Client(check=check)
    client.behind = Pulse(client.now - 0.3, most)
    return client


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        ({}, b"data"),
        ({"grpc_timeout": "1S"}, b"data"),
        ({"grpc_timeout": "440m"}, b"refused"),
        ({"grpc_timeout": "1S", "x_envoy_expected_rq_timeout_ms": "440"}, b"refused"),
        ({"grpc_timeout": "1S", "x_envoy_expected_rq_timeout_ms": "460"}, b"data"),
    ],
)
def test_a_loop_that_is_behind_looks_at_deadlines(head, answer):
    """What it reads may have come right after it last looked."""
    client = behind()
    client.send(client.call(1, b"atad", **head))

    assert client.answer(1).messages == [answer]
    assert client.refused == ([(b"atad", pytest.approx(0.3))] if answer == b"refused" else [])


def test_a_call_whose_message_came_late_counts_from_its_head():
    """A deadline runs from there."""
    client = Client()
    client.send(client.head(1, grpc_timeout="1S"))
    client.now += 0.99
    client.behind = Pulse(client.now - 0.1, 99)
    client.send(body(1, framed(b"data")))

    assert client.refused == [(b"data", pytest.approx(0.99))]


def test_a_loop_that_is_behind_takes_so_many_checks():
    """Beyond that it refuses them, deadline or not, and answers questions for its health."""
    client = behind(most=2)
    client.send(*(client.call(stream, b"ab") for stream in (1, 3, 5)), client.call(7, b"", HEALTH_CHECK))

    assert [client.answer(stream).messages for stream in (1, 3, 5)] == [[b"ba"], [b"ba"], [b"refused"]]
    assert len(client.answer(7).messages) == 1


def test_waiting_for_keys_takes_off_what_was_waited_before():
    """The refusal still comes before Envoy gives up."""
    client = behind(check=lambda _: Waiting())
    client.send(client.call(1, grpc_timeout="500m"))

    assert client.waits[0].seconds == pytest.approx(0.18)
