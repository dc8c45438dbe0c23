"""The text of a revocation: one line, the same in a file and in Redis."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from math import inf, isfinite
from typing import Final

from authz_server.core.revocations import KINDS, Revocation

MAX_LENGTH: Final = 1_024
FORM: Final = "KIND=VALUE [issued_before=TIME] [until=TIME]"

_FIELD: Final = re.compile(r"([a-z_]+)=([!\"$-~]+)", re.ASCII)
_SECONDS: Final = re.compile(r"\d{1,11}(\.\d{1,9})?", re.ASCII)
_WHOLE: Final = re.compile(r"\d{1,11}", re.ASCII)
_TIMES: Final = ("issued_before", "until")


def parse(line: str) -> Revocation:
    """Read a revocation.

    Args:
        line: `KIND=VALUE`, and optionally `issued_before=TIME` and `until=TIME`, parted by spaces; a time is Unix seconds or RFC 3339.

    Returns:
        The revocation.

    Raises:
        ValueError: with what is wrong about it; no value is repeated.
    """
    if len(line) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters")
    found: dict[str, str] = {}
    for word in line.split():
        field = _FIELD.fullmatch(word)
        if field is None:
            raise ValueError(f"expected {FORM}, with values of printable ASCII")
        if field[1] in found:
            raise ValueError(f"{field[1]} stands twice")
        found[field[1]] = field[2]
    times = {name: moment(found.pop(name)) for name in _TIMES if name in found}
    named = [kind for kind in KINDS if kind in found]
    if len(found) != 1 or not named:
        raise ValueError(f"expected {FORM}, where KIND is one of {', '.join(KINDS)}")
    kind = named[0]
    if "issued_before" in times and kind == "jti":
        raise ValueError("a jti names one token, which has no issued_before")
    return Revocation(kind, found[kind], times.get("issued_before", inf), times.get("until", inf))


def write(revocation: Revocation) -> str:
    """Write a revocation for programs.

    Args:
        revocation: whose value is printable ASCII without spaces.

    Returns:
        The line, without its end; times are Unix seconds.

    Raises:
        ValueError: when it could not be read again.
    """
    return _written(revocation, _number)


def show(revocation: Revocation) -> str:
    """Write a revocation for people; see `write`. Times are RFC 3339 in UTC where they are whole seconds."""
    return _written(revocation, _date)


def _written(revocation: Revocation, write_time: Callable[[float], str]) -> str:
    times = {"issued_before": revocation.issued_before, "until": revocation.until}
    texts = (f"{name}={write_time(time)}" for name, time in times.items() if time != inf)
    line = " ".join([f"{revocation.kind}={revocation.value}", *texts])
    if parse(line) != revocation:
        raise ValueError(f"a {revocation.kind} is printable ASCII without spaces, and times are seconds since 1970")
    return line


def moment(text: str) -> float:
    """Read a time.

    Args:
        text: Unix seconds, or RFC 3339 with its offset.

    Returns:
        Unix seconds.

    Raises:
        ValueError: for anything else.

    Source: RFC 3339 section 5.6.
    """
    if _SECONDS.fullmatch(text):
        return float(text)
    with suppress(ValueError, OverflowError):  # the latter where it is not of the years 1 to 9999 in UTC
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time.astimezone(UTC).timestamp()
    raise ValueError("expected a time as Unix seconds, or such as 2026-01-31T12:00:00Z")


def _number(seconds: float) -> str:
    if not isfinite(seconds):
        raise ValueError("a time is a number of seconds since 1970")
    return f"{seconds:.9f}".rstrip("0").rstrip(".")


def _date(seconds: float) -> str:
    number = _number(seconds)
    return f"{datetime.fromtimestamp(int(number), UTC):%Y-%m-%dT%H:%M:%SZ}" if _WHOLE.fullmatch(number) else number
