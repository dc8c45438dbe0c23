"""Reasons: why a check did not pass."""

from enum import Enum, StrEnum
from typing import NamedTuple


class ResponseType(StrEnum):
    """API Gateway's gateway response types, as far as a check can cause them.

    Source: API Gateway guide, "Gateway response types".
    """

    UNAUTHORIZED = "UNAUTHORIZED"
    ACCESS_DENIED = "ACCESS_DENIED"
    MISSING_AUTHENTICATION_TOKEN = "MISSING_AUTHENTICATION_TOKEN"  # noqa: S105 - the type's name, no secret
    BAD_REQUEST_PARAMETERS = "BAD_REQUEST_PARAMETERS"
    AUTHORIZER_CONFIGURATION_ERROR = "AUTHORIZER_CONFIGURATION_ERROR"
    AUTHORIZER_FAILURE = "AUTHORIZER_FAILURE"


class Cause(NamedTuple):
    """One row of the table of reasons.

    Args:
        type: of the gateway response that the caller gets.
        explanation: one sentence for the operator; it never reaches the caller.
    """

    type: ResponseType
    explanation: str


class Reason(Enum):
    """Why a check did not pass: one member per unmet rule. docs/reasons.md is generated from this table."""

    REQUEST_MALFORMED = Cause(
        ResponseType.BAD_REQUEST_PARAMETERS, "The bytes of the check are no CheckRequest; is the peer an Envoy that speaks ext_authz v3?"
    )
    HOST_REFUSED = Cause(
        ResponseType.MISSING_AUTHENTICATION_TOKEN,
        "The host is absent, longer than a DNS name, or holds what two parsers could read differently (a comma, `@`, `%`, white space).",
    )
    PATH_REFUSED = Cause(
        ResponseType.MISSING_AUTHENTICATION_TOKEN,
        "The path is absent, or two parsers could read it differently; it is refused and never repaired.",
    )
    ESCAPE_REFUSED = Cause(
        ResponseType.MISSING_AUTHENTICATION_TOKEN,
        "The path holds an escape that could lead the upstream to another route, or that two parsers could read differently.",
    )
    NO_API = Cause(ResponseType.MISSING_AUTHENTICATION_TOKEN, "No api is configured for this host and base path.")
    NO_ROUTE = Cause(ResponseType.MISSING_AUTHENTICATION_TOKEN, "No resource of the api matches the whole path.")
    NO_METHOD = Cause(
        ResponseType.MISSING_AUTHENTICATION_TOKEN,
        "Resources of the api match the path, but none of them declares the method or ANY, or API Gateway has no such method.",
    )
    CONTEXT_REFUSED = Cause(
        ResponseType.AUTHORIZER_CONFIGURATION_ERROR,
        "Envoy's context_extensions name an authorizer or scopes without an api, scopes without an authorizer, blank scopes, "
        "or a key that looks like one of these three and is none.",
    )
    API_UNKNOWN = Cause(
        ResponseType.AUTHORIZER_CONFIGURATION_ERROR, "Envoy's context_extensions name an api that the configuration does not have."
    )
    AUTHORIZER_UNKNOWN = Cause(
        ResponseType.AUTHORIZER_CONFIGURATION_ERROR, "Envoy's context_extensions name an authorizer that this api cannot use."
    )
    TOKEN_MISSING = Cause(ResponseType.UNAUTHORIZED, "The identity source header is absent or empty.")
    TOKEN_TOO_LARGE = Cause(ResponseType.UNAUTHORIZED, "The token is longer than 16 KiB.")
    TOKEN_MALFORMED = Cause(
        ResponseType.UNAUTHORIZED,
        "The identity source is not one JWS in compact form, with strict base64url and unambiguous JSON that is not nested too deep.",
    )
    ALGORITHM_REFUSED = Cause(
        ResponseType.UNAUTHORIZED, "The token's `alg` is not RS256, or its header asks for an extension (`crit`, `b64`)."
    )
    ISSUER_UNKNOWN = Cause(ResponseType.UNAUTHORIZED, "The token's `iss` is no user pool of the route's authorizer.")
    KEY_UNKNOWN = Cause(ResponseType.UNAUTHORIZED, "The token's `kid` is not in the key set of the user pool that issued it.")
    SIGNATURE_INVALID = Cause(ResponseType.UNAUTHORIZED, "The signature does not match the user pool's key.")
    TOKEN_EXPIRED = Cause(ResponseType.UNAUTHORIZED, "The token's `exp` is past: sign in again or refresh the token.")
    TIME_CLAIM_INVALID = Cause(
        ResponseType.UNAUTHORIZED, "`exp` is absent, or `exp`, `iat` or `nbf` is no number of seconds between 1970 and 9999."
    )
    NOT_YET_VALID = Cause(ResponseType.UNAUTHORIZED, "The token's `nbf` is in the future.")
    CLAIM_TYPE_INVALID = Cause(
        ResponseType.UNAUTHORIZED,
        "`iss`, `sub`, `jti`, `client_id`, `token_use` or `username` is no text, or `aud` is neither a text nor a list of texts.",
    )
    WRONG_TOKEN_USE = Cause(
        ResponseType.UNAUTHORIZED, "A route without scopes takes ID tokens only, a route with scopes takes access tokens only."
    )
    AUDIENCE_REFUSED = Cause(ResponseType.UNAUTHORIZED, "The token's `aud` does not match the authorizer's identity_validation_expression.")
    APP_CLIENT_REFUSED = Cause(
        ResponseType.UNAUTHORIZED, "The token was issued to an app client that is not in the authorizer's app_clients."
    )
    SCOPE_UNMET = Cause(ResponseType.UNAUTHORIZED, "The access token has none of the route's authorization_scopes.")
    TOKEN_REVOKED = Cause(ResponseType.UNAUTHORIZED, "The list of revocations names the token, its sign-in, user, app client or user pool.")
    CLAIM_HEADERS_TOO_LARGE = Cause(
        ResponseType.ACCESS_DENIED, "The claim headers exceed 8 KiB and the api says `claim_headers_overflow: deny`."
    )
    KEYS_UNAVAILABLE = Cause(
        ResponseType.AUTHORIZER_FAILURE, "The user pool's keys could not be fetched, so nothing can be said about the token."
    )
    REVOCATIONS_UNKNOWN = Cause(
        ResponseType.AUTHORIZER_FAILURE,
        "The token is good, but the list of revocations was not read yet, or is older than --revocations-max-age.",
    )
    OVERLOADED = Cause(
        ResponseType.AUTHORIZER_FAILURE,
        "More checks were in progress than --max-checks-in-progress, or this one waited until Envoy would no longer have taken an answer.",
    )
    INTERNAL_ERROR = Cause(ResponseType.AUTHORIZER_FAILURE, "A bug in this server, logged with its traceback; please report it.")

    @property
    def label(self) -> str:
        """The reason's name in metrics, logs and docs."""
        return self.name.lower()

    @property
    def is_ours(self) -> bool:
        """Whether the fault is the server's or its operator's, and not the caller's."""
        return self.value.type in _OURS


_OURS = frozenset({ResponseType.AUTHORIZER_CONFIGURATION_ERROR, ResponseType.AUTHORIZER_FAILURE})
