"""The asyncio door's handshakes: how many, how long, and what happens when no more files can be opened."""

import asyncio
import contextlib
import socket
import ssl
import time

import pytest

from authz_server.demo.process import free_port
from authz_server.transport import event_loop, tls_server
from authz_server.transport.event_loop import EventLoopDoor
from authz_server.transport.guard import Guard
from authz_server.transport.tls import read
from authz_server.transport.tls_server import TlsServer
from authz_server.transport.wrong_protocol import WrongProtocols
from tests.authority import Authority, files
from tests.waiting import PATIENCE

LONG = 5 * PATIENCE  # seconds that no test waits for


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Serve with TLS, to clients that may take their time, and tell door and port."""
    monkeypatch.setattr(tls_server, "HANDSHAKE_SECONDS", LONG)
    monkeypatch.setattr(tls_server, "FAREWELL_SECONDS", LONG)
    monkeypatch.setattr(event_loop, "LINGER_SECONDS", LONG)
    credentials = read(files(tmp_path, Authority().server()), time.time())
    door, port = EventLoopDoor(bytes, guard=Guard(credentials=lambda: credentials)), free_port()
    door.listen(f"127.0.0.1:{port}")
    door.start()
    yield door, port
    door.stop(0)


def closed(client):
    """Whether the server has ended a connection."""
    with contextlib.suppress(ConnectionError):
        return client.recv(1) == b""
    return True


def shaken(port):
    """Shake hands, and give the connection."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), PATIENCE))


def test_handshakes_have_a_limit(served, monkeypatch):
    """For one more the oldest is broken off: whoever reaches the port without a certificate keeps nobody out."""
    monkeypatch.setattr(tls_server, "MAX_HANDSHAKES", 2)
    door, port = served
    with contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)) for _ in range(3))

        assert closed(first)
        assert not door._peers
        for waiting in (second, third):
            waiting.settimeout(0.1)
            with pytest.raises(TimeoutError):
                waiting.recv(1)
        stack.enter_context(shaken(port))
        assert closed(second)


def test_silent_handshakes_keep_nobody_out(served):
    """Twice as many as there is room for, and a client that shows what it has is served at once."""
    _, port = served
    with contextlib.ExitStack() as stack:
        for _ in range(2 * tls_server.MAX_HANDSHAKES):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
        stack.enter_context(shaken(port))


def test_stopping_breaks_off_handshakes(served):
    """Who has not shown a certificate is not waited for."""
    door, port = served
    with socket.create_connection(("127.0.0.1", port), PATIENCE):
        time.sleep(0.1)
        began = time.monotonic()
        door.stop(LONG)

    assert time.monotonic() - began < PATIENCE


def test_a_client_that_breaks_the_rules_hears_why_and_then_the_end(served):
    """The end of TLS is said, and not waited for longer than the client takes to answer it."""
    _, port = served
    with shaken(port) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000" + "0000080600000000010000000000000000"))
        heard = b""
        while received := client.recv(4096):  # settings, and a ping on a stream
            heard += received
        client.unwrap()

    assert b"\7\0\0\0\0\0" in heard  # GOAWAY on the connection


class Exhausted:
    """A loop whose process has no file left, twice."""

    def __init__(self, loop, client):
        self.create_task = loop.create_task
        self.tries = 0
        self.client = client
        self.connected = asyncio.Event()

    async def sock_accept(self, _):
        """Fail twice, then accept one client."""
        self.tries += 1
        if self.tries <= 2:
            raise OSError(24, "Too many open files")
        if self.tries > 3:
            await asyncio.Event().wait()
        return self.client, None

    async def connect_accepted_socket(self, *_, **__):
        """Take note of the client."""
        self.connected.set()


def test_a_lack_of_files_is_waited_out(tmp_path, monkeypatch):
    """The server goes on to accept, and does not spin meanwhile."""
    monkeypatch.setattr(tls_server, "PAUSE_SECONDS", 0.01)
    credentials = read(files(tmp_path, Authority().server()), time.time())

    async def run():
        with socket.socket() as listening, socket.socket() as client:
            loop = Exhausted(asyncio.get_running_loop(), client)
            server = TlsServer(loop, listening, asyncio.Protocol, lambda: credentials, WrongProtocols())
            await asyncio.wait_for(loop.connected.wait(), PATIENCE)
            server.close()
            return loop.tries

    assert asyncio.run(run()) >= 3
