"""Every reason of a denial stands once in a closed table, and means an answer that API Gateway could give."""

import dataclasses
import re

import pytest

from authz_server.core.decisions import Allow, Denied, Deny, Outcome, Reason, ResponseType

every_reason = pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.label)


def test_no_two_reasons_are_one() -> None:
    """Members with equal values would silently become one: each name, label and explanation is unique."""
    assert len(list(Reason)) == len(Reason.__members__)
    assert len({reason.label for reason in Reason}) == len(Reason.__members__)
    assert len({reason.value.explain for reason in Reason}) == len(Reason.__members__)


@every_reason
def test_labels_suit_metrics(reason: Reason) -> None:
    """A label is the member's name in small letters."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", reason.label)
    assert Reason[reason.label.upper()] is reason


@every_reason
def test_statuses_are_on_the_list(reason: Reason) -> None:
    """Envoy sends whatever status it is given, so only statuses with a meaning here are given."""
    assert reason.value.status in {400, 401, 403, 404, 429, 500, 503}


# Status, error type and message belong together, as recorded or documented for API Gateway.
ANSWERS = {
    ResponseType.UNAUTHORIZED: {
        (401, "UnauthorizedException", "Unauthorized"),
        (401, "UnauthorizedException", "The incoming token has expired"),
    },
    ResponseType.ACCESS_DENIED: {(403, "ForbiddenException", "Forbidden")},
    ResponseType.MISSING_AUTHENTICATION_TOKEN: {(403, "MissingAuthenticationTokenException", "Missing Authentication Token")},
    ResponseType.BAD_REQUEST_PARAMETERS: {(400, "BadRequestException", "Bad Request")},
    ResponseType.AUTHORIZER_CONFIGURATION_ERROR: {(500, "AuthorizerConfigurationException", "Internal server error")},
    ResponseType.AUTHORIZER_FAILURE: {
        (500, "AuthorizerFailureException", "Internal server error"),
        (503, "ServiceUnavailableException", "Service Unavailable"),
    },
}


@every_reason
def test_answers_are_api_gateways(reason: Reason) -> None:
    """A reason has the status, error type and message of its gateway response type."""
    outcome = reason.value

    assert (outcome.status, outcome.error, outcome.message) in ANSWERS[outcome.response]


@every_reason
def test_answers_tell_the_caller_nothing_more(reason: Reason) -> None:
    """A message is one short printable line; what the operator is told does not stand in it."""
    outcome = reason.value

    assert outcome.message.isascii()
    assert outcome.message.isprintable()
    assert len(outcome.message) < 40
    assert outcome.explain not in outcome.message
    assert outcome.explain.endswith((".", "?"))


@every_reason
def test_only_503_asks_to_retry(reason: Reason) -> None:
    """`Retry-After` belongs to 503, with a whole number of seconds, and to nothing else; overload passes sooner than an outage of keys."""
    retried = {Reason.KEYS_UNAVAILABLE: 10, Reason.REVOCATIONS_UNKNOWN: 10, Reason.OVERLOADED: 1}

    assert (reason.value.retry_after is not None) == (reason.value.status == 503)
    assert reason.value.retry_after == retried.get(reason)


def test_only_an_expired_token_is_told_apart() -> None:
    """Of all tokens that are refused, only the owner of a genuine one learns more than `Unauthorized`."""
    told = {reason for reason in Reason if reason.value.status == 401 and reason.value.message != "Unauthorized"}

    assert told == {Reason.TOKEN_EXPIRED}


@every_reason
def test_faults_of_ours_are_no_denials_in_the_log(reason: Reason) -> None:
    """A denial is `unavailable` where the server is at fault, and `deny` where the caller is."""
    assert Deny(reason=reason).decision == ("unavailable" if reason.value.status in {500, 503} else "deny")


def test_an_allow_is_an_allow() -> None:
    """The word for metrics and logs."""
    assert Allow(api="a", route="r").decision == "allow"


def test_response_types_have_api_gateways_names() -> None:
    """A type is written as in API Gateway's own configuration."""
    assert all(kind.value == kind.name for kind in ResponseType)
    assert [kind.value for kind in ResponseType] == [
        "UNAUTHORIZED",
        "ACCESS_DENIED",
        "MISSING_AUTHENTICATION_TOKEN",
        "BAD_REQUEST_PARAMETERS",
        "AUTHORIZER_CONFIGURATION_ERROR",
        "AUTHORIZER_FAILURE",
    ]


def test_a_decision_is_made_of_few_words() -> None:
    """A denial names an api and route only when they were found; an allow has nothing to set, strip or tell unless it says so."""
    deny, allow = Deny(reason=Reason.NO_API), Allow(api="a", route="r")

    assert (deny.api, deny.route, deny.proof) == ("", "", None)
    assert (allow.headers, allow.remove, allow.metadata, allow.logged, allow.dropped) == ((), (), {}, {}, ())
    assert (allow.proof, allow.until) == (None, 0.0)


def test_denied_names_its_reason() -> None:
    """The exception carries the reason, and shows it without further words."""
    denied = Denied(Reason.TOKEN_EXPIRED)

    assert denied.reason is Reason.TOKEN_EXPIRED
    assert str(denied) == "token_expired"


@pytest.mark.parametrize(
    "value", [Reason.TOKEN_EXPIRED.value, Deny(reason=Reason.NO_API), Allow(api="a", route="r")], ids=lambda value: type(value).__name__
)
def test_decisions_are_values(value: Outcome | Deny | Allow) -> None:
    """Nobody can change a decision or a row of the table."""
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)
