"""Requests with trailers: a client of HTTP/2, and upstreams that answer with the headers and trailers that reached them."""

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from threading import Thread

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, RequestReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

from tests.waiting import PATIENCE

Fields = list[tuple[str, str]]


@dataclass(frozen=True)
class Seen:
    """What came of a request.

    Args:
        status: of the answer; 0 when the request was cut off.
        headers: that reached the upstream; [] when the request did not.
        trailers: that reached the upstream.
    """

    status: int
    headers: Fields
    trailers: Fields


def ask(port: int, method: str, path: str, headers: Iterable[tuple[str, str]], trailers: Fields) -> Seen:
    """Send a request with a body and trailers over HTTP/2."""
    pseudo = [(":method", method), (":scheme", "http"), (":authority", "api.example.com"), (":path", path)]
    peer = H2Connection(H2Configuration(header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False))
    status, body = 0, b""
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as client:
        peer.initiate_connection()
        peer.send_headers(1, [*pseudo, *headers])
        peer.send_data(1, b"body")
        peer.send_headers(1, trailers, end_stream=True)
        client.sendall(peer.data_to_send())
        while octets := client.recv(65_536):
            for event in peer.receive_data(octets):
                match event:
                    case ResponseReceived():
                        status = int(dict(event.headers)[":status"])
                    case DataReceived():
                        body += event.data
                    case StreamEnded() | StreamReset() | ConnectionTerminated():
                        seen = json.loads(body) if body.startswith(b'{"headers"') else {"headers": [], "trailers": []}
                        return Seen(status, *([(name, value) for name, value in seen[part]] for part in ("headers", "trailers")))
            client.sendall(peer.data_to_send())
    return Seen(0, [], [])


@contextmanager
def upstream(*, http2: bool) -> Iterator[int]:
    """Serve on a port of its own, in HTTP/2 or in HTTP/1.1."""
    answer = _over_http2 if http2 else _over_http1
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    Thread(target=serve, args=(client,), daemon=True).start()

        def serve(client: socket.socket) -> None:
            with closing(client), suppress(OSError):
                answer(client)

        Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def _over_http2(client: socket.socket) -> None:
    peer = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1", validate_inbound_headers=False))
    peer.initiate_connection()
    client.sendall(peer.data_to_send())
    seen: dict[int, dict[str, object]] = {}
    while octets := client.recv(65_536):
        for event in peer.receive_data(octets):
            match event:
                case RequestReceived():
                    seen[event.stream_id] = {"headers": event.headers, "trailers": []}
                case TrailersReceived():
                    seen[event.stream_id]["trailers"] = event.headers
                case StreamEnded():
                    peer.send_headers(event.stream_id, [(":status", "200")])
                    peer.send_data(event.stream_id, json.dumps(seen[event.stream_id]).encode(), end_stream=True)
        client.sendall(peer.data_to_send())


def _over_http1(client: socket.socket) -> None:
    octets = b""
    while not (b"\r\n0\r\n" in octets and octets.endswith(b"\r\n\r\n")):  # the end of a chunked body, with trailers or none
        received = client.recv(65_536)
        if not received:
            return
        octets += received
    head, _, rest = octets.decode("latin-1").partition("\r\n\r\n")
    lines = {"headers": head.split("\r\n")[1:], "trailers": rest.partition("\r\n0\r\n")[2].split("\r\n")}
    seen = {part: [line.split(": ", 1) for line in found if line] for part, found in lines.items()}
    body = json.dumps(seen).encode()
    client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
