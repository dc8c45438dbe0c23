"""The strict token reader takes nothing that another library refuses.

An input is one octet that says who signs, and the token: either its text, in which `SIGNATURE` stands for a signature of
what is before it, or its header and payload, with a NUL between them.
"""

import base64
import json
import random
import re
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry, deserialize_compact

from authz_server.core import claims as claim
from authz_server.core.authorizers import Authorizer
from authz_server.core.evaluation import Evaluation
from authz_server.core.request import Request
from authz_server.core.rules import EXPIRY, NOT_BEFORE, TIMES
from authz_server.core.tokens import Key, MalformedTokenError, claims_of, from_header, parse, verify
from authz_server.testing import UserPool, compact
from fuzz.mutation import Mutate, spliced

AS_TEXT, BY_ANOTHER = 1, 2  # options
NOW = 1_800_000_000.0
POOL, OTHER = UserPool("eu-west-1_Fuzzed001"), UserPool("eu-west-1_Fuzzed002")
OURS = Key("k", POOL.id_key.public)
THEIRS = RSAKey.import_key(POOL.id_key.jwk)
REGISTRY = JWSRegistry(algorithms=["RS256"], strict_check_header=False)
NOBODY = Authorizer(name="users", identity_source="authorization", issuers={}, rules=())
UNCHECKED = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
VISIBLE = re.compile(r"[\x20-\x7e]+")
WORDS = tuple(
    word.encode()
    for word in (
        *("SIGNATURE", ".", "..", "=", "==", "+", "/", "-", "_", "A", "Bearer ", " ", "\n", "\0", ",", "eyJ", "e30"),
        *(
            '{"alg":"RS256","kid":"k"}',
            '"alg":"RS256"',
            '"alg":"none"',
            '"kid":"k"',
            '"crit":["b64"]',
            '"b64":false',
            '"jwk":{}',
            '"zip":"DEF"',
        ),
        *(
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            '"',
            "\\u0041",
            "\\ud83d",
            "\\udc31",
            "\\u0000",
            "NaN",
            "Infinity",
            "-0",
            "1e999",
            "1E-9",
            "00",
            "1.",
            "9" * 40,
        ),
        *(
            '"exp":1800000001',
            '"exp":true',
            '"nbf":1e9',
            '"iat":null',
            '"sub":"a"',
            '"sub":"a\\r\\nx: y"',
            "true",
            "null",
            "\ufeff",
            "\u00e9",
        ),
    )
)


def run(octets: bytes) -> None:
    """Hold that a token that is accepted is one that everybody reads alike.

    Raises:
        AssertionError: when it does not hold.
    """
    text = written(octets)
    try:
        token = parse(from_header(text))
    except MalformedTokenError:
        return
    if token.kid is None:
        return
    text = text[7:] if text[:7].lower() == "bearer " else text
    parts = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in text.split(".")]
    assert ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) == text, "one spelling only"
    header = json.loads(parts[0])
    assert (header["alg"], header["kid"]) == ("RS256", token.kid)
    if not verify(token, OURS):
        return
    assert not octets[0] & BY_ANOTHER, "another key signed it"
    try:
        claims = dict(claims_of(token.payload))
    except MalformedTokenError:
        return
    assert claims == jwt.decode(text, OURS.rsa, algorithms=["RS256"], options=UNCHECKED)
    assert claims == json.loads(deserialize_compact(text, THEIRS, registry=REGISTRY).payload)
    _are_safe(claims)


def _are_safe(claims: dict[str, Any]) -> None:
    """No time is taken that is none, and no claim of a token that is good breaks out of its header."""
    evaluation = Evaluation(Request("GET", "api.test", "/"), NOW, NOBODY, frozenset())
    evaluation.claims = claims
    if not all(rule.met(evaluation) for rule in (TIMES, EXPIRY, NOT_BEFORE)):
        return
    assert type(claims["exp"]) in {int, float}
    assert claims["exp"] > NOW
    headers, dropped = claim.headers(claims, [(f"x-{number}", name) for number, name in enumerate(claims)])
    assert len(headers) + len(dropped) <= len(claims)
    assert all(VISIBLE.fullmatch(value) for _, value in headers)


def written(octets: bytes) -> str:
    """Write the token that an input describes."""
    options, rest = (octets[0], octets[1:]) if octets else (0, b"")
    private = (OTHER if options & BY_ANOTHER else POOL).id_key.private

    def sign(data: bytes) -> bytes:
        return private.sign(data, PKCS1v15(), SHA256())

    if options & AS_TEXT:
        before, marker, behind = rest.partition(b".SIGNATURE")
        signature = b"." + base64.urlsafe_b64encode(sign(_bare(before))).rstrip(b"=")
        return (before + signature + behind if marker else rest).decode("utf-8", "replace")
    header, _, payload = rest.partition(b"\0")
    return compact(header, payload, sign)


def _bare(text: bytes) -> bytes:
    return text[7:] if text[:7].lower() == b"bearer " else text


def mutate(octets: bytes, chance: random.Random, anyhow: Mutate) -> bytes:
    """Put words of JOSE and JSON where they may or may not belong."""
    return octets[:1] + spliced(octets[1:], chance, anyhow, WORDS) if octets else anyhow(octets)


def seeds() -> dict[str, bytes]:
    """Make inputs to begin with: good tokens, as text and in parts, and one that another signs."""
    header, payload = b'{"alg":"RS256","kid":"k"}', b'{"exp":1800000001,"sub":"ada","cognito:groups":["a","b"],"iat":1.5}'
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload)) + b".SIGNATURE"
    return {
        "parts": b"\0" + header + b"\0" + payload,
        "escaped": b"\0" + b' {"kid" : "\\u006b", "alg":"RS256", "typ":"JWT"}' + b"\0" + b'{"sub":"\\ud83d\\udc31","nbf":-0.0}',
        "text": b"\1" + text,
        "bearer": b"\1Bearer " + text,
        "another": b"\2" + header + b"\0" + payload,
    }
