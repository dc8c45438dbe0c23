"""Claims as text: API Gateway's strings, and header values that no claim can break out of."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

MAX_HEADERS_SIZE: Final = 8_192

_DATES: Final = frozenset({"exp", "iat"})
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PRINTABLE: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def text(name: str, value: Any) -> str:
    """Write a claim as API Gateway's `$context.authorizer.claims` does, where every value is a string.

    Args:
        name: the claim; `exp` and `iat` are written as dates.
        value: any JSON value.

    Returns:
        The text; "" for null and for empty values.

    Source: recorded proxy events; nested values beyond `identities` are unrecorded and written as compact JSON.
    """
    if isinstance(value, str):
        return value
    if name in _DATES and type(value) in {int, float}:
        return _java_date(value)
    if isinstance(value, list):
        return ",".join(map(_element, value))
    return "" if value is None or value == {} else _json(value)


def texts(claims: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, str]:
    """Write some claims as text, without those that are null, empty or absent.

    Args:
        claims: of a verified token.
        names: of the claims.

    Returns:
        Text by name.
    """
    return {name: written for name in names if (written := text(name, claims.get(name)))}


def metadata(claims: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, str | tuple[str, ...]]:
    """Write some claims for Envoy's dynamic metadata, without those that are null, empty or absent.

    Args:
        claims: of a verified token.
        names: of the claims.

    Returns:
        Text by name; the texts of its elements for an array, so that a comma inside an element makes no second one.

    Source: Envoy's `envoy.type.matcher.v3.ListMatcher` matches elements of a list, and never parts of a text.
    """
    values = ((name, claims.get(name)) for name in names)
    written = ((name, tuple(map(_element, value)) if isinstance(value, list) else text(name, value)) for name, value in values)
    return {name: value for name, value in written if value}


def _element(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _java_date(seconds: float) -> str:
    """Write a time as Java's `Date.toString()` in UTC, whatever the locale of this process."""
    at = datetime.fromtimestamp(int(seconds), UTC)
    return f"{_DAYS[at.weekday()]} {_MONTHS[at.month]} {at.day:02} {at:%H:%M:%S} UTC {at.year:04}"


def header_value(value: str) -> str:
    """Make a text safe for a header, reversibly.

    Args:
        value: any text.

    Returns:
        Printable ASCII: `%`, control and non-ASCII characters, and spaces at the edges are percent-encoded UTF-8.

    Source: RFC 9110 section 5.5; Envoy passes other octets on as they are, and many upstreams read them as Latin-1.
    """
    if value.isascii() and value.isprintable() and "%" not in value and value[:1] != " " and value[-1:] != " ":
        return value
    safe = quote(value, safe=_PRINTABLE)
    body = safe.strip(" ")
    leading = len(safe) - len(safe.lstrip(" "))
    return "%20" * leading + body + "%20" * (len(safe) - leading - len(body))


def headers(
    claims: Mapping[str, Any], mapping: Iterable[tuple[str, str]], limit: int = MAX_HEADERS_SIZE
) -> tuple[list[tuple[str, str]], list[str]]:
    """Write the claim headers for the upstream.

    Args:
        claims: of a verified token.
        mapping: header name and claim name, in the order of the configuration.
        limit: bytes of all names and values together.

    Returns:
        Name and value of each header that is set, and the names of those that were dropped whole because they did not fit.
    """
    written: list[tuple[str, str]] = []
    dropped: list[str] = []
    room = limit
    for header, claim in mapping:
        value = header_value(text(claim, claims.get(claim)))
        size = len(header) + len(value)
        if value and size <= room:
            written.append((header, value))
            room -= size
        elif value:
            dropped.append(header)
    return written, dropped
