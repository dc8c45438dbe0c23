"""Gateway responses: what the caller of a denied request gets, apart from why it was denied."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from authz_server.core.reasons import Reason, ResponseType

REQUEST_ID: Final = "$context.requestId"  # in the value of a header: the id of the request
_EXPIRED: Final = "The incoming token has expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One HTTP response.

    Args:
        status: HTTP status.
        headers: name and value of each, in the order in which they are sent.
        body: JSON.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


def _response(status: int, error: str, message: str, retry_after: int | None = None) -> Response:
    """Write a response as API Gateway words it.

    Args:
        status: HTTP status.
        error: value of the `x-amzn-errortype` header.
        message: `message` member of the JSON body.
        retry_after: seconds for a `Retry-After` header, or None for no such header.

    Returns:
        The response.

    Source: recorded answers of API Gateway.
    """
    headers = [("content-type", "application/json"), ("x-amzn-requestid", REQUEST_ID), ("x-amzn-errortype", error)]
    if retry_after is not None:
        headers.append(("retry-after", str(retry_after)))
    return Response(status=status, headers=tuple(headers), body=json.dumps({"message": message}, separators=(",", ":")))


# Source: API Gateway guide, "Gateway response types".
_BY_TYPE: Final = {
    ResponseType.UNAUTHORIZED: _response(401, "UnauthorizedException", "Unauthorized"),
    ResponseType.ACCESS_DENIED: _response(403, "ForbiddenException", "Forbidden"),
    ResponseType.MISSING_AUTHENTICATION_TOKEN: _response(403, "MissingAuthenticationTokenException", "Missing Authentication Token"),
    ResponseType.BAD_REQUEST_PARAMETERS: _response(400, "BadRequestException", "Bad Request"),
    ResponseType.AUTHORIZER_CONFIGURATION_ERROR: _response(500, "AuthorizerConfigurationException", "Internal server error"),
    ResponseType.AUTHORIZER_FAILURE: _response(500, "AuthorizerFailureException", "Internal server error"),
}

# Where the reason says more than its type: an expired token, as recorded, and trouble of ours that passes.
_BY_REASON: Final = {
    Reason.TOKEN_EXPIRED: _response(401, "UnauthorizedException", _EXPIRED),
    Reason.KEYS_UNAVAILABLE: _response(503, "ServiceUnavailableException", "Service Unavailable", retry_after=10),
    Reason.REVOCATIONS_UNKNOWN: _response(503, "ServiceUnavailableException", "Service Unavailable", retry_after=10),
    Reason.OVERLOADED: _response(503, "ServiceUnavailableException", "Service Unavailable", retry_after=1),
}

BUILT_IN: Final[Mapping[Reason, Response]] = MappingProxyType(
    {reason: _BY_REASON.get(reason, _BY_TYPE[reason.value.type]) for reason in Reason}
)
"""What is sent for each reason where nothing else is configured."""
