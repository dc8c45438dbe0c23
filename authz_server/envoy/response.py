"""Decisions to CheckResponse bytes. A default CheckResponse means ALLOW, so these two functions alone build one."""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from authz_server.core.decisions import Allow, Outcome
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


def deny(outcome: Outcome, request_id: str) -> bytes:
    """Write a denial as API Gateway words it.

    Args:
        outcome: status, error type and message.
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
    before, after = _around(outcome)
    return before + octets + after


@cache
def _around(outcome: Outcome) -> tuple[bytes, bytes]:
    """Write a denial once: what is before the request id, and what is after it."""
    response = CheckResponse()
    response.status.code = _UNAUTHENTICATED if outcome.status == _UNAUTHORIZED else _PERMISSION_DENIED
    denied = response.denied_response
    denied.status.code = outcome.status
    denied.body = json.dumps({"message": outcome.message}, separators=(",", ":"))
    headers = [("content-type", "application/json"), ("x-amzn-requestid", _ANY_UUID), ("x-amzn-errortype", outcome.error)]
    if outcome.retry_after is not None:
        headers.append(("retry-after", str(outcome.retry_after)))
    _set(denied.headers, headers)
    before, _, after = bytes(response.SerializeToString()).partition(_ANY_UUID.encode())
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
