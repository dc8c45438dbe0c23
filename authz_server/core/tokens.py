"""Compact JWS: read one strictly, and verify it with a key."""

import json
import re
from binascii import a2b_base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isinf
from typing import Any, Final, NamedTuple, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

MAX_TOKEN_LENGTH: Final = 16_384
MAX_DEPTH: Final = 128  # of lists and objects in one another: what can be read can be written, too
YEAR_10000: Final = 253_402_300_800

MAX_ISSUERS: Final = 8
MAX_SEEN: Final = 64  # headers that are not read twice
MAX_SEEN_LENGTH: Final = 256

_TO_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/!!!")  # base64 takes no `!`
_PADDING: Final = (b"", None, b"==", b"=")
# The last character of a part may only hold bits that belong to an octet: the other spellings of the same octets are refused.
_LAST: Final = (None, None, frozenset((b"A", b"Q", b"g", b"w")), frozenset(b"%c" % character for character in b"AEIMQUYcgkosw048"))
_ISS: Final = b'"iss"'
_ISSUER: Final = re.compile(_ISS + rb'[ \t\r\n]*+:[ \t\r\n]*+"')
_HEADER_TEXTS: Final = ("typ", "cty", "jku", "x5u", "x5t", "x5t#S256")  # RFC 7515 section 4.1; none of them is used
_PKCS1: Final = PKCS1v15()
_SHA256: Final = SHA256()


class MalformedTokenError(ValueError):
    """Text that is no compact JWS, or claims that two parsers could read differently."""


class Token(NamedTuple):
    """A compact JWS that was read but not verified.

    Args:
        kid: names the key that is said to have signed it; None where the header asks for more than RS256 (`alg`, `crit`, `b64`).
        payload: the octets of the claims; see `claims_of`.
        signing_input: header and payload as signed.
        signature: the octets of the signature.
    """

    kid: str | None
    payload: bytes
    signing_input: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of a user pool, good for RS256 and nothing else.

    Args:
        kid: the key's name in its set.
        rsa: the key, at least 2048 bits.
    """

    kid: str
    rsa: RSAPublicKey


def from_header(value: str) -> str:
    """Take the token out of an identity source header.

    Args:
        value: the header.

    Returns:
        The value behind an optional `Bearer ` in any case.

    Source: API Gateway accepts a Cognito token with and without the prefix, as recorded.
    """
    return value[7:] if value[:7].lower() == "bearer " else value


def parse(text: str) -> Token:
    """Read a compact JWS.

    Args:
        text: three base64url parts, without padding.

    Returns:
        The token; nothing about it is verified, and its claims are not read yet: what no pool signed costs no more than a signature.

    Raises:
        MalformedTokenError: for other text.

    Source: RFC 7515 sections 3.1, 4.1 and 7.1; RFC 8725 sections 2 and 3.
    """
    try:
        octets = text.encode("ascii")
        header, payload, last = octets.split(b".")
        document = decode(payload)
        signature = decode(last)
        if not document or not signature:
            raise MalformedTokenError("a part is empty")
        kid = (_kid_seen if len(header) <= MAX_SEEN_LENGTH else _kid)(header)
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedTokenError from error
    return Token(kid, document, octets[: len(header) + len(payload) + 1], signature)


def issuers_in(payload: bytes) -> Iterator[str]:
    r"""Find what may be the `iss` of a token without reading its claims.

    Args:
        payload: of a token, not verified.

    Yields:
        The text of each member called `iss`, wherever it stands, among the first eight places that read `"iss"`, names and values alike. An
        issuer that is written with escapes other than `\\/` is none.
    """
    at = payload.find(_ISS)  # ten times as fast as a search by the expression
    for _ in range(MAX_ISSUERS):
        if at < 0:
            return
        found = _ISSUER.match(payload, at)
        if found is not None:
            end = payload.find(b'"', found.end())
            text = payload[found.end() : end].replace(b"\\/", b"/")  # an escaped quote leaves its backslash
            if end >= 0 and b"\\" not in text:
                yield text.decode(errors="replace")
        at = payload.find(_ISS, at + len(_ISS))


def claims_of(payload: bytes) -> Mapping[str, Any]:
    """Read the claims of a token.

    Args:
        payload: of a token whose signature was verified.

    Returns:
        The claims.

    Raises:
        MalformedTokenError: for octets that are no JSON object, or that two parsers could read differently.

    Source: RFC 7519 section 4.
    """
    try:
        claims = strict_json(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedTokenError from error
    if not isinstance(claims, dict):
        raise MalformedTokenError("the claims are no object")
    return claims


def _kid(part: bytes) -> str | None:
    """Read the header of a token, and give the `kid`; None where it asks for more than RS256.

    Raises:
        TypeError, ValueError, RecursionError: for a header that is malformed.
    """
    header = strict_json(decode(part))
    if not isinstance(header, dict):
        raise TypeError("the header is no object")
    if header.get("alg") != "RS256" or "crit" in header or "b64" in header:
        return None
    if not all(isinstance(header.get(name, ""), str) for name in _HEADER_TEXTS):
        raise TypeError("a parameter of the header that is text is something else")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise TypeError("the header has no kid")
    return kid


_kid_seen: Final = lru_cache(MAX_SEEN)(_kid)  # all tokens of a key have the same header


def verify(token: Token, key: Key) -> bool:
    """Whether *key* signed the token.

    Source: RFC 7518 section 3.3; the algorithm is the key's, whatever the token says.
    """
    try:
        key.rsa.verify(token.signature, token.signing_input, _PKCS1, _SHA256)
    except InvalidSignature:
        return False
    return True


def is_time(value: object) -> bool:
    """Whether a claim is a number of seconds between 1970 and 9999, as RFC 7519's NumericDate."""
    return type(value) in {int, float} and 0 <= value < YEAR_10000  # type: ignore[operator]


def decode(part: bytes) -> bytes:
    """Decode one part of a compact JWS; every sequence of octets has exactly one spelling.

    Args:
        part: what stands between two dots.

    Returns:
        The octets.

    Raises:
        ValueError: for characters beyond the base64url alphabet, and for a length or a last character that no encoder produces.

    Source: RFC 7515 section 2; RFC 4648 sections 3.5 and 5.
    """
    rest = len(part) % 4
    padding, last = _PADDING[rest], _LAST[rest]
    if padding is None or (last is not None and part[-1:] not in last):
        raise ValueError("not canonical base64url")
    return a2b_base64(part.translate(_TO_STANDARD) + padding, strict_mode=True)


def strict_json(document: bytes) -> Any:
    """Read JSON that every parser reads alike.

    Args:
        document: UTF-8 text.

    Returns:
        The value.

    Raises:
        ValueError: for bad UTF-8 or JSON, a member that stands twice, NaN, infinities and numbers beyond a double (1e999), half of a
            surrogate pair, or values nested more than MAX_DEPTH deep.
        RecursionError: for values nested beyond the interpreter's limit.

    Source: RFC 8259 sections 4, 6 and 8; RFC 7519 section 4 (duplicate claim names).
    """
    text = document.decode().strip(_WHITESPACE)
    value, end = _STRICT.raw_decode(text)
    if end != len(text):
        raise ValueError("more than one JSON value")
    if document.count(b"[") + document.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise ValueError("values are nested too deep")
    if b"\\u" in document:  # an escape may hold half of a pair, which no UTF-8 header can carry
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _is_deep(value: Any) -> bool:
    """Whether *value* is nested more than MAX_DEPTH deep, told without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
    return any(isinstance(each, list | dict) for each in level)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("a member stands twice")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise ValueError(f"{text} is no finite number")
    return value


_WHITESPACE: Final = " \t\n\r"
_STRICT: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
