"""Rules as data: what a signed token must meet, whatever the type of the authorizer. Deciding and reporting read the same tuple."""

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Final, NamedTuple

from authz_server.core import tokens
from authz_server.core.decisions import Denied, Details, listed
from authz_server.core.evaluation import Evaluation
from authz_server.core.reasons import Reason
from authz_server.core.tokens import MAX_TOKEN_LENGTH, MalformedTokenError

_TEXTS: Final = ("iss", "sub", "jti", "client_id", "token_use", "username")


def _nothing(_: Evaluation) -> Details:
    return ()


def _never(_: Evaluation) -> float:
    return inf


class Rule(NamedTuple):
    """One condition for an allow.

    Args:
        name: as reports show it.
        reason: of the denial when it is not met.
        met: tells, and writes into the evaluation what later rules need.
        expected: what would meet it, for operators.
        actual: what was found, for operators; never a value of a token.
        until: Unix time at which an unmet rule is met without a change of the token; infinity for never.
    """

    name: str
    reason: Reason
    met: Callable[[Evaluation], bool]
    expected: Callable[[Evaluation], Details] = _nothing
    actual: Callable[[Evaluation], Details] = _nothing
    until: Callable[[Evaluation], float] = _never


class Step(NamedTuple):
    """One line of a report.

    Args:
        rule: that was to be met.
        met: None when the check ended before it.
        details: what was expected and found.
    """

    rule: Rule
    met: bool | None
    details: Details


def details(rule: Rule, evaluation: Evaluation) -> Details:
    """Say what *rule* expected, and what it found."""
    return rule.expected(evaluation) + rule.actual(evaluation)


def report(rules: Iterable[Rule], evaluation: Evaluation) -> list[Step]:
    """Show how a check went, rule by rule.

    Args:
        rules: of the authorizer.
        evaluation: after the check.

    Returns:
        A step for each rule, in order.
    """
    steps: list[Step] = []
    has_ended = False
    for rule in rules:
        met = None if has_ended else rule is not evaluation.failed
        steps.append(Step(rule, met, () if met is None else details(rule, evaluation)))
        has_ended = has_ended or met is False
    return steps


def _has_token(evaluation: Evaluation) -> bool:
    value = evaluation.request.headers.get(evaluation.authorizer.identity_source)
    if not value:
        return False
    evaluation.text = tokens.from_header(value)
    return True


def _is_not_too_large(evaluation: Evaluation) -> bool:
    return len(evaluation.text) <= MAX_TOKEN_LENGTH


def _is_well_formed(evaluation: Evaluation) -> bool:
    try:
        evaluation.token = tokens.parse(evaluation.text)
    except MalformedTokenError:
        return False
    return True


def _says_rs256(evaluation: Evaluation) -> bool:
    return evaluation.token.kid is not None


def _names_known_issuer(evaluation: Evaluation) -> bool:
    issuers = evaluation.authorizer.issuers
    for issuer in tokens.issuers_in(evaluation.token.payload):
        keys = issuers.get(issuer)
        if keys is not None:
            evaluation.issuer, evaluation.keys = issuer, keys
            return True
    return False


def _has_keys(evaluation: Evaluation) -> bool:
    try:
        evaluation.key = evaluation.keys.find(evaluation.token.kid or "")
    except Denied as denied:
        return denied.reason is not Reason.KEYS_UNAVAILABLE
    return True


def _has_key(evaluation: Evaluation) -> bool:
    return evaluation.key is not None


def _is_signed(evaluation: Evaluation) -> bool:
    return evaluation.key is not None and tokens.verify(evaluation.token, evaluation.key)


def _has_readable_claims(evaluation: Evaluation) -> bool:
    try:
        evaluation.claims = tokens.claims_of(evaluation.token.payload)
    except MalformedTokenError:
        return False
    return True


def _is_from_issuer(evaluation: Evaluation) -> bool:
    return bool(evaluation.claims.get("iss") == evaluation.issuer)


def _has_times(evaluation: Evaluation) -> bool:
    claims = evaluation.claims
    is_time = tokens.is_time
    return is_time(claims.get("exp")) and is_time(claims.get("iat", 0)) and is_time(claims.get("nbf", 0))


def _is_not_expired(evaluation: Evaluation) -> bool:
    return bool(evaluation.claims["exp"] > evaluation.now)


def _is_valid_by_now(evaluation: Evaluation) -> bool:
    return bool(evaluation.claims.get("nbf", 0) <= evaluation.now)


def _has_texts(evaluation: Evaluation) -> bool:
    return _untyped(evaluation.claims) is None


def _untyped(claims: Mapping[str, Any]) -> str | None:
    """Name the first claim that is to be text and is not, or None."""
    get = claims.get
    for name in _TEXTS:
        if not isinstance(get(name, ""), str):
            return name
    audience = claims.get("aud", "")
    is_typed = isinstance(audience, str) or (isinstance(audience, list) and all(isinstance(each, str) for each in audience))
    return None if is_typed else "aud"


def _identity_source(evaluation: Evaluation) -> Details:
    return (("identity_source", evaluation.authorizer.identity_source),)


def _issuers(evaluation: Evaluation) -> Details:
    return (("issuers_known", listed(evaluation.authorizer.issuers)),)


def _not_before(evaluation: Evaluation) -> float:
    return float(evaluation.claims["nbf"])


def _untyped_claim(evaluation: Evaluation) -> Details:
    name = _untyped(evaluation.claims)
    return () if name is None else (("claim", name),)


# Sources: API Gateway accepts a Cognito token with and without `Bearer `, as recorded.
TOKEN: Final = Rule("token", Reason.TOKEN_MISSING, _has_token, _identity_source)
SIZE: Final = Rule("size", Reason.TOKEN_TOO_LARGE, _is_not_too_large, _identity_source)
# RFC 7515 sections 3.1, 4.1 and 7.1; RFC 8725 sections 2 and 3.
FORM: Final = Rule("form", Reason.TOKEN_MALFORMED, _is_well_formed, _identity_source)
ALGORITHM: Final = Rule("algorithm", Reason.ALGORITHM_REFUSED, _says_rs256, _identity_source)
ISSUER: Final = Rule("issuer", Reason.ISSUER_UNKNOWN, _names_known_issuer, _issuers)
KEYS: Final = Rule("keys", Reason.KEYS_UNAVAILABLE, _has_keys)
KEY: Final = Rule("key", Reason.KEY_UNKNOWN, _has_key)
# RFC 7518 section 3.3; the algorithm is the key's, whatever the token says.
SIGNATURE: Final = Rule("signature", Reason.SIGNATURE_INVALID, _is_signed)
# RFC 7519 section 4: claims are read once their signature is verified, so what no pool signed costs no more than a signature.
CLAIMS: Final = Rule("claims", Reason.TOKEN_MALFORMED, _has_readable_claims)
SIGNED_ISSUER: Final = Rule("signed_issuer", Reason.ISSUER_UNKNOWN, _is_from_issuer, _issuers)
# RFC 7519 sections 4.1.4 to 4.1.6, without leeway; the answer to an expired token is API Gateway's, as recorded.
TIMES: Final = Rule("times", Reason.TIME_CLAIM_INVALID, _has_times)
EXPIRY: Final = Rule("expiry", Reason.TOKEN_EXPIRED, _is_not_expired)
NOT_BEFORE: Final = Rule("not_before", Reason.NOT_YET_VALID, _is_valid_by_now, until=_not_before)
# RFC 7519 sections 4.1.1 to 4.1.3 and 4.1.7 (StringOrURI); Cognito guide, "Understanding user pool JSON web tokens".
TEXTS: Final = Rule("texts", Reason.CLAIM_TYPE_INVALID, _has_texts, actual=_untyped_claim)

CLAIM_HEADERS: Final = Rule(
    "claim_headers",
    Reason.CLAIM_HEADERS_TOO_LARGE,
    lambda evaluation: not evaluation.dropped,
    actual=lambda evaluation: (("dropped_headers", listed(evaluation.dropped)),),
)
"""What an api asks that says `claim_headers_overflow: deny`, after the rules of its authorizer."""

SIGNED_TOKEN: Final = (TOKEN, SIZE, FORM, ALGORITHM, ISSUER, KEYS, KEY, SIGNATURE, CLAIMS, SIGNED_ISSUER, TIMES, EXPIRY, NOT_BEFORE, TEXTS)
"""What every signed token must meet, in this order."""
