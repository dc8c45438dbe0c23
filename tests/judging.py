"""How tests hold rules against tokens and claims."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from authz_server.core.authorizers import Authorizer
from authz_server.core.decisions import Denied
from authz_server.core.evaluation import Evaluation
from authz_server.core.proofs import Proof, proof_of
from authz_server.core.request import Request
from authz_server.core.rules import Rule, details
from authz_server.core.tokens import Key

NO_SCOPES: frozenset[str] = frozenset()
NOBODY = Authorizer(name="nobody", identity_source="authorization", issuers={}, rules=())


class Unmet(Denied):
    """A rule is not met.

    Args:
        rule: that is not met.
        evaluation: so far.
    """

    def __init__(self, rule: Rule, evaluation: Evaluation) -> None:
        super().__init__(rule.reason, details(rule, evaluation))
        self.proof: Proof | None = None
        self.until = rule.until(evaluation)


class Verified(NamedTuple):
    """The claims of a token that meets every rule, and what they rest on."""

    claims: Mapping[str, Any]
    proof: Any


def authorize(authorizer: Authorizer, header: str | None, scopes: frozenset[str], now: float) -> Verified:
    """Hold an authorizer's rules against the value of its identity source.

    Raises:
        Unmet: for the first rule that is not met.
        KeysPending: when the key is being fetched.
    """
    evaluation = judged(authorizer, header, scopes, now)
    if evaluation.failed is not None:
        unmet = Unmet(evaluation.failed, evaluation)
        unmet.proof = proof_of(evaluation)
        raise unmet
    return Verified(evaluation.claims, proof_of(evaluation))


def judged(authorizer: Authorizer, header: str | None, scopes: frozenset[str], now: float) -> Evaluation:
    """Hold an authorizer's rules against the value of its identity source, and give the record."""
    headers = {} if header is None else {authorizer.identity_source: header}
    evaluation = Evaluation(Request("GET", "api.test", "/", headers), now, authorizer, scopes)
    assert authorizer.judge(evaluation) is evaluation.failed
    return evaluation


def of_claims(claims: Mapping[str, Any], scopes: frozenset[str] = NO_SCOPES, now: float = 0.0) -> Evaluation:
    """Make the record of a check whose token has these claims."""
    evaluation = Evaluation(Request("GET", "api.test", "/"), now, NOBODY, scopes)
    evaluation.claims = claims
    return evaluation


def hold(rules: Iterable[Rule], claims: Mapping[str, Any], scopes: frozenset[str] = NO_SCOPES, now: float = 0.0) -> None:
    """Hold rules against claims.

    Raises:
        Unmet: for the first rule that is not met.
    """
    _run(rules, of_claims(claims, scopes, now))


def accept(rules: Iterable[Rule], header: str | None, key: Key | None) -> Mapping[str, Any]:
    """Hold rules against a token, with the key whatever `kid` the token names, and give its claims.

    Raises:
        Unmet: for the first rule that is not met.
    """
    evaluation = Evaluation(Request("GET", "api.test", "/", {} if header is None else {"authorization": header}), 0.0, NOBODY, NO_SCOPES)
    evaluation.key = key
    _run(rules, evaluation)
    return getattr(evaluation, "claims", {})


def _run(rules: Iterable[Rule], evaluation: Evaluation) -> None:
    for rule in rules:
        if not rule.met(evaluation):
            raise Unmet(rule, evaluation)
