"""What `Guard` means to grpcio: credentials of a port, and an interceptor that looks at each call's client."""

import math
import time
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Final, TypeVar, cast

import grpc
from cryptography import x509

from authz_server.transport.door import LIFETIME_SECONDS
from authz_server.transport.guard import AllowList
from authz_server.transport.tls import Credentials

_BEHAVIOURS: Final = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")  # a handler has one of these

_Asked = TypeVar("_Asked")
_Answered = TypeVar("_Answered")


def server_credentials(current: Callable[[], Credentials]) -> grpc.ServerCredentials:
    """Make the credentials of a port, which are new for new connections when they have changed.

    They are handed out anew after the lifetime of a connection, too: a TLS session is not taken up again with other ones, and would else
    spare a client its certificate for hours or days.

    Args:
        current: tells those of this moment.

    Returns:
        Credentials that ask for a client's certificate if there is a client CA.
    """
    shown, since = current(), time.monotonic()

    def renewed() -> grpc.ServerCertificateConfiguration:
        nonlocal shown, since
        new, now = current(), time.monotonic()
        if new is shown and now - since < LIFETIME_SECONDS:
            return cast("grpc.ServerCertificateConfiguration", None)  # no change; the type does not know
        shown, since = new, now
        return _configuration(new)

    return grpc.dynamic_ssl_server_credentials(_configuration(shown), renewed, require_client_authentication=shown.client_ca is not None)


def _configuration(credentials: Credentials) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(credentials.key, credentials.chain)], credentials.client_ca)


class Admission(grpc.ServerInterceptor):
    """Refuse every call of a client whose certificate has expired, or that is not on the list.

    grpcio has no say at the end of a handshake, and of a TLS session that is taken up again it does not look at the time.

    Args:
        clients: the list; None is all of them.
    """

    def __init__(self, clients: AllowList | None) -> None:
        self._clients = clients

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "grpc.RpcMethodHandler[_Asked, _Answered] | None"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[_Asked, _Answered] | None":
        """Put the look at the client before what would answer."""
        handler: Any = continuation(handler_call_details)
        if handler is None:
            return None
        behaviours = {name: getattr(handler, name) for name in _BEHAVIOURS}
        guarded = {name: self._guarded(behaviour) for name, behaviour in behaviours.items() if behaviour is not None}
        return cast("grpc.RpcMethodHandler[_Asked, _Answered]", handler._replace(**guarded))

    def _guarded(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(behaviour)
        def guarded(request: Any, context: grpc.ServicerContext, *more: Any) -> Any:
            peer: Any = context.auth_context()
            if self._clients is not None and not self._clients.admits(dns=_texts(peer, "peer_dns"), uris=_texts(peer, "peer_uri")):
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "this client's certificate has no name that may ask")
            if time.time() >= _expires(b"".join(peer.get("x509_pem_cert", ()))):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "this client's certificate has expired")
            return behaviour(request, context, *more)

        return guarded


@lru_cache(1_024)
def _expires(certificate: bytes) -> float:
    """Read when a client's certificate expires; one that is not there, or cannot be read, has done so."""
    try:
        return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp()
    except Exception:  # noqa: BLE001 - what cryptography raises is not all documented, and not all a ValueError
        return -math.inf


def _texts(peer: Any, name: str) -> list[str]:
    return [value.decode(errors="replace") for value in peer.get(name, ())]
