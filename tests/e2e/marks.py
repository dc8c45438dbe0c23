"""Marks: words that stand for secrets, and the search for them in whatever form they were written."""

import re
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{8,}")


def mark(place: str) -> str:
    """Make the mark of a place: short, so that it survives being cut, and ASCII, so that escapes leave it whole."""
    return f"Mk{place}4z7"


def found(text: str, marks: Mapping[str, str]) -> set[str]:
    """Name the marks that are in a text: as they are, in hexadecimal, percent-encoded, and in any place of base64.

    Args:
        text: what a server gave out.
        marks: word by name.

    Returns:
        Names.
    """
    octets = text.encode()
    seen = {name for name, word in marks.items() if any(form in lowered for lowered in _readings(octets) for form in _plain(word))}
    written = b"\n".join(_BASE64.findall(octets)).replace(b"-", b"+").replace(b"_", b"/")
    return seen | {name for name, word in marks.items() if any(form in written for form in _base64(word))}


def _readings(octets: bytes) -> set[bytes]:
    """Read octets as they are, and with what is percent-encoded decoded, once or twice."""
    once = unquote_to_bytes(octets)
    return {reading.lower() for reading in (octets, once, unquote_to_bytes(once))}


def _plain(word: str) -> tuple[bytes, ...]:
    return word.lower().encode(), word.encode().hex().encode()


def _base64(word: str) -> list[bytes]:
    """Write a word as it looks within longer base64: three ways, by where it begins, less the characters that it shares with neighbours."""
    octets = word.encode()
    forms = []
    for before in range(3):
        text = b64encode(b"\0" * before + octets)
        forms.append(text[(8 * before + 5) // 6 : (8 * (before + len(octets))) // 6])
    return forms
