"""What the caller of a denied request gets is an answer that API Gateway could give, and tells nothing more."""

import json

import pytest

from authz_server.core.decisions import Deny
from authz_server.core.reasons import Reason, ResponseType
from authz_server.core.responses import BUILT_IN, REQUEST_ID, Response

every_reason = pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.label)


def error_and_message(response: Response) -> tuple[str, str]:
    """Give the error type and the message of a response."""
    return dict(response.headers)["x-amzn-errortype"], json.loads(response.body)["message"]


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
    """A reason has the status, error type and message of its gateway response type, and one body for all parsers of JSON."""
    response = BUILT_IN[reason]

    assert (response.status, *error_and_message(response)) in ANSWERS[reason.value.type]
    assert response.body == json.dumps(json.loads(response.body), separators=(",", ":"))
    assert list(json.loads(response.body)) == ["message"]


@every_reason
def test_answers_carry_the_request_id_and_their_type(reason: Reason) -> None:
    """The headers are API Gateway's, with one place for the request id."""
    names = [name for name, _ in BUILT_IN[reason].headers]

    assert names[:3] == ["content-type", "x-amzn-requestid", "x-amzn-errortype"]
    assert [name for name, value in BUILT_IN[reason].headers if REQUEST_ID in value] == ["x-amzn-requestid"]
    assert REQUEST_ID not in BUILT_IN[reason].body


@every_reason
def test_answers_tell_the_caller_nothing_more(reason: Reason) -> None:
    """A message is one short printable line; the operator's explanation does not stand in it."""
    _, message = error_and_message(BUILT_IN[reason])

    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 40
    assert reason.value.explanation not in message
    assert reason.value.explanation.endswith((".", "?"))


@every_reason
def test_only_503_asks_to_retry(reason: Reason) -> None:
    """`Retry-After` belongs to 503, with a whole number of seconds, and to nothing else; overload passes sooner than an outage of keys."""
    retried = {Reason.KEYS_UNAVAILABLE: "10", Reason.REVOCATIONS_UNKNOWN: "10", Reason.OVERLOADED: "1"}
    response = BUILT_IN[reason]

    assert (response.status == 503) == (reason in retried)
    assert dict(response.headers).get("retry-after") == retried.get(reason)


def test_only_an_expired_token_is_told_apart() -> None:
    """Of all tokens that are refused, only the owner of a genuine one learns more than `Unauthorized`."""
    told = {reason for reason, response in BUILT_IN.items() if response.status == 401 and error_and_message(response)[1] != "Unauthorized"}

    assert told == {Reason.TOKEN_EXPIRED}


def test_a_denial_carries_the_response_of_its_api() -> None:
    """Why a request is denied and what its caller gets are two values."""
    teapot = Response(status=418, headers=(), body="{}")
    denied = Deny(reason=Reason.TOKEN_MISSING, responses={**BUILT_IN, Reason.TOKEN_MISSING: teapot})

    assert denied.response is teapot
    assert denied == Deny(reason=Reason.TOKEN_MISSING)
    assert Deny(reason=Reason.TOKEN_MISSING).response is BUILT_IN[Reason.TOKEN_MISSING]


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
