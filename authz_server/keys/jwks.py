"""Key sets: read a JWKS document, keep the keys that can have signed a Cognito token."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeGuard

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm
from jwt.exceptions import InvalidKeyError
from jwt.utils import to_base64url_uint

from authz_server.core.tokens import Key, strict_json

MAX_DOCUMENT_SIZE: Final = 150_000
MIN_MODULUS_BITS: Final = 2_048

_GZIP: Final = b"\x1f\x8b"
_GZIP_BITS: Final = 16 + zlib.MAX_WBITS
_BYTE_ORDER_MARKS: Final = b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"


class JwksError(Exception):
    """A document that is no key set, or holds no usable key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """The usable keys of one JWKS document.

    Args:
        keys: by kid.
        skipped: why each of the other keys is not used.
    """

    keys: Mapping[str, Key]
    skipped: tuple[str, ...] = ()

    def keeping(self, former: "KeySet | None") -> "KeySet":
        """Keep the objects of keys that have not changed, since decisions rest on them.

        Args:
            former: the set before this one.

        Returns:
            An equal set.
        """
        if former is None:
            return self
        kept = {kid: former.keys[kid] if former.keys.get(kid) == key else key for kid, key in self.keys.items()}
        return KeySet(keys=MappingProxyType(kept), skipped=self.skipped)


def parse(document: bytes) -> KeySet:
    """Read a JWKS document; one bad key does not spoil the others.

    Args:
        document: JSON, or the same as gzip; at most 150,000 bytes, also unpacked (the limit of API Gateway's own JWT authorizers).

    Returns:
        The RSA signature keys of at least 2048 bits; modulus and exponent are odd. Keys for encryption, and whatever else verifies nothing,
        are passed over without a word.

    Raises:
        JwksError: when the document is no JWKS, or has no usable key.

    Source: RFC 7517 sections 4 and 5; RFC 7518 sections 3.3 and 6.3.
    """
    if document.startswith(_GZIP) and len(document) <= MAX_DOCUMENT_SIZE:
        document = _unpacked(document)
    if len(document) > MAX_DOCUMENT_SIZE:
        raise JwksError(f"the document is longer than {MAX_DOCUMENT_SIZE} bytes")
    try:
        value = strict_json(document)
    except (ValueError, RecursionError) as error:
        raise JwksError(_what_it_is(document)) from error
    return read(value)


def read(value: Any) -> KeySet:
    """Read a JWKS document that is JSON already, see `parse`."""
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        hint = (
            "; it is an OpenID configuration, whose `jwks_uri` names the key set" if isinstance(value, dict) and "jwks_uri" in value else ""
        )
        raise JwksError(f"the document has no `keys` array{hint}")
    keys: dict[str, Key] = {}
    skipped: list[str] = []
    for entry in entries:
        if isinstance(entry, dict) and _is_for_something_else(entry):  # its place in a set is right, and no concern of ours
            continue
        try:
            key = _key(entry)
        except JwksError as error:
            skipped.append(str(error))
        else:
            if keys.setdefault(key.kid, key) is not key:
                skipped.append(f"kid {key.kid!r} stands twice, the first one counts")
    if not keys:
        raise JwksError("no usable key: " + ("; ".join(skipped[:3]) or "the set is empty, or for encryption"))
    return KeySet(keys=MappingProxyType(keys), skipped=tuple(skipped))


def document(key_set: KeySet) -> dict[str, list[dict[str, str]]]:
    """Write the usable keys of a set, so that `parse` reads them again.

    Args:
        key_set: the set.

    Returns:
        A JWKS document as JSON values, no longer than the one that the set was read from.

    Source: RFC 7518 section 6.3.1.
    """
    return {"keys": [_entry(key) for key in key_set.keys.values()]}


def _entry(key: Key) -> dict[str, str]:
    numbers = key.rsa.public_numbers()
    return {"kty": "RSA", "kid": key.kid, "n": to_base64url_uint(numbers.n).decode(), "e": to_base64url_uint(numbers.e).decode()}


def _unpacked(document: bytes) -> bytes:
    """Unpack gzip, as some stores keep and send it whatever was asked for; no more than it takes to know that it is too long."""
    unpacking = zlib.decompressobj(_GZIP_BITS)
    try:
        unpacked = unpacking.decompress(document, MAX_DOCUMENT_SIZE + 1)
    except zlib.error:
        raise JwksError("the document is gzip that cannot be unpacked") from None
    if len(unpacked) <= MAX_DOCUMENT_SIZE and (not unpacking.eof or unpacking.unused_data):
        raise JwksError("the document is gzip that is cut off, or that something follows")
    return unpacked


def _what_it_is(document: bytes) -> str:
    """Name what stands in the place of a key set."""
    if not document.strip():
        return "the document is empty"
    if document.startswith(_BYTE_ORDER_MARKS):
        return "the document begins with a byte order mark, which JSON does not have: write it as UTF-8 without one"
    if document.lstrip().startswith(b"<"):
        return "the document is HTML or XML: an error page, a login page or a proxy answered in the place of the key set"
    return "the document is no JSON with unique members"


def _is_for_something_else(entry: dict[str, Any]) -> bool:
    operations = entry.get("key_ops")
    return entry.get("use") == "enc" or (_are_operations(operations) and "verify" not in operations)


def _are_operations(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(operation, str) for operation in value)


def _key(entry: Any) -> Key:
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
        raise JwksError("an entry without a `kid`")
    kid = entry["kid"]
    if entry.get("kty") != "RSA" or entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") != "RS256":
        raise JwksError(f"kid {kid!r} is not for RS256 signatures")
    if "key_ops" in entry and not _are_operations(entry["key_ops"]):
        raise JwksError(f"kid {kid!r} has `key_ops` that are no list of names")
    try:
        rsa = RSAAlgorithm.from_jwk({name: entry[name] for name in ("kty", "n", "e")})
    except (InvalidKeyError, KeyError, ValueError, TypeError, AttributeError):
        raise JwksError(f"kid {kid!r} is no RSA public key") from None
    if not isinstance(rsa, RSAPublicKey) or not _is_strong(rsa):
        raise JwksError(f"kid {kid!r} is weaker than RSA {MIN_MODULUS_BITS} bits with an odd modulus and an odd exponent")
    return Key(kid, rsa)


def _is_strong(rsa: RSAPublicKey) -> bool:
    """Whether a key can be one; of an even modulus everybody knows a factor."""
    numbers = rsa.public_numbers()
    return rsa.key_size >= MIN_MODULUS_BITS and numbers.n % 2 == 1 and numbers.e % 2 == 1
