"""Who may connect to the gRPC port."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from authz_server.transport.sockets import PRIVATE, SocketAccess
from authz_server.transport.tls import Credentials
from authz_server.transport.wrong_protocol import WrongProtocols

SPIFFE: Final = "spiffe://"
MAX_TOLD: Final = 64  # refused clients that the log tells about

_logger: Final = logging.getLogger(__name__)


class AllowList:
    """Names of clients, of which a client's certificate must have one.

    Args:
        names: DNS names, and SPIFFE ids (`spiffe://…`), which are compared whole.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._ids = frozenset(name for name in names if name.startswith(SPIFFE))
        self._dns = frozenset(name.lower() for name in names if not name.startswith(SPIFFE))
        self._told: set[tuple[str, ...]] = set()

    def admits(self, *, dns: Collection[str], uris: Collection[str]) -> bool:
        """Whether a client may ask.

        Args:
            dns: DNS names in its certificate.
            uris: URIs in its certificate.

        Source: a SPIFFE X.509-SVID, section 2, has exactly one URI; with several, none is its id.
        """
        if not self._dns.isdisjoint(name.lower() for name in dns):
            return True
        if len(uris) == 1 and not self._ids.isdisjoint(uris):
            return True
        self._tell((*dns, *uris))
        return False

    def _tell(self, names: tuple[str, ...]) -> None:
        """Log each refused client once."""
        if names not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(names)
            _logger.warning("refused a client whose certificate names %s: --tls-allow-san lists none of these", list(names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Who may connect.

    Args:
        credentials: tells those of this moment, for each connection anew; None is plaintext.
        clients: which of the clients that the client CA knows; None is all of them.
        socket: who may connect to a Unix socket.
        wrong: takes note of clients that speak another protocol.
    """

    credentials: Callable[[], Credentials] | None = None
    clients: AllowList | None = None
    socket: SocketAccess = PRIVATE
    wrong: WrongProtocols = field(default_factory=WrongProtocols)

    @property
    def asks_for_certificates(self) -> bool:
        """Whether a client has to show a certificate."""
        return self.credentials is not None and self.credentials().client_ca is not None


OPEN: Final = Guard()
