"""CheckRequest bytes to the core's request."""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError

from authz_server.core.request import NOTHING, Request
from authz_server.envoy.stubs import CheckRequest

_READ: Final = CheckRequest.FromString
_NEW: Final = tuple.__new__  # what a NamedTuple calls in the end


class MalformedRequestError(ValueError):
    """Bytes that are no CheckRequest."""


def parse(data: bytes) -> Request:
    """Read the bytes of a CheckRequest.

    Args:
        data: as they came from Envoy.

    Returns:
        The request; typed fields are read, pseudo-headers are not (`allowed_headers` may drop those).

    Raises:
        MalformedRequestError: for other bytes, bad UTF-8 included.

    Source: Envoy's `envoy.service.auth.v3.AttributeContext`.
    """
    try:
        attributes = _READ(data).attributes
    except DecodeError as error:
        raise MalformedRequestError from error
    http = attributes.request.http
    headers = _joined(http.header_map.headers) if http.HasField("header_map") else http.headers
    return _NEW(Request, (http.method, http.host, http.path, headers, attributes.context_extensions or NOTHING))


def _joined(lines: Any) -> Mapping[str, str]:
    """Join the lines of one name by a comma, as Envoy does where it sends a map (`encode_raw_headers` sends lines)."""
    values: dict[str, list[str]] = {}
    for line in lines:
        value = line.raw_value.decode("latin-1") if line.raw_value else line.value
        values.setdefault(line.key.lower(), []).append(value)
    return {name: ",".join(several) for name, several in values.items()}
