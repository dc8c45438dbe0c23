"""What the grpcio transport bounds by itself or has grpcio bound: connections that are not used, and calls that wait for a thread that lasts."""

import contextlib
import threading

import pytest
from hyperframe.frame import PingFrame, SettingsFrame

from authz_server.demo.process import free_port
from authz_server.transport import grpcio, grpcio_arrival
from authz_server.transport.grpcio import GrpcioDoor
from tests.transport.http2 import HEALTH_WATCH, Remote
from tests.waiting import PATIENCE, until

WATCHES = range(1, 200, 2)


class Slow:
    """A check that answers at once, or when it may."""

    def __init__(self):
        self.asked = threading.Event()
        self.go = threading.Event()

    def __call__(self, data):
        """Answer with what was asked."""
        if data == b"slow":
            self.asked.set()
            self.go.wait(PATIENCE)
        return data


@pytest.fixture
def check():
    """Make a check."""
    return Slow()


@pytest.fixture
def serve(check, monkeypatch):
    """Serve at a port, once asked to; clients need not answer a ping."""
    monkeypatch.setattr(grpcio, "KEEPALIVE_SECONDS", 5 * PATIENCE)
    monkeypatch.setattr(grpcio, "KEEPALIVE_TIMEOUT_SECONDS", 5 * PATIENCE)
    with contextlib.ExitStack() as running:

        def start():
            door, port = GrpcioDoor(check), free_port()
            running.callback(door.stop, 0)
            running.callback(check.go.set)
            door.listen(f"127.0.0.1:{port}")
            door.start()
            return door, port

        yield start


@contextlib.contextmanager
def asked(port):
    """Open a connection that has asked once; grpcio closes those that do not acknowledge its settings anyway."""
    with Remote(port) as client:
        client.send(SettingsFrame(0, flags=["ACK"]), client.call(1))
        assert client.served(1) == [[b"ask"]]
        yield client


def is_let_in(port):
    """Whether there is room for one that asks."""
    try:
        with asked(port):
            return True
    except (AssertionError, OSError):
        return False


def test_a_connection_without_a_call_is_closed(serve, monkeypatch):
    """It is told up to which call its calls were taken, and no ping keeps it."""
    monkeypatch.setattr(grpcio, "IDLE_SECONDS", 0.5)
    _, port = serve()
    with asked(port) as client:
        client.send(PingFrame(0, b"12345678"))
        client.drain()

        last_stream, _ = client.goaways()[-1]
        assert last_stream == 1


def test_a_call_in_progress_keeps_its_connection(serve, check, monkeypatch):
    """Be it a check that is not decided yet or a watch, however many others come and go meanwhile."""
    monkeypatch.setattr(grpcio, "IDLE_SECONDS", 0.5)
    _, port = serve()
    with Remote(port) as waiting, Remote(port) as watching:
        waiting.send(waiting.call(1, b"slow"))
        watching.send(watching.call(1, b"", HEALTH_WATCH))
        watching.until(lambda: bool(watching.answer(1).body))
        assert check.asked.wait(PATIENCE)
        for _ in range(3):
            with asked(port) as idle:
                idle.drain()
        check.go.set()

        assert waiting.served(1) == [[b"slow"]]
        watching.send(watching.call(3))
        assert watching.served(3) == [[b"ask"]]


def test_connections_that_have_asked_once_make_room(serve, monkeypatch):
    """As many as there is room for keep a newcomer out for so long, and no longer."""
    monkeypatch.setattr(grpcio, "MAX_CONNECTIONS", 4)
    monkeypatch.setattr(grpcio, "IDLE_SECONDS", 1.0)
    _, port = serve()
    with contextlib.ExitStack() as guests:
        for _ in range(4):
            guests.enter_context(asked(port))

        until(lambda: is_let_in(port))


def test_a_flood_of_watches_waits_nowhere(serve, monkeypatch):
    """So many wait for a thread; the others end at once, and nothing is kept of any that has ended."""
    monkeypatch.setattr(grpcio, "MAX_WATCHES", 2)
    monkeypatch.setattr(grpcio_arrival, "PLACES", 4)
    monkeypatch.setattr(grpcio, "SWEEP_SECONDS", 5 * PATIENCE)  # so that only the flood's own bound ends any
    door, port = serve()
    with Remote(port) as client:
        client.send(*(client.call(stream, b"", HEALTH_WATCH) for stream in WATCHES))
        client.until(lambda: sum(client.answer(stream).ended for stream in WATCHES) == len(WATCHES) - 2 * 4)
        assert {answer.status for answer in client.answers.values() if answer.ended} == {"1"}
        client.send(client.call(201))
        assert client.served(201) == [[b"ask"]]

    until(lambda: not door._server._state.rpc_states)
