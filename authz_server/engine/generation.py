"""A generation: one configuration, and what was decided with it."""

from typing import Final, Generic, TypeVar

from authz_server.core.decisions import Allow, Deny
from authz_server.core.gateway import Gateway
from authz_server.core.proofs import proof_of, repeatable_until
from authz_server.engine.verdicts import Verdict, Verdicts

Answer = TypeVar("Answer")

DENIED_SECONDS: Final = 10.0  # for which a wrong token is denied again without a signature check


class Generation(Generic[Answer]):
    """A configuration in force, and the decisions about tokens that may be repeated. None of them outlives it.

    Args:
        gateway: decides.
        allowed: decisions by which a token may pass.
        denied: decisions about wrong tokens, apart, so that a storm of them pushes no good one out.
    """

    __slots__ = ("_plain", "allowed", "denied", "gateway")

    def __init__(self, gateway: Gateway, allowed: Verdicts[Answer], denied: Verdicts[None]) -> None:
        self.gateway = gateway
        self.allowed = allowed
        self.denied = denied
        self._plain: dict[tuple[str, str], Allow] = {}  # as many as there are routes

    def remember(self, name: bytes, decision: Allow | Deny, answer: Answer, now: float) -> None:
        """Keep a decision that rests on a verified key; others cost no signature, or may change at any moment.

        Args:
            name: of the token and the kind of route, see `Verdicts.digest`.
            decision: about that token.
            answer: that was given.
            now: seconds since 1970.
        """
        evaluation = decision.evaluation
        proof = None if evaluation is None else proof_of(evaluation)
        if evaluation is None or proof is None:
            return
        until = repeatable_until(evaluation)
        if isinstance(decision, Allow):
            logged, dropped = tuple(decision.logged.items()), decision.dropped
            self.allowed.keep(
                name, Verdict(answer=answer, reason=None, proof=proof, since=now, until=until, logged=logged, dropped=dropped)
            )
        else:
            until = min(until, now + DENIED_SECONDS)
            self.denied.keep(
                name, Verdict(answer=None, reason=decision.reason, proof=proof, since=now, until=until, logged=decision.details)
            )

    def allow(self, api: str, route: str, verdict: Verdict[Answer]) -> Allow:
        """Give the allow of a verdict as observers see it: without the headers, which are not kept.

        Args:
            api: name of the api.
            route: label of the route.
            verdict: an allow.
        """
        if verdict.logged or verdict.dropped:
            return Allow(api=api, route=route, logged=dict(verdict.logged), dropped=verdict.dropped)
        allow = self._plain.get((api, route))
        if allow is None:
            allow = self._plain[api, route] = Allow(api=api, route=route)
        return allow
