"""What `Guard` means to grpcio: credentials of a port, and an interceptor that looks at each call's client."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, NoReturn, TypeVar, cast

import grpc

from authz_server.transport.guard import AllowList
from authz_server.transport.tls import Credentials

_BEHAVIOURS: Final = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")  # a handler has one of these

_Asked = TypeVar("_Asked")
_Answered = TypeVar("_Answered")


def server_credentials(current: Callable[[], Credentials]) -> grpc.ServerCredentials:
    """Make the credentials of a port, which are new for new connections when they have changed.

    Args:
        current: tells those of this moment.

    Returns:
        Credentials that ask for a client's certificate if there is a client CA.
    """
    shown = current()

    def renewed() -> grpc.ServerCertificateConfiguration:
        nonlocal shown
        if (new := current()) is shown:
            return cast("grpc.ServerCertificateConfiguration", None)  # no change; the type does not know
        shown = new
        return _configuration(new)

    return grpc.dynamic_ssl_server_credentials(_configuration(shown), renewed, require_client_authentication=shown.client_ca is not None)


def _configuration(credentials: Credentials) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(credentials.key, credentials.chain)], credentials.client_ca)


class Admission(grpc.ServerInterceptor):
    """Refuse every call of a client that is not on the list: grpcio has no say at the end of a handshake.

    Args:
        clients: the list.
    """

    def __init__(self, clients: AllowList) -> None:
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
            if not self._admits(context):
                _refuse(context)
            return behaviour(request, context, *more)

        return guarded

    def _admits(self, context: grpc.ServicerContext) -> bool:
        peer = context.auth_context()
        return self._clients.admits(dns=_texts(peer, "peer_dns"), uris=_texts(peer, "peer_uri"))


def _texts(peer: Any, name: str) -> list[str]:
    return [value.decode(errors="replace") for value in peer.get(name, ())]


def _refuse(context: grpc.ServicerContext) -> NoReturn:
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "this client's certificate has no name that may ask")
