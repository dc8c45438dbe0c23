"""Keys write tokens that other JOSE libraries read, and any token that they must not accept."""

import base64
import hashlib
import hmac
import json

import jwt
import pytest
from joserfc import jwk as joserfc_jwk
from joserfc import jws as joserfc_jws

from authz_server.testing import SigningKey, compact


@pytest.fixture
def key(new_key) -> SigningKey:
    """A key whose name has all of base64's special characters."""
    return SigningKey(kid="a+b/c=", private=new_key())


def decode(part: str) -> bytes:
    """Decode one part of a token."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_header_holds_kid_and_alg_only(key):
    """Cognito's header has two members and no `typ`."""
    header, _, _ = key.sign({}).split(".")

    assert json.loads(decode(header)) == {"kid": "a+b/c=", "alg": "RS256"}


def test_jwk_has_the_members_and_types_of_cognitos(key):
    """Every member is text, unpadded, and the modulus has 2048 bits."""
    jwk = key.jwk

    assert {**jwk, "n": ""} == {"alg": "RS256", "e": "AQAB", "kid": "a+b/c=", "kty": "RSA", "n": "", "use": "sig"}
    assert len(decode(jwk["n"])) == 256
    assert "=" not in jwk["n"]


def test_pyjwt_verifies_with_the_jwk(key):
    """The signature is RS256 by PyJWT's judgement."""
    assert jwt.decode(key.sign({"a": 1}), jwt.PyJWK(key.jwk), algorithms=["RS256"]) == {"a": 1}


def test_joserfc_verifies_with_the_jwk(key):
    """The signature is RS256 by joserfc's judgement."""
    signed = joserfc_jws.deserialize_compact(key.sign(b"any"), joserfc_jwk.import_key(key.jwk), algorithms=["RS256"])

    assert signed.payload == b"any"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"typ": "JWT"}, {"kid": "a+b/c=", "alg": "RS256", "typ": "JWT"}),
        ({"kid": None}, {"alg": "RS256"}),
        ({"alg": "none"}, {"kid": "a+b/c=", "alg": "none"}),
        ({}, {"kid": "a+b/c=", "alg": "RS256"}),
        (b'{"alg":1,"alg":2}', {"alg": 2}),
    ],
)
def test_header_can_be_changed_or_replaced(key, header, expected):
    """Members join, replace or leave the header, and bytes are the whole of it."""
    first, _, _ = key.sign({}, header=header).split(".")

    assert json.loads(decode(first)) == expected


def test_raw_payload_is_signed_as_it_is(key):
    """Bytes need not be JSON, so that parsers can be tested."""
    token = key.sign(b'{"sub":"a","sub":"b"}')

    assert decode(token.split(".")[1]) == b'{"sub":"a","sub":"b"}'
    assert jwt.api_jws.PyJWS().decode(token, key.public, algorithms=["RS256"]) == b'{"sub":"a","sub":"b"}'


def test_compact_takes_any_signature(key):
    """A forger's HMAC with the public key can be written."""
    token = compact({"alg": "HS256"}, {"sub": "root"}, lambda data: hmac.digest(key.pem, data, hashlib.sha256))

    signing_input, _, signature = token.rpartition(".")
    assert decode(signature) == hmac.digest(key.pem, signing_input.encode(), hashlib.sha256)


def test_compact_writes_an_unsigned_token():
    """No signature leaves the third part empty."""
    assert compact({"alg": "none"}, {}, lambda _: b"") == "eyJhbGciOiJub25lIn0.e30."


def test_private_key_is_not_shown(key):
    """A failing test prints no private key."""
    assert repr(key) == "SigningKey(kid='a+b/c=')"
