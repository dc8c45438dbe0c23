"""What a check can answer: allow, or deny for one reason out of a closed table."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from itertools import accumulate, islice
from typing import Final, Protocol


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One row of the table of reasons: what the caller gets, and what an operator is told.

    Args:
        status: HTTP status of the denial.
        response: the gateway response type it belongs to.
        error: value of the `x-amzn-errortype` header.
        message: `message` member of the JSON body.
        explain: one sentence for the operator; it never reaches the caller.
        retry_after: seconds for a `Retry-After` header, or None for no such header.
    """

    status: int
    response: ResponseType
    error: str
    message: str
    explain: str
    retry_after: int | None = None


def _unauthorized(explain: str, message: str = "Unauthorized") -> Outcome:
    return Outcome(status=401, response=ResponseType.UNAUTHORIZED, error="UnauthorizedException", message=message, explain=explain)


def _missing(explain: str) -> Outcome:
    return Outcome(
        status=403,
        response=ResponseType.MISSING_AUTHENTICATION_TOKEN,
        error="MissingAuthenticationTokenException",
        message="Missing Authentication Token",
        explain=explain,
    )


def _misconfigured(explain: str) -> Outcome:
    return Outcome(
        status=500,
        response=ResponseType.AUTHORIZER_CONFIGURATION_ERROR,
        error="AuthorizerConfigurationException",
        message="Internal server error",
        explain=explain,
    )


class Reason(Enum):
    """Why a check did not pass: one member per failed rule. docs/reasons.md is generated from this table."""

    REQUEST_MALFORMED = Outcome(
        status=400,
        response=ResponseType.BAD_REQUEST_PARAMETERS,
        error="BadRequestException",
        message="Bad Request",
        explain="The bytes of the check are no CheckRequest; is the peer an Envoy that speaks ext_authz v3?",
    )
    HOST_REFUSED = _missing(
        "The host is absent, longer than a DNS name, or holds what two parsers could read differently (a comma, `@`, `%`, white space)."
    )
    PATH_REFUSED = _missing("The path is absent, or two parsers could read it differently; it is refused and never repaired.")
    ESCAPE_REFUSED = _missing(
        "The path holds an escape that could lead the upstream to another route, or that two parsers could read differently."
    )
    NO_API = _missing("No api is configured for this host and base path.")
    NO_ROUTE = _missing("No resource of the api matches the whole path.")
    NO_METHOD = _missing(
        "Resources of the api match the path, but none of them declares the method or ANY, or API Gateway has no such method."
    )
    CONTEXT_REFUSED = _misconfigured(
        "Envoy's context_extensions name an authorizer or scopes without an api, scopes without an authorizer, blank scopes, "
        "or a key that looks like one of these three and is none."
    )
    API_UNKNOWN = _misconfigured("Envoy's context_extensions name an api that the configuration does not have.")
    AUTHORIZER_UNKNOWN = _misconfigured("Envoy's context_extensions name an authorizer that this api cannot use.")
    TOKEN_MISSING = _unauthorized("The identity source header is absent or empty.")
    TOKEN_TOO_LARGE = _unauthorized("The token is longer than 16 KiB.")
    TOKEN_MALFORMED = _unauthorized(
        "The identity source is not one JWS in compact form, with strict base64url and unambiguous JSON that is not nested too deep."
    )
    ALGORITHM_REFUSED = _unauthorized("The token's `alg` is not RS256, or its header asks for an extension (`crit`, `b64`).")
    ISSUER_UNKNOWN = _unauthorized("The token's `iss` is no user pool of the route's authorizer.")
    KEY_UNKNOWN = _unauthorized("The token's `kid` is not in the key set of the user pool that issued it.")
    SIGNATURE_INVALID = _unauthorized("The signature does not match the user pool's key.")
    TOKEN_EXPIRED = _unauthorized("The token's `exp` is past: sign in again or refresh the token.", "The incoming token has expired")
    TIME_CLAIM_INVALID = _unauthorized("`exp` is absent, or `exp`, `iat` or `nbf` is no number of seconds between 1970 and 9999.")
    NOT_YET_VALID = _unauthorized("The token's `nbf` is in the future.")
    CLAIM_TYPE_INVALID = _unauthorized(
        "`iss`, `sub`, `jti`, `client_id`, `token_use` or `username` is no text, or `aud` is neither a text nor a list of texts."
    )
    WRONG_TOKEN_USE = _unauthorized("A route without scopes takes ID tokens only, a route with scopes takes access tokens only.")
    AUDIENCE_REFUSED = _unauthorized("The token's `aud` does not match the authorizer's identity_validation_expression.")
    APP_CLIENT_REFUSED = _unauthorized("The token was issued to an app client that is not in the authorizer's app_clients.")
    SCOPE_UNMET = _unauthorized("The access token has none of the route's authorization_scopes.")
    TOKEN_REVOKED = _unauthorized("The list of revocations names the token, its sign-in, user, app client or user pool.")
    CLAIM_HEADERS_TOO_LARGE = Outcome(
        status=403,
        response=ResponseType.ACCESS_DENIED,
        error="ForbiddenException",
        message="Forbidden",
        explain="The claim headers exceed 8 KiB and the api says `claim_headers_overflow: deny`.",
    )
    KEYS_UNAVAILABLE = Outcome(
        status=503,
        response=ResponseType.AUTHORIZER_FAILURE,
        error="ServiceUnavailableException",
        message="Service Unavailable",
        explain="The user pool's keys could not be fetched, so nothing can be said about the token.",
        retry_after=10,
    )
    REVOCATIONS_UNKNOWN = Outcome(
        status=503,
        response=ResponseType.AUTHORIZER_FAILURE,
        error="ServiceUnavailableException",
        message="Service Unavailable",
        explain="The token is good, but the list of revocations was not read yet, or is older than --revocations-max-age.",
        retry_after=10,
    )
    OVERLOADED = Outcome(
        status=503,
        response=ResponseType.AUTHORIZER_FAILURE,
        error="ServiceUnavailableException",
        message="Service Unavailable",
        explain="More checks were in progress than --max-checks-in-progress, or this one waited until Envoy would no longer have taken an answer.",
        retry_after=1,
    )
    INTERNAL_ERROR = Outcome(
        status=500,
        response=ResponseType.AUTHORIZER_FAILURE,
        error="AuthorizerFailureException",
        message="Internal server error",
        explain="A bug in this server, logged with its traceback; please report it.",
    )

    @property
    def label(self) -> str:
        """The reason's name in metrics, logs and docs."""
        return self.name.lower()

    @property
    def is_ours(self) -> bool:
        """Whether the fault is the server's, and not the caller's."""
        return self.value.status >= 500  # noqa: PLR2004 - HTTP server errors


class Proof(Protocol):
    """What a decision about a verified token rests on."""

    @property
    def size(self) -> int:
        """Bytes that it takes beyond those of a key's proof, measured."""
        ...

    def stands(self) -> bool:
        """Whether it still holds: the key that verified the token is still the user pool's."""
        ...


Details = tuple[tuple[str, str], ...]  # what was expected and found, by name; never a value of a token or a part of a path
MAX_LISTED: Final = 10
MAX_LISTED_LENGTH: Final = 1_000  # of a line of the log, of which a pipe takes 4 KiB whole


def listed(names: Collection[str]) -> str:
    """Join names from the configuration for the details of a denial.

    Args:
        names: in the order in which they are told.

    Returns:
        The first ten that fit into 1,000 characters, separated by spaces, and how many more there are.
    """
    ends = accumulate(len(name) + 1 for name in names)
    first = [name for name, end in islice(zip(names, ends, strict=True), MAX_LISTED) if end <= MAX_LISTED_LENGTH]
    more = len(names) - len(first)
    return " ".join([*first, f"and {more} more"] if more else first)


class Denied(Exception):  # noqa: N818 - a denial is an answer, not an error
    """End the search for a route, or for a key, with a denial.

    Args:
        reason: of the denial.
        details: for the operator; they never reach the caller.
    """

    def __init__(self, reason: Reason, details: Details = ()) -> None:
        super().__init__(reason.label)
        self.reason = reason
        self.details = details


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """The request may not pass.

    Args:
        reason: the rule that failed.
        api: name of the api, or "" when none was found.
        route: label of the route, or "" when none was found.
        proof: what the denial rests on, when it took a key to reach it.
        until: Unix time after which it must not be repeated.
        details: what was expected and found, for the operator.
    """

    reason: Reason
    api: str = ""
    route: str = ""
    proof: Proof | None = field(default=None, compare=False)
    until: float = field(default=0.0, compare=False)
    details: Details = field(default=(), compare=False)

    @property
    def decision(self) -> str:
        """`deny`, or `unavailable` where the fault is ours and not the caller's."""
        return "unavailable" if self.reason.is_ours else "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """The request may pass.

    Args:
        api: name of the api.
        route: label of the route.
        headers: name and value of each header set for the upstream, ASCII.
        remove: names of the headers stripped from the client's request.
        metadata: claims for Envoy's dynamic metadata; an array is a tuple of texts.
        logged: claims that the api lets into the decision log.
        dropped: names of the claim headers that did not fit.
        proof: what it rests on; None on a public route.
        until: Unix time after which it must not be repeated.
    """

    api: str
    route: str
    headers: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()
    metadata: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    logged: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    proof: Proof | None = field(default=None, compare=False)
    until: float = field(default=0.0, compare=False)

    @property
    def decision(self) -> str:
        """Always `allow`."""
        return "allow"
