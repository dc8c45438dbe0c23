"""Clients that speak another protocol than the gRPC port: logged once per address, and counted."""

import logging
import re
import ssl
from typing import Final, Literal

Spoken = Literal["http1", "tls", "plaintext"]

MAX_TOLD: Final = 64  # addresses in the log: any client can connect, and one client can have many addresses

_HTTP1: Final = re.compile(rb"[A-Z]+(?: |$)")
_MAPPED: Final = "::ffff:"  # how a client with IPv4 is written where IPv6 is listened on, too
_HTTP2: Final = b"PRI *"
_HANDSHAKE: Final = b"\x16"
_NO_TLS: Final = {"HTTP_REQUEST", "WRONG_VERSION_NUMBER", "UNEXPECTED_MESSAGE"}  # as OpenSSL has it
_SAYS: Final[dict[Spoken, str]] = {
    "http1": "speaks HTTP/1.1, and the gRPC port HTTP/2; at Envoy set http2_protocol_options in the cluster, and grpc_service in ext_authz",
    "tls": "speaks TLS, and this port does not; give --tls-cert, or take transport_socket out of the cluster at Envoy",
    "plaintext": "speaks no TLS, and this port does; at Envoy set transport_socket in the cluster",
}

_logger: Final = logging.getLogger(__name__)


def spoken(octets: bytes) -> Spoken | None:
    """Name the protocol of a client that did not begin with HTTP/2's preface.

    Args:
        octets: the first of what it sent, or all.

    Returns:
        None for any other protocol.

    Source: RFC 9112 section 3: a method and a space; RFC 8446 section 5.1: the type of a record of the handshake.
    """
    if octets[:1] == _HANDSHAKE:
        return "tls"
    return "http1" if _HTTP1.match(octets) and not octets.startswith(_HTTP2) else None


def unshaken(error: OSError) -> Spoken | None:
    """Name the protocol of a client whose TLS handshake has failed; None where it spoke TLS."""
    return "plaintext" if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS else None


class WrongProtocols:
    """Count and log such clients. Only one thread may use it."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = dict.fromkeys(_SAYS, 0)
        self._told: set[tuple[str, Spoken]] = set()

    def note(self, wrong: Spoken | None, client: object) -> None:
        """Count a connection, and log the first one from each address.

        Args:
            wrong: the protocol; None does nothing.
            client: its address, as a socket has it.
        """
        if wrong is None:
            return
        self.counts[wrong] += 1
        host = str(client[0]).removeprefix(_MAPPED) if isinstance(client, tuple) else "the Unix socket"
        if (host, wrong) not in self._told and len(self._told) < MAX_TOLD:
            self._told.add((host, wrong))
            _logger.warning("a client at %s %s", host, _SAYS[wrong])
