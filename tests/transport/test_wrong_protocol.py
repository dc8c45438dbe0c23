"""Clients that speak something else are told of once for each address, and counted."""

import contextlib
import logging
import socket
import ssl
import time

import pytest

from authz_server.demo.process import free_port
from authz_server.transport import wrong_protocol
from authz_server.transport.event_loop import EventLoopDoor
from authz_server.transport.guard import Guard
from authz_server.transport.tls import read
from authz_server.transport.wrong_protocol import WrongProtocols, spoken
from tests.authority import Authority, files
from tests.waiting import PATIENCE, until

HTTP1 = b"POST /envoy.service.auth.v3.Authorization/Check HTTP/1.1\r\nhost: authz\r\n\r\n"
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def client_hello():
    """Write what a client of TLS sends first."""
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="authz").do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (HTTP1, "http1"),
        (b"GET / HTTP/1.1", "http1"),
        (b"G", "http1"),
        (client_hello(), "tls"),
        (HTTP2, None),
        (b"PRI * HTTP/1.1\r\n", None),
        (b"\0\0\0", None),
        (b"SSH-2.0-x\r\n", None),
        (b"get / HTTP/1.1\r\n", None),
        (b"", None),
    ],
)
def test_the_first_octets_say_what_a_client_speaks(octets, expected):
    """What is none of the two is counted as nothing: it may be anything."""
    assert spoken(octets) == expected


def test_each_address_is_told_of_once(caplog, monkeypatch):
    """However often it comes, and however many come: the log can not be filled."""
    monkeypatch.setattr(wrong_protocol, "MAX_TOLD", 3)
    wrong = WrongProtocols()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            wrong.note("http1", ("10.0.0.1", 1))
            wrong.note("tls", ("::ffff:10.0.0.1", 2, 0, 0))
            wrong.note("http1", "")
            wrong.note(None, ("10.0.0.2", 3))
        for number in range(100):
            wrong.note("http1", ("10.0.1.1", number))

    assert wrong.counts == {"http1": 106, "tls": 3, "plaintext": 0}
    assert [record.args[0] for record in caplog.records] == ["10.0.0.1", "10.0.0.1", "the Unix socket"]


@contextlib.contextmanager
def serving(guard):
    """Serve at the asyncio transport."""
    door, port = EventLoopDoor(lambda _: b"", guard=guard), free_port()
    door.listen(f"127.0.0.1:{port}")
    door.start()
    try:
        yield port
    finally:
        door.stop(0)


def send(port, *pieces):
    """Send octets, and wait for the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client, contextlib.suppress(ConnectionError):
        for piece in pieces:
            client.sendall(piece)
        while client.recv(4096):
            pass


def counted(guard):
    """Wait until a client was counted."""
    until(lambda: any(guard.wrong.counts.values()))
    return {protocol for protocol, count in guard.wrong.counts.items() if count}


@pytest.mark.parametrize(("octets", "expected"), [(HTTP1, "http1"), (client_hello(), "tls")], ids=["http1", "tls"])
def test_at_a_port_without_tls(octets, expected, caplog):
    """The warning names the address and what to do."""
    guard = Guard()
    with caplog.at_level(logging.WARNING), serving(guard) as port:
        send(port, octets)
        assert counted(guard) == {expected}

    assert "a client at 127.0.0.1 speaks" in caplog.text
    assert "at Envoy" in caplog.text


def test_what_goes_wrong_after_a_good_beginning_is_nothing_of_the_kind():
    """Such a client speaks HTTP/2, if badly."""
    guard = Guard()
    with serving(guard) as port:
        send(port, HTTP2, HTTP1)
        send(port, HTTP2 + HTTP1)
        send(port, HTTP1)
        counted(guard)

    assert guard.wrong.counts == {"http1": 1, "tls": 0, "plaintext": 0}


@pytest.mark.parametrize(("octets"), [HTTP1, HTTP2, b"GET / HTTP/1.1\r\n\r\n"], ids=["http1", "http2", "get"])
def test_plaintext_at_a_port_with_tls(octets, tmp_path, caplog):
    """As where an Envoy lacks its transport_socket."""
    credentials = read(files(tmp_path, Authority().server()), time.time())
    guard = Guard(credentials=lambda: credentials)
    with caplog.at_level(logging.WARNING), serving(guard) as port:
        send(port, octets)
        assert counted(guard) == {"plaintext"}

    assert "a client at 127.0.0.1 speaks no TLS" in caplog.text


def test_http1_over_tls(tmp_path):
    """It offers no HTTP/2 by ALPN."""
    credentials = read(files(tmp_path, Authority().server()), time.time())
    guard = Guard(credentials=lambda: credentials)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with serving(guard) as port, socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        with contextlib.suppress(OSError), context.wrap_socket(client) as wrapped:
            wrapped.sendall(HTTP1)
            wrapped.recv(1)
        assert counted(guard) == {"http1"}
