"""Clients that hold calls open, at both doors over real sockets: nobody else waits for them, and it ends."""

import contextlib
import sys
import threading
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hyperframe.frame import PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from authz_server.demo.process import free_port
from authz_server.testing import ManualClock
from authz_server.transport import connection, grpcio
from authz_server.transport.event_loop import EventLoopDoor
from authz_server.transport.grpc import framed
from authz_server.transport.grpcio import GrpcioDoor
from authz_server.transport.grpcio_held import YOUNG_SECONDS, OpenCalls
from tests.transport.http2 import CHECK, HEALTH_CHECK, HEALTH_WATCH, Remote, body
from tests.waiting import PATIENCE, until

METHODS = [CHECK, HEALTH_CHECK, HEALTH_WATCH]
CANCELLED, UNIMPLEMENTED = "1", "12"
LONG = 5 * PATIENCE  # seconds for which a call may be held open: whoever waited for it would lose patience


class Long:
    """A check that answers at length, or when it may, when asked to."""

    def __init__(self):
        self.asked = []
        self.go = threading.Event()

    def __call__(self, data):
        """Answer with what was asked."""
        self.asked.append(data)
        if data == b"slow":
            self.go.wait(PATIENCE)
        return bytes(100_000) if data == b"much" else data

    def refuse(self, *_):
        """Answer at once."""
        return b"refused"


@pytest.fixture(params=["grpcio", "asyncio"])
def kind(request):
    """Name each door in turn."""
    return request.param


@pytest.fixture
def check():
    """Make a check."""
    return Long()


@pytest.fixture
def serve(kind, check, monkeypatch):
    """Serve at a port, once asked to."""
    for door in (grpcio, connection):
        monkeypatch.setattr(door, "HALF_OPEN_SECONDS", LONG)
    with contextlib.ExitStack() as running:

        def start():
            door, port = GrpcioDoor(check) if kind == "grpcio" else EventLoopDoor(check), free_port()
            running.callback(door.stop, 0)
            door.listen(f"127.0.0.1:{port}")
            door.start()
            return door, port

        yield start


class Good:
    """A client that asks and is answered.

    Args:
        port: to ask at.
    """

    def __init__(self, port):
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self.reflection = reflection_pb2_grpc.ServerReflectionStub(self._channel)

    def asks(self):
        """Ask for everything that a proxy asks for, and require that each is answered."""
        liveness = health_pb2.HealthCheckRequest(service="liveness")
        assert self._channel.unary_unary(CHECK)(b"ask", timeout=PATIENCE) == b"ask"
        assert self._health.Check(liveness, timeout=PATIENCE).status == 1
        watch = self._health.Watch(liveness, timeout=PATIENCE)
        assert next(watch).status == 1
        watch.cancel()

    def __enter__(self):
        grpc.channel_ready_future(self._channel).result(PATIENCE)
        return self

    def __exit__(self, *_):
        self._channel.close()


def nothing(done):
    """Ask nothing, until all is done."""
    done.wait()
    yield from ()


def over(client, *streams):
    """Receive until calls have ended, one way or the other."""
    client.until(lambda: all(client.answer(stream).ended or client.answer(stream).reset is not None for stream in streams))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("piece", [b"", framed(b"x" * 10_000)[:9_000]], ids=["no message", "half a message"])
def test_half_open_calls_keep_nobody_waiting(serve, method, piece):
    """A hundred of them hold neither a thread nor a place, whatever they began to ask."""
    _, port = serve()
    with Good(port) as good, Remote(port) as client:
        for stream in range(1, 200, 2):
            client.send(client.head(stream, method), body(stream, piece, end=False))
        time.sleep(0.1)
        for _ in range(10):
            good.asks()


def test_half_open_calls_of_many_connections_keep_nobody_waiting(check, monkeypatch):
    """Where there is one thread, it waits for the first of thirty and for no other."""
    monkeypatch.setattr(grpcio, "HALF_OPEN_SECONDS", LONG)
    door, port = GrpcioDoor(check, threads=1), free_port()
    door.listen(f"127.0.0.1:{port}")
    door.start()
    with contextlib.ExitStack() as running, Good(port) as good:
        running.callback(door.stop, 0)
        for method in METHODS * 10:
            client = running.enter_context(Remote(port))
            client.send(client.head(1, method))
        good.asks()


@pytest.mark.parametrize("method", METHODS)
def test_half_open_calls_end(serve, kind, monkeypatch, method):
    """When their time is up, and not before; their connection goes on."""
    monkeypatch.setattr(grpcio if kind == "grpcio" else connection, "HALF_OPEN_SECONDS", 1.0)
    _, port = serve()
    with Remote(port) as client:
        began = time.monotonic()
        for stream in range(1, 40, 2):
            client.send(client.head(stream, method), body(stream, framed(b"x" * 100)[:50], end=False))
        over(client, *range(1, 40, 2))

        assert time.monotonic() - began > 0.9
        assert {(answer.status or CANCELLED) for answer in client.answers.values()} == {CANCELLED}
        client.send(client.call(41))
        assert client.served(41) == [[b"ask"]]


def test_a_call_without_a_message_is_told(serve):
    """However late it says so."""
    _, port = serve()
    with Remote(port) as client:
        client.send(client.head(1))
        time.sleep(0.1)
        client.send(body(1))
        over(client, 1)

        assert client.answer(1).status in {UNIMPLEMENTED, "13"}


def test_watchers_that_do_not_read_keep_nobody_waiting(serve):
    """Neither questions for health nor the news itself."""
    door, port = serve()
    with Good(port) as good, Remote(port) as client:
        credit = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**31 - 1}), WindowUpdateFrame(0, 2**30)
        client.send(*credit, client.call(1, b"", HEALTH_WATCH))
        client.until(lambda: bool(client.answer(1).body))
        for stream in range(3, 240, 2):  # more than the kernel takes
            client.send(client.call(stream, b"much"))
        time.sleep(0.3)
        telling = threading.Thread(target=lambda: [door.serving(ready=ready) for ready in (True, False, True)], daemon=True)
        telling.start()
        telling.join(PATIENCE)

        assert not telling.is_alive()
        good.asks()


@pytest.mark.parametrize("kind", ["grpcio"], indirect=True)
def test_watches_are_not_too_many(serve, monkeypatch):
    """The oldest makes room."""
    monkeypatch.setattr(grpcio, "MAX_WATCHES", 4)
    _, port = serve()
    with Remote(port) as client:
        client.send(*(client.call(stream, b"", HEALTH_WATCH) for stream in (1, 3, 5, 7)))
        client.until(lambda: all(client.answer(stream).body for stream in (1, 3, 5, 7)))
        client.send(client.call(9, b"", HEALTH_WATCH))
        client.until(lambda: bool(client.answer(9).body))

        assert [client.answer(stream).ended for stream in (1, 3, 5, 7, 9)] == [True, False, False, False, False]


@pytest.mark.parametrize("kind", ["grpcio"], indirect=True)
def test_reflection_that_is_held_open_keeps_nobody_waiting(serve, monkeypatch):
    """It has threads of its own, one of which is soon free, and ends."""
    monkeypatch.setattr(grpcio, "HALF_OPEN_SECONDS", 4.0)
    _, port = serve()
    with Good(port) as good, contextlib.ExitStack() as stack:
        done = threading.Event()
        stack.callback(done.set)
        held = [good.reflection.ServerReflectionInfo(nothing(done)) for _ in range(20)]
        time.sleep(0.1)
        good.asks()
        asked = reflection_pb2.ServerReflectionRequest(list_services="")

        def answered():
            try:
                (answer,) = good.reflection.ServerReflectionInfo(iter([asked]), timeout=PATIENCE)
            except grpc.RpcError as error:  # the machine stood still for as long as a call may be open
                if error.code() is not grpc.StatusCode.CANCELLED:
                    raise
                return False
            return bool(answer.list_services_response.service)

        until(answered)
        assert {call.code() for call in held} == {grpc.StatusCode.CANCELLED}


@pytest.mark.parametrize("kind", ["grpcio"], indirect=True)
def test_a_call_that_is_whole_may_take_longer(serve, check, monkeypatch):
    """The limit is for clients."""
    monkeypatch.setattr(grpcio, "HALF_OPEN_SECONDS", 0.5)
    _, port = serve()
    with Remote(port) as client:
        client.send(client.call(1, b"slow"))
        time.sleep(1)
        check.go.set()

        assert client.served(1) == [[b"slow"]]


@pytest.mark.parametrize("kind", ["grpcio"], indirect=True)
def test_nothing_is_held_of_calls_that_have_ended(serve):
    """Be it that they were answered, or that their client went."""
    door, port = serve()
    with Good(port) as good, Remote(port) as client:
        good.asks()
        for stream, method in zip(range(1, 7, 2), METHODS, strict=True):
            client.send(client.head(stream, method))
        client.send(client.call(7))
        client.served(7)
        for count in (3, 0):
            until(lambda count=count: sum(len(held) for held in door._swept) == count)
            client.socket.close()


@pytest.mark.parametrize("kind", ["grpcio"], indirect=True)
def test_a_call_whose_client_has_gone_is_not_decided(serve, check):
    """A storm of whole calls that are cancelled costs no more than it must."""
    _, port = serve()
    with Good(port) as good, Remote(port) as busy, Remote(port) as client:
        busy.send(*(busy.call(stream, b"slow") for stream in range(1, 2 * grpcio.THREADS, 2)))
        until(lambda: len(check.asked) == grpcio.THREADS)
        client.send(client.call(1, b"", HEALTH_WATCH), *(client.call(stream, b"cancelled") for stream in range(17, 101, 2)))
        client.until(lambda: bool(client.answer(1).body))
        client.send(*(RstStreamFrame(stream, 8) for stream in range(17, 101, 2)), client.call(101, b"", HEALTH_CHECK))
        client.served(101)
        check.go.set()
        good.asks()

    assert b"cancelled" not in check.asked


@pytest.mark.parametrize("kind", ["grpcio"], indirect=True)
def test_a_peer_that_is_gone_is_noticed(serve, monkeypatch):
    """One that answers pings may be silent for as long as it likes."""
    monkeypatch.setattr(grpcio, "KEEPALIVE_SECONDS", 0.5)
    monkeypatch.setattr(grpcio, "KEEPALIVE_TIMEOUT_SECONDS", 1.0)
    _, port = serve()
    with Remote(port) as gone:
        began = time.monotonic()
        gone.drain()
        assert time.monotonic() - began > 0.9
    monkeypatch.setattr(grpcio, "KEEPALIVE_TIMEOUT_SECONDS", LONG)
    _, port = serve()
    with Remote(port) as idle:
        for number in range(1, 6):
            idle.until(lambda so_many=number: len(idle.all(PingFrame)) == so_many)
            idle.pong()
        idle.send(idle.call(1))
        assert idle.served(1) == [[b"ask"]]


@pytest.mark.parametrize("kind", ["grpcio"], indirect=True)
def test_grpcio_takes_so_many_connections(serve, monkeypatch):
    """It would take as many as there are files, and then neither keys nor a new configuration could be read."""
    monkeypatch.setattr(grpcio, "MAX_CONNECTIONS", 2)
    _, port = serve()
    with Remote(port) as first, Remote(port) as second:
        for client in (first, second):
            client.send(client.call(1))
            client.served(1)
        with contextlib.suppress(ConnectionError), Remote(port) as third:
            third.drain()
            assert third.closed
        first.send(first.call(3))
        assert first.served(3) == [[b"ask"]]


class Call:
    """A call that can be cancelled."""

    def __init__(self):
        self.cancelled = False

    def cancel(self):
        """Take note."""
        self.cancelled = True


def test_calls_are_held_for_so_long():
    """Each from its own beginning."""
    clock = ManualClock(100.0)
    held, first, second = OpenCalls(9, clock, 20.0), Call(), Call()
    held.add(first)
    clock.advance(15)
    held.add(second)
    clock.advance(5.5)
    held.sweep()

    assert [first.cancelled, second.cancelled] == [True, False]


def test_so_many_calls_are_held_of_those_that_are_not_young():
    """The oldest go, once; those of a busy moment stay, and who has gone is not counted."""
    clock = ManualClock(100.0)
    held, calls = OpenCalls(2, clock, 20.0), [Call() for _ in range(5)]
    for call in calls:
        held.add(call)
    held.discard(calls[0])
    held.discard(calls[0])
    held.sweep()
    assert not any(call.cancelled for call in calls)

    clock.advance(YOUNG_SECONDS + 0.1)
    held.sweep()
    assert [call.cancelled for call in calls] == [False, True, True, False, False]


def test_the_thread_that_takes_calls_waits_for_no_long_turns(check):
    """Python lets a thread go on for 5 ms while others want to; eight of them would keep that one from its work for long."""
    sys.setswitchinterval(0.005)
    door = GrpcioDoor(check)
    door.start()
    door.stop(0)

    assert sys.getswitchinterval() == pytest.approx(grpcio.TURN_SECONDS)
