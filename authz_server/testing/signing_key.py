"""Signing keys: RSA key pairs that write compact JWS, well formed or not."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def new_rsa_key() -> RSAPrivateKey:
    """Make an RSA key of the size that Cognito uses; it takes some 40 ms.

    Returns:
        A 2048-bit key.

    Source: Cognito guide, "Verifying a JSON web token".
    """
    return generate_private_key(public_exponent=65_537, key_size=2_048)


def change(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change members of a JSON object.

    Args:
        base: the object.
        changes: members that replace or join those of *base*; None takes a member away.

    Returns:
        A new object without members that are None.
    """
    return {name: value for name, value in {**base, **changes}.items() if value is not None}


def compact(header: Mapping[str, Any] | bytes, payload: Mapping[str, Any] | bytes, sign: Callable[[bytes], bytes]) -> str:
    """Write a compact JWS with any signature, also one that no user pool would make.

    Args:
        header: members, or raw bytes that need not be JSON.
        payload: members, or raw bytes that need not be JSON.
        sign: from the signing input to the octets of the signature.

    Returns:
        Three base64url parts without padding.

    Source: RFC 7515 section 7.1.
    """
    signing_input = b".".join(_base64url(part if isinstance(part, bytes) else _json(part)) for part in (header, payload))
    return b".".join((signing_input, _base64url(sign(signing_input)))).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One RSA key pair and the name under which its public half is published.

    Args:
        kid: the key's name in the JWKS.
        private: a 2048-bit key.
    """

    kid: str
    private: RSAPrivateKey = field(repr=False)

    @property
    def public(self) -> RSAPublicKey:
        """The half that verifies."""
        return self.private.public_key()

    @property
    def pem(self) -> bytes:
        """The public half as PEM, which forgers like to use as an HMAC secret."""
        return self.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def jwk(self) -> dict[str, str]:
        """The public half as Cognito publishes it.

        Source: RFC 7517 section 4; RFC 7518 section 6.3.1.
        """
        numbers = self.public.public_numbers()
        return {
            "alg": "RS256",
            "e": _base64url_integer(numbers.e),
            "kid": self.kid,
            "kty": "RSA",
            "n": _base64url_integer(numbers.n),
            "use": "sig",
        }

    def sign(self, payload: Mapping[str, Any] | bytes, *, header: Mapping[str, Any] | bytes | None = None) -> str:
        """Sign any payload with RS256, whatever the header then says.

        Args:
            payload: claims, or raw bytes that need not be JSON.
            header: changes to `{"kid", "alg"}` (None takes a member away), or raw bytes for the whole header.

        Returns:
            A compact JWS.

        Source: RFC 7518 section 3.3.
        """
        if not isinstance(header, bytes):
            header = change({"kid": self.kid, "alg": "RS256"}, header or {})
        return compact(header, payload, lambda signing_input: self.private.sign(signing_input, PKCS1v15(), SHA256()))


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _base64url_integer(number: int) -> str:
    return _base64url(number.to_bytes((number.bit_length() + 7) // 8)).decode()
