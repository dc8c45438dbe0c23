"""TLS on the event loop: accept, shake hands, and hand over to a protocol."""

import asyncio
import math
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from authz_server.transport.guard import Guard
from authz_server.transport.tls import PROTOCOL, Credentials
from authz_server.transport.wrong_protocol import WrongProtocols, unshaken

MAX_HANDSHAKES: Final = 128  # at one time; for one more, the oldest is broken off: who has shown no certificate keeps nobody out
HANDSHAKE_SECONDS: Final = 10.0
FAREWELL_SECONDS: Final = 5.0  # for a peer to answer the end of TLS
PAUSE_SECONDS: Final = 0.1  # when no more files can be opened


class TlsServer:
    """Accept connections on a socket, each with the credentials of its moment; asyncio's own server has one context for ever.

    Args:
        loop: that runs it.
        listening: the socket.
        protocol: makes one for each connection; it hears of none that failed to shake hands.
        credentials: tells those of this moment.
        wrong: takes note of clients that speak no TLS.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        credentials: Callable[[], Credentials],
        wrong: WrongProtocols,
    ) -> None:
        self._loop = loop
        self._listening = listening
        self._protocol = protocol
        self._credentials = credentials
        self._wrong = wrong
        self._handshakes: dict[asyncio.Task[None], None] = {}  # oldest first
        self._accepting = loop.create_task(self._accept())

    def close(self) -> None:
        """Accept no more, and break off handshakes."""
        for task in (self._accepting, *self._handshakes):
            task.cancel()

    async def _accept(self) -> None:
        while True:
            try:
                client, address = await self._loop.sock_accept(self._listening)
            except OSError:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if len(self._handshakes) >= MAX_HANDSHAKES:
                oldest = next(iter(self._handshakes))
                del self._handshakes[oldest]
                oldest.cancel()
            handshake = self._loop.create_task(self._shake_hands(client, address))
            self._handshakes[handshake] = None
            handshake.add_done_callback(lambda done: self._handshakes.pop(done, None))

    async def _shake_hands(self, client: socket.socket, address: object) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._protocol,
                client,
                ssl=self._credentials().context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=FAREWELL_SECONDS,
            )
        except OSError as error:  # of TLS, or of the network; the loop has closed the socket
            self._wrong.note(unshaken(error), address)


def speaks_http2(transport: asyncio.Transport, guard: Guard) -> bool:
    """Whether a peer that has shaken hands may speak HTTP/2.

    Args:
        transport: of the peer.
        guard: who may connect.

    Source: RFC 9113, section 3.2: over TLS, HTTP/2 is agreed on by ALPN.
    """
    return guard.credentials is None or transport.get_extra_info("ssl_object").selected_alpn_protocol() == PROTOCOL


def may_ask(transport: asyncio.Transport, guard: Guard) -> bool:
    """Whether a peer that has shaken hands may ask anything.

    Args:
        transport: of the peer.
        guard: who may connect.
    """
    if guard.credentials is None:
        return guard.clients is None
    return guard.clients is None or guard.clients.admits(**_names(transport.get_extra_info("peercert") or {}))


def expires(transport: asyncio.Transport) -> float:
    """Say when the certificate of a peer that has shaken hands expires.

    Args:
        transport: of the peer.

    Returns:
        Unix time; infinity for one that had to show none.
    """
    certificate = transport.get_extra_info("peercert")
    return ssl.cert_time_to_seconds(certificate["notAfter"]) if certificate else math.inf


def _names(certificate: dict[str, Any]) -> dict[str, list[str]]:
    names = certificate.get("subjectAltName", ())
    return {"dns": [name for kind, name in names if kind == "DNS"], "uris": [name for kind, name in names if kind == "URI"]}
