"""The check: bytes in, bytes out, counted and logged on the way; whatever goes wrong is a denial."""

import contextlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, cast

from authz_server.core.decisions import Allow, Deny
from authz_server.core.gateway import Gateway, Match, Pending
from authz_server.core.hosts import Hosts
from authz_server.core.reasons import Reason
from authz_server.core.request import Request
from authz_server.core.responses import BUILT_IN
from authz_server.core.tokens import MAX_TOKEN_LENGTH
from authz_server.core.verdicts import Verdict, Verdicts
from authz_server.envoy import request as envoy_request
from authz_server.envoy import response as envoy_response
from authz_server.observe import correlation
from authz_server.observe.entry import Entry, brief
from authz_server.observe.logs import bug
from authz_server.observe.metrics import Metrics

DENIED_SECONDS: Final = 10.0  # a wrong token is told so again without a signature check
MAX_HEADER_LENGTH: Final = MAX_TOKEN_LENGTH + len("Bearer ")
DENIED_BUDGET: Final = 4 * 1_048_576

_logger: Final = logging.getLogger(__name__)
_UNREAD: Final = Request("", "", "")


@dataclass(frozen=True, slots=True)
class Running:
    """A generation, and the verdicts that it has reached.

    Args:
        gateway: decides.
        allowed: verdicts by which a token may pass.
        denied: verdicts about wrong tokens, apart, so that a storm of them pushes no good one out.
        plain: allows by api and route, as many as there are routes.
    """

    gateway: Gateway
    allowed: Verdicts
    denied: Verdicts
    plain: dict[tuple[str, str], Allow]

    def allow(self, api: str, route: str) -> Allow:
        """Give the allow of a route for the decision log, when there is no more to tell than that."""
        allow = self.plain.get((api, route))
        if allow is None:
            allow = self.plain[api, route] = Allow(api=api, route=route)
        return allow


class Check:
    """Answer checks with the running generation, and repeat what was decided about a token while that holds.

    Args:
        budget: bytes for verdicts about good tokens; 0 decides each check anew.
        now: seconds since 1970.
        timer: seconds of a clock that never jumps.
        new_id: makes a UUID.
        metrics: counts each check.
        log: takes one entry per check, or None.
    """

    def __init__(
        self,
        budget: int,
        *,
        now: Callable[[], float],
        timer: Callable[[], float],
        new_id: Callable[[], str],
        metrics: Metrics,
        log: Callable[[Entry], None] | None,
    ) -> None:
        self._budget = budget
        self._now = now
        self._timer = timer
        self._new_id = new_id
        self._metrics = metrics
        self._log = log
        self._secret = os.urandom(32)
        self.swap(Gateway(apis={}, hosts=Hosts(())))

    def swap(self, gateway: Gateway) -> None:
        """Decide with another generation from the next check on; no verdict outlives its generation."""
        denied = min(DENIED_BUDGET, self._budget)
        self.running = Running(gateway, Verdicts(self._budget, self._secret), Verdicts(denied, self._secret), {})

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
        try:
            return self._decide(request, began)
        except Exception as error:  # noqa: BLE001 - whatever it is, a gRPC error may fail open
            return self._bug(request, error, began)

    def _decide(self, request: Request, began: float) -> "bytes | Wait":
        running = self.running
        match = running.gateway.match(request)
        if isinstance(match, Deny):
            return self._answer(request, match, began)
        api, route = match
        now = self._now()
        name = b""
        authorizer = route.authorizer
        if authorizer is not None and route.tag and self._budget:
            token = request.headers.get(authorizer.identity_source)
            if token and len(token) <= MAX_HEADER_LENGTH and not api.aliases.among(request.headers):
                name = running.allowed.digest(route.tag, token)
                verdict = running.allowed.find(name, now) or running.denied.find(name, now)
                if verdict is None:
                    self._metrics.missed()
                elif verdict.reason is None and self._log is None and not verdict.dropped:
                    self._metrics.repeated((api.name, route.label, "allow", ""), self._timer() - began)
                    return verdict.answer
                else:
                    return self._repeat(request, match, verdict, began)
        decision = running.gateway.judge(match, request, now)
        if isinstance(decision, Pending):
            return Wait(self, request, decision, began)
        answer = self._answer(request, decision, began)
        if name:
            _remember(running, name, decision, answer, now)
        return answer

    def _repeat(self, request: Request, match: Match, verdict: Verdict, began: float) -> bytes:
        """Answer as before, where there is more to tell than that it was an allow."""
        api, route = match[0].name, match[1].label
        if verdict.reason is not None:
            self._metrics.hit()
            return self._answer(request, match[0].deny(verdict.reason, route, verdict.logged), began)
        seconds = self._timer() - began
        self._metrics.repeated((api, route, "allow", ""), seconds)
        if verdict.dropped:
            self._metrics.dropped(api, len(verdict.dropped))
        if verdict.logged or verdict.dropped:
            allowed = Allow(api=api, route=route, logged=dict(verdict.logged), dropped=verdict.dropped)
        else:
            allowed = self.running.allow(api, route)
        self._tell(request, allowed, seconds, "")
        return verdict.answer

    def again(self, request: Request, began: float) -> bytes:
        """Answer a check whose fetch has ended; it does not wait a second time."""
        try:
            decision = self.running.gateway.decide(request, self._now())
            return self._answer(request, decision.unavailable if isinstance(decision, Pending) else decision, began)
        except Exception as error:  # noqa: BLE001 - as above
            return self._bug(request, error, began)

    def refuse(self, data: bytes | None, waited: float) -> bytes:
        """Answer a check that could not be decided in time, see `transport.door.Check`."""
        try:
            request = _UNREAD if data is None else envoy_request.parse(data)
        except envoy_request.MalformedRequestError:
            request = _UNREAD
        return self.conclude(request, Deny(reason=Reason.OVERLOADED), self._timer() - waited)

    def conclude(self, request: Request, decision: Deny, began: float) -> bytes:
        """Answer a check with a denial that needs no judging."""
        try:
            return self._answer(request, decision, began)
        except Exception as error:  # noqa: BLE001 - as above
            return self._bug(request, error, began)

    def _answer(self, request: Request, decision: Allow | Deny, began: float) -> bytes:
        """Write, count and log an answer."""
        if isinstance(decision, Allow):
            request_id = ""
            answer = envoy_response.allow(decision)
        else:
            request_id = correlation.request_id(request.headers) or self._new_id()
            answer = envoy_response.deny(decision.response, request_id)
        self._note(request, decision, self._timer() - began, request_id)
        return answer

    def _note(self, request: Request, decision: Allow | Deny, seconds: float, request_id: str) -> None:
        """Count and log a check."""
        self._metrics.check(decision, seconds)
        self._tell(request, decision, seconds, request_id)

    def _tell(self, request: Request, decision: Allow | Deny, seconds: float, request_id: str) -> None:
        """Log a check."""
        if self._log is not None:
            method, host = brief(request.method, request.host)
            own = request_id or correlation.request_id(request.headers)
            sent, trace = correlation.sent_id(request.headers), correlation.trace_id(request.headers)
            self._log(Entry(self._now(), seconds, method, host, own, decision, sent, trace))

    def _bug(self, request: Request, error: Exception, began: float) -> bytes:
        """Log where a bug is, and deny."""
        bug(_logger, error, "while answering a check")
        with contextlib.suppress(Exception):  # counting may be what failed
            return self._answer(request, Deny(reason=Reason.INTERNAL_ERROR), began)
        return envoy_response.deny(BUILT_IN[Reason.INTERNAL_ERROR], self._new_id())


def _remember(running: Running, name: bytes, decision: Allow | Deny, answer: bytes, now: float) -> None:
    """Keep a decision that rests on a verified key; others cost no signature, or may change at any moment."""
    proof = decision.proof
    if proof is None:
        return
    if isinstance(decision, Allow):
        logged = tuple(decision.logged.items())
        kept = Verdict(answer=answer, reason=None, proof=proof, since=now, until=decision.until, logged=logged, dropped=decision.dropped)
        running.allowed.keep(name, kept)
    else:
        until = min(decision.until, now + DENIED_SECONDS)
        kept = Verdict(answer=b"", reason=decision.reason, proof=proof, since=now, until=until, logged=decision.details)
        running.denied.keep(name, kept)


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
        return self._check.again(self._request, self._began)

    def refuse(self) -> bytes:
        """Answer without the keys: a 503 denial."""
        return self._check.conclude(self._request, self._pending.unavailable, self._began)
