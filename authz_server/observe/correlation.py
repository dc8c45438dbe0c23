"""Correlation: the ids of a request in other systems, taken from its headers if their form is harmless."""

import re
from collections.abc import Mapping
from typing import Final

_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_HARMLESS: Final = re.compile(r"(?!eyJ)[A-Za-z0-9_.:-]{1,128}")  # a token begins with `eyJ`, and a client may send one here
_PARENT: Final = r"(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT: Final = re.compile(rf"00-{_PARENT}|(?!00|ff)[0-9a-f]{{2}}-{_PARENT}(?:-.*)?")
_B3_TRACE: Final = r"(?!0+\b)([0-9a-f]{32}|[0-9a-f]{16})"
_B3: Final = re.compile(rf"{_B3_TRACE}-(?!0{{16}})[0-9a-f]{{16}}(?:-[01d](?:-[0-9a-f]{{16}})?)?", re.IGNORECASE)
_B3_TRACE_ID: Final = re.compile(_B3_TRACE, re.IGNORECASE)


def request_id(headers: Mapping[str, str]) -> str:
    """Find the UUID that a request came with; a denial repeats it.

    Args:
        headers: value by lower-case name.

    Returns:
        The value of `x-request-id` if it is a UUID, else "".
    """
    sent = headers.get("x-request-id", "")
    return sent if _UUID.fullmatch(sent) else ""


def sent_id(headers: Mapping[str, str]) -> str:
    """Find the request id as it came.

    Args:
        headers: value by lower-case name.

    Returns:
        The value of `x-request-id` if it is up to 128 letters, digits and `_.:-`, and does not begin as a token does, else "".

    Source: nginx's `$request_id` is 32 hexadecimal digits; others send ULIDs, numbers, or several parts joined by `:`.
    """
    sent = headers.get("x-request-id", "")
    return sent if _HARMLESS.fullmatch(sent) else ""


def trace_id(headers: Mapping[str, str]) -> str:
    """Find the trace that a request belongs to.

    Args:
        headers: value by lower-case name.

    Returns:
        The trace id of `traceparent`, `b3` or `x-b3-traceid`, whichever is good first, in lower case, or "".

    Source: W3C Trace Context section 3.2; B3 propagation, "Single Header" and "Multiple Headers".
    """
    found = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    if found is not None:
        return found[1] or found[2]
    found = _B3.fullmatch(headers.get("b3", "")) or _B3_TRACE_ID.fullmatch(headers.get("x-b3-traceid", ""))
    return "" if found is None else found[1].lower()
