"""The engine: decides each check with the running generation, and repeats what was decided about a token while that holds."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Final, Generic, Protocol, TypeVar, cast

from authz_server.core.decisions import Allow, Deny
from authz_server.core.gateway import Gateway, Match, Pending
from authz_server.core.hosts import Hosts
from authz_server.core.observation import Observation, Observer
from authz_server.core.reasons import Reason
from authz_server.core.request import Request
from authz_server.core.tokens import MAX_TOKEN_LENGTH
from authz_server.engine.counts import Counts
from authz_server.engine.generation import Generation
from authz_server.engine.observers import Observers
from authz_server.engine.verdicts import Verdict, Verdicts
from authz_server.observe.logs import bug

Answer = TypeVar("Answer")

MAX_HEADER_LENGTH: Final = MAX_TOKEN_LENGTH + len("Bearer ")
DENIED_BUDGET: Final = 4 * 1_048_576

_logger: Final = logging.getLogger(__name__)


class Writer(Protocol[Answer]):
    """Makes answers out of decisions."""

    def allow(self, decision: Allow) -> Answer:
        """Write an allow, to be given again while it may be repeated."""
        ...

    def deny(self, decision: Deny, request: Request) -> tuple[Answer, str]:
        """Write a denial; give it, and the request id that it carries, or ""."""
        ...

    def size(self, answer: Answer) -> int:
        """Bytes that an allow takes while it is remembered."""
        ...


class Engine(Generic[Answer]):
    """Decide checks. A call never blocks and never raises; whatever goes wrong is a denial.

    Args:
        writer: makes the answers.
        budget: bytes for decisions about good tokens; 0 decides each check anew.
        now: seconds since 1970.
        timer: seconds of a clock that never jumps.
        counts: counts each check.
        observers: see each check; none costs nothing.
    """

    def __init__(
        self,
        writer: Writer[Answer],
        budget: int,
        *,
        now: Callable[[], float],
        timer: Callable[[], float],
        counts: Counts,
        observers: Iterable[Observer] = (),
    ) -> None:
        self._writer = writer
        self._budget = budget
        self._now = now
        self._timer = timer
        self._counts = counts
        self._observers = Observers(observers)
        self._secret = os.urandom(32)
        self.swap(Gateway(apis={}, hosts=Hosts(())))

    def swap(self, gateway: Gateway) -> None:
        """Decide with another configuration from the next check on."""
        allowed = Verdicts[Answer](self._budget, self._secret, self._writer.size)
        denied = Verdicts[None](min(DENIED_BUDGET, self._budget), self._secret, lambda _: 0)
        self.generation = Generation(gateway, allowed, denied)

    def decide(self, request: Request, began: float) -> "Answer | Wait[Answer]":
        """Answer a check.

        Args:
            request: what Envoy asks about.
            began: when the check came, by `timer`.

        Returns:
            The answer, or a `Wait` when the check needs keys that are being fetched.
        """
        try:
            return self._decide(request, began)
        except Exception as error:  # noqa: BLE001 - whatever it is, a gRPC error may fail open
            return self._bug(request, error, began)

    def deny(self, request: Request, decision: Deny, began: float) -> Answer:
        """Answer a check with a denial that needs no judging.

        Args:
            request: as far as it is known.
            decision: the denial.
            began: see `decide`.
        """
        try:
            return self._answer(request, decision, began)
        except Exception as error:  # noqa: BLE001 - as above
            return self._bug(request, error, began)

    def _decide(self, request: Request, began: float) -> "Answer | Wait[Answer]":
        generation = self.generation
        match = generation.gateway.match(request)
        if isinstance(match, Deny):
            return self._answer(request, match, began)
        api, route = match
        now = self._now()
        name = b""
        authorizer = route.authorizer
        if authorizer is not None and route.tag and self._budget:
            token = request.headers.get(authorizer.identity_source)
            if token and len(token) <= MAX_HEADER_LENGTH and not api.aliases.among(request.headers):
                name = generation.allowed.digest(route.tag, token)
                verdict = generation.allowed.find(name, now)
                if verdict is not None:
                    return self._repeat(request, match, verdict, began)
                denied = generation.denied.find(name, now)
                if denied is not None:
                    return self._deny_again(request, match, denied, began)
                self._counts.missed()
        decision = generation.gateway.judge(match, request, now)
        if isinstance(decision, Pending):
            return Wait(self, request, decision, began)
        answer = self._answer(request, decision, began)
        if name:
            generation.remember(name, decision, answer, now)
        return answer

    def _repeat(self, request: Request, match: Match, verdict: Verdict[Answer], began: float) -> Answer:
        """Allow as before."""
        api, route = match[0].name, match[1].label
        seconds = self._timer() - began
        self._counts.repeated((api, route, "allow", ""), seconds)
        if verdict.dropped:
            self._counts.dropped(api, len(verdict.dropped))
        if self._observers:
            self._observe(request, self.generation.allow(api, route, verdict), seconds, "", repeated=True)
        return verdict.answer

    def _deny_again(self, request: Request, match: Match, verdict: Verdict[None], began: float) -> Answer:
        """Deny as before."""
        api, route = match
        self._counts.hit()
        return self._answer(request, api.deny(cast("Reason", verdict.reason), route.label, verdict.logged), began, repeated=True)

    def _answer(self, request: Request, decision: Allow | Deny, began: float, *, repeated: bool = False) -> Answer:
        """Write, count and show an answer."""
        request_id = ""
        if isinstance(decision, Allow):
            answer = self._writer.allow(decision)
        else:
            answer, request_id = self._writer.deny(decision, request)
        seconds = self._timer() - began
        self._counts.check(decision, seconds)
        if self._observers:
            self._observe(request, decision, seconds, request_id, repeated=repeated)
        return answer

    def _observe(self, request: Request, decision: Allow | Deny, seconds: float, request_id: str, *, repeated: bool) -> None:
        self._observers(Observation(self._now(), seconds, request, decision, request_id, repeated))

    def _bug(self, request: Request, error: Exception, began: float) -> Answer:
        """Log where a bug is, and deny."""
        bug(_logger, error, "while answering a check")
        decision = Deny(reason=Reason.INTERNAL_ERROR)
        with contextlib.suppress(Exception):  # counting may be what failed
            return self._answer(request, decision, began)
        return self._writer.deny(decision, UNREAD)[0]


class Wait(Generic[Answer]):
    """A check that needs keys which are being fetched.

    Args:
        engine: answers in the end.
        request: what Envoy asks about.
        pending: what the gateway said.
        began: see `Engine.decide`.
    """

    __slots__ = ("_began", "_engine", "_pending", "_request")

    def __init__(self, engine: Engine[Answer], request: Request, pending: Pending, began: float) -> None:
        self._engine = engine
        self._request = request
        self._pending = pending
        self._began = began

    @property
    def fetch(self) -> "Future[None]":
        """Done when the fetch has ended, good or bad."""
        return cast("Future[None]", self._pending.fetch)

    def resume(self) -> Answer:
        """Answer now that the fetch has ended; the check does not wait a second time."""
        answer = self._engine.decide(self._request, self._began)
        return answer.refuse() if isinstance(answer, Wait) else answer

    def refuse(self) -> Answer:
        """Answer without the keys: a 503 denial."""
        return self._engine.deny(self._request, self._pending.unavailable, self._began)


UNREAD: Final = Request("", "", "")  # a request of which nothing is known
