"""The check: bytes in, bytes out, counted and logged on the way; whatever goes wrong is a denial."""

import logging
import re
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, cast

from authz_server.core.decisions import Allow, Deny, Reason
from authz_server.core.gateway import Gateway, Pending
from authz_server.core.request import Request
from authz_server.envoy import request as envoy_request
from authz_server.envoy import response as envoy_response
from authz_server.observe.decision_log import Entry
from authz_server.observe.metrics import Metrics

_logger: Final = logging.getLogger(__name__)
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_UNREAD: Final = Request("", "", "")


class Check:
    """Answer checks with the gateway of the running generation.

    Args:
        gateway: the current generation's; replaced whole by a reload.
        now: seconds since 1970.
        timer: seconds of a clock that never jumps.
        new_id: makes a UUID.
        metrics: counts each check.
        log: takes one entry per check, or None.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        now: Callable[[], float],
        timer: Callable[[], float],
        new_id: Callable[[], str],
        metrics: Metrics,
        log: Callable[[Entry], None] | None,
    ) -> None:
        self._gateway = gateway
        self._now = now
        self._timer = timer
        self._new_id = new_id
        self._metrics = metrics
        self._log = log

    def __call__(self, data: bytes) -> "bytes | Wait":
        """Answer a check.

        Args:
            data: bytes of a CheckRequest.

        Returns:
            Bytes of a CheckResponse, or a `Wait` when the check needs keys that are being fetched.
        """
        began = self._timer()
        try:
            request = envoy_request.parse(data)
        except envoy_request.MalformedRequestError:
            return self.conclude(_UNREAD, Deny(reason=Reason.REQUEST_MALFORMED), began)
        decision = self.decide(request)
        if isinstance(decision, Pending):
            return Wait(self, request, decision, began)
        return self.conclude(request, decision, began)

    def swap(self, gateway: Gateway) -> None:
        """Decide with another generation from the next check on."""
        self._gateway = gateway

    def decide(self, request: Request) -> Allow | Deny | Pending:
        """Ask the gateway; an exception there is a bug of ours and becomes a denial."""
        try:
            return self._gateway.decide(request, self._now())
        except Exception as error:  # noqa: BLE001 - whatever it is, a gRPC error may fail open
            return self._bug(error)

    def conclude(self, request: Request, decision: Allow | Deny, began: float) -> bytes:
        """Write, count and log an answer; an exception on the way becomes a denial, too."""
        try:
            return self._answer(request, decision, began)
        except Exception as error:  # noqa: BLE001 - as above
            return envoy_response.deny(self._bug(error).reason.value, self._new_id())

    def _answer(self, request: Request, decision: Allow | Deny, began: float) -> bytes:
        request_id = request.headers.get("x-request-id", "")
        if not _UUID.fullmatch(request_id):
            request_id = self._new_id() if isinstance(decision, Deny) else ""
        if isinstance(decision, Deny):
            answer = envoy_response.deny(decision.reason.value, request_id)
        else:
            answer = envoy_response.allow(decision)
        seconds = self._timer() - began
        self._metrics.check(decision, seconds)
        if self._log is not None:
            self._log(Entry(self._now(), seconds, request.method, request.host, request_id, decision))
        return answer

    def _bug(self, error: Exception) -> Deny:
        """Log where a bug is, without the values that were at hand."""
        places = "".join(traceback.format_tb(error.__traceback__))
        _logger.error("bug: %s while answering a check; please report it\n%s", type(error).__name__, places)
        return Deny(reason=Reason.INTERNAL_ERROR)


class Wait:
    """A check that needs keys which are being fetched, see `transport.door.Wait`.

    Args:
        check: answers in the end.
        request: what Envoy asks.
        pending: what the gateway said.
        began: when Envoy asked.
    """

    __slots__ = ("_began", "_check", "_pending", "_request")

    def __init__(self, check: Check, request: Request, pending: Pending, began: float) -> None:
        self._check = check
        self._request = request
        self._pending = pending
        self._began = began

    @property
    def fetch(self) -> "Future[None]":
        """Done when the fetch has ended, good or bad."""
        return cast("Future[None]", self._pending.fetch)

    def resume(self) -> bytes:
        """Answer now that the fetch has ended; the check does not wait a second time."""
        decision = self._check.decide(self._request)
        if isinstance(decision, Pending):
            decision = decision.unavailable()
        return self._check.conclude(self._request, decision, self._began)

    def refuse(self) -> bytes:
        """Answer without the keys: a 503 denial."""
        return self._check.conclude(self._request, self._pending.unavailable(), self._began)
