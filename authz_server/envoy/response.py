"""Decisions to CheckResponse bytes. A default CheckResponse means ALLOW, so these two functions alone build one."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from authz_server.core.decisions import Allow
from authz_server.core.responses import REQUEST_ID, Response
from authz_server.envoy.stubs import CheckResponse, HeaderValueOption

_PERMISSION_DENIED: Final = 7
_UNAUTHENTICATED: Final = 16
_UNAUTHORIZED: Final = 401
_ANY_UUID: Final = "00000000-0000-0000-0000-000000000000"

# Clients differ in which of `append` and `append_action` they read, and in what their absence means; both say "overwrite".
_OVERWRITE: Final = HeaderValueOption(append={"value": False}, append_action="OVERWRITE_IF_EXISTS_OR_ADD")


def allow(decision: Allow) -> bytes:
    """Write an allow: claim headers set, every other identity header stripped.

    Args:
        decision: with ASCII header values.

    Returns:
        The bytes of a CheckResponse.

    Source: Envoy's `envoy.service.auth.v3.OkHttpResponse`; removals run after additions, so no name may be in both.
    """
    response = CheckResponse()
    response.status.code = 0
    _set(response.ok_response.headers, decision.headers)
    response.ok_response.headers_to_remove.extend(decision.remove)
    if decision.metadata:
        _claims(response.dynamic_metadata, decision.metadata)
    return bytes(response.SerializeToString())


def deny(response: Response, request_id: str) -> bytes:
    """Write a denial.

    Args:
        response: what the caller gets.
        request_id: a UUID for `x-amzn-requestid`.

    Returns:
        The bytes of a CheckResponse.

    Raises:
        ValueError: for a request id of another length than a UUID's.

    Source: recorded answers of API Gateway; Envoy's `envoy.service.auth.v3.DeniedHttpResponse`.
    """
    octets = request_id.encode()
    if len(octets) != len(_ANY_UUID):
        raise ValueError("a request id is a UUID")
    before, after = _around(response)
    return before + octets + after


@cache
def _around(response: Response) -> tuple[bytes, bytes]:
    """Write a denial once: what is before the request id, and what is after it."""
    written = CheckResponse()
    written.status.code = _UNAUTHENTICATED if response.status == _UNAUTHORIZED else _PERMISSION_DENIED
    denied = written.denied_response
    denied.status.code = response.status
    denied.body = response.body
    _set(denied.headers, ((name, value.replace(REQUEST_ID, _ANY_UUID)) for name, value in response.headers))
    before, _, after = bytes(written.SerializeToString()).partition(_ANY_UUID.encode())
    return before, after


def _set(field: Any, headers: Iterable[tuple[str, str]]) -> None:
    for name, value in headers:
        option = field.add()
        option.CopyFrom(_OVERWRITE)
        option.header.key = name
        option.header.value = value


def _claims(metadata: Any, claims: Mapping[str, str | tuple[str, ...]]) -> None:
    fields = metadata.fields["authorizer"].struct_value.fields["claims"].struct_value.fields
    for name, value in claims.items():
        if isinstance(value, str):
            fields[name].string_value = value
        else:
            fields[name].list_value.extend(value)
