"""The check: bytes in, bytes out."""

from collections.abc import Callable

from authz_server.core.decisions import Deny
from authz_server.core.reasons import Reason
from authz_server.core.request import Request
from authz_server.engine.engine import UNREAD, Engine, Wait
from authz_server.envoy import request as envoy_request
from authz_server.envoy import response as envoy_response
from authz_server.observe import correlation


class CheckResponses:
    """Write decisions as bytes of a CheckResponse.

    Args:
        new_id: makes a UUID for requests that came without one.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self.allow = envoy_response.allow
        self.size = len

    def deny(self, decision: Deny, request: Request) -> tuple[bytes, str]:
        """Write a denial; give it and its request id."""
        request_id = correlation.request_id(request.headers) or self._new_id()
        return envoy_response.deny(decision.response, request_id), request_id


class Check:
    """Answer the bytes of a CheckRequest with the bytes of a CheckResponse, see `transport.door.Check`.

    Args:
        engine: decides.
        timer: its clock.
    """

    def __init__(self, engine: Engine[bytes], timer: Callable[[], float]) -> None:
        self._engine = engine
        self._timer = timer

    def __call__(self, data: bytes) -> bytes | Wait[bytes]:
        """Answer a check, or ask to wait for keys that are being fetched."""
        began = self._timer()
        try:
            request = envoy_request.parse(data)
        except envoy_request.MalformedRequestError:
            return self._engine.deny(UNREAD, Deny(reason=Reason.REQUEST_MALFORMED), began)
        return self._engine.decide(request, began)

    def refuse(self, data: bytes | None, waited: float) -> bytes:
        """Answer a check that could not be decided in time."""
        try:
            request = UNREAD if data is None else envoy_request.parse(data)
        except envoy_request.MalformedRequestError:
            request = UNREAD
        return self._engine.deny(request, Deny(reason=Reason.OVERLOADED), self._timer() - waited)
