"""A token is read strictly, verified with RS256 and nothing else, and judged by its times; each attack is named with its source."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, AsymmetricPadding, PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, HashAlgorithm
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwk as joserfc_jwk
from joserfc.jws import JWSRegistry
from joserfc.jws import deserialize_compact as joserfc_decode

from authz_server.core import rules, tokens
from authz_server.core.reasons import Reason
from authz_server.core.tokens import (
    MAX_TOKEN_LENGTH,
    YEAR_10000,
    Key,
    decode,
    from_header,
    strict_json,
)
from authz_server.testing import SigningKey, UserPool, compact
from tests import judging
from tests.judging import Unmet, hold

ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
NOW: Final = 1_757_430_433

MISSING, TOO_LARGE, MALFORMED = Reason.TOKEN_MISSING, Reason.TOKEN_TOO_LARGE, Reason.TOKEN_MALFORMED
ALGORITHM, SIGNATURE = Reason.ALGORITHM_REFUSED, Reason.SIGNATURE_INVALID
INVALID, EXPIRED, EARLY = Reason.TIME_CLAIM_INVALID, Reason.TOKEN_EXPIRED, Reason.NOT_YET_VALID

READ = (rules.TOKEN, rules.SIZE, rules.FORM, rules.ALGORITHM)
TIMES = (rules.TIMES, rules.EXPIRY, rules.NOT_BEFORE)

Forge = Callable[[UserPool, UserPool], str]


def encode(octets: bytes) -> str:
    """Write one part of a compact JWS."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def accept(text: str | None, key: SigningKey) -> dict[str, Any]:
    """Read a token and verify it with a key, whatever `kid` it names."""
    return dict(judging.accept([*READ, rules.SIGNATURE, rules.CLAIMS], text, Key(key.kid, key.public)))


def read(text: str | None) -> None:
    """Read a token."""
    judging.accept(READ, text, None)


def good(pool: UserPool) -> str:
    """Make a token without a fault."""
    return pool.id_token()


def with_header(**changes: Any) -> Forge:
    """Sign a token rightly, under a changed header."""
    return lambda pool, _: pool.id_key.sign(pool.id_claims(), header=changes)


def raw_header(header: bytes) -> Forge:
    """Sign a token rightly, under a header of any octets."""
    return lambda pool, _: pool.id_key.sign(pool.id_claims(), header=header)


def raw_payload(payload: bytes) -> Forge:
    """Sign any octets rightly."""
    return lambda pool, _: pool.id_key.sign(payload)


def with_signature(sign: Callable[[UserPool, bytes], bytes], **header: Any) -> Forge:
    """Make a token with any signature."""
    return lambda pool, _: compact({"kid": pool.id_key.kid, "alg": "RS256", **header}, pool.id_claims(), lambda data: sign(pool, data))


def rsa(padding: AsymmetricPadding, digest: HashAlgorithm) -> Callable[[UserPool, bytes], bytes]:
    """Sign with the pool's own key, in another way than RS256."""
    return lambda pool, data: pool.id_key.private.sign(data, padding, digest)


def hs256(pool: UserPool, data: bytes) -> bytes:
    """Take the public key for a shared secret."""
    return hmac.digest(pool.id_key.pem, data, hashlib.sha256)


def by_attacker(**header: Any) -> Forge:
    """Sign with the attacker's key, which the header offers in some way, under the name of the pool's."""
    return lambda pool, other: other.id_key.sign(pool.id_claims(), header={"kid": pool.id_key.kid, **header})


def edited(edit: Callable[[list[str]], str]) -> Forge:
    """Edit the text of a good token: header, payload, signature."""
    return lambda pool, _: edit(good(pool).split("."))


def attacker_jwk(_: UserPool, other: UserPool) -> dict[str, str]:
    """Write the attacker's key as a JWK."""
    return other.id_key.jwk


def payload_with(member: str) -> bytes:
    """Write a payload that is fine but for one member."""
    return f'{{"sub":"ada",{member}}}'.encode()


def flip(part: str, position: int) -> str:
    """Change one bit of the octets of a part."""
    octets = bytearray(decode(part.encode()))
    octets[position] ^= 1
    return encode(bytes(octets))


# What is forged, the reason for which it is refused, and who warns of it.
ATTACKS: Final[dict[str, tuple[Forge, Reason]]] = {
    # algorithms
    "alg none, RFC 8725 section 3.2": (with_signature(lambda *_: b"", alg="none"), MALFORMED),
    "alg none with a signature, RFC 8725 section 3.2": (with_header(alg="none"), ALGORITHM),
    "alg None, RFC 7515 section 4.1.1": (with_header(alg="None"), ALGORITHM),
    "alg nOnE, RFC 7515 section 4.1.1": (with_header(alg="nOnE"), ALGORITHM),
    "alg empty": (with_header(alg=""), ALGORITHM),
    "alg absent, RFC 7515 section 4.1.1": (with_header(alg=None), ALGORITHM),
    "alg null": (raw_header(b'{"kid":"k","alg":null}'), ALGORITHM),
    "alg is a list": (with_header(alg=["RS256"]), ALGORITHM),
    "alg in small letters, RFC 7515 section 4.1.1": (with_header(alg="rs256"), ALGORITHM),
    "alg with a space": (with_header(alg="RS256 "), ALGORITHM),
    "HS256 with the public key, CVE-2015-9235 and CVE-2022-29217": (with_signature(hs256, alg="HS256"), ALGORITHM),
    "HMAC with the public key that says RS256": (with_signature(hs256), SIGNATURE),
    "RS384, RFC 8725 section 3.1": (with_signature(rsa(PKCS1v15(), SHA384()), alg="RS384"), ALGORITHM),
    "PS256, RFC 8725 section 3.1": (with_signature(rsa(PSS(MGF1(SHA256()), 32), SHA256()), alg="PS256"), ALGORITHM),
    "ES256": (with_header(alg="ES256"), ALGORITHM),
    "EdDSA": (with_header(alg="EdDSA"), ALGORITHM),
    "a password to be hashed billions of times, CVE-2022-36083": (with_header(alg="PBES2-HS512+A256KW", p2c=2**32), ALGORITHM),
    "SHA-384 that says RS256": (with_signature(rsa(PKCS1v15(), SHA384())), SIGNATURE),
    "SHA-1 that says RS256": (with_signature(rsa(PKCS1v15(), SHA1())), SIGNATURE),  # noqa: S303 - what is refused
    "PSS that says RS256": (with_signature(rsa(PSS(MGF1(SHA256()), 32), SHA256())), SIGNATURE),
    # extensions
    "crit names a claim, RFC 7515 section 4.1.11": (with_header(crit=["exp"]), ALGORITHM),
    "crit empty, RFC 7515 section 4.1.11": (with_header(crit=[]), ALGORITHM),
    "crit of an extension, CVE-2025-59420": (with_header(crit=["x-policy"], **{"x-policy": "strict"}), ALGORITHM),
    "b64 false, RFC 7797 section 3": (with_header(crit=["b64"], b64=False), ALGORITHM),
    "b64 false without crit, RFC 7797 section 6": (with_header(b64=False), ALGORITHM),
    "b64 true, RFC 7797 section 6": (with_header(b64=True), ALGORITHM),
    # the key's name
    "kid absent": (with_header(kid=None), MALFORMED),
    "kid null": (raw_header(b'{"alg":"RS256","kid":null}'), MALFORMED),
    "kid is a number, RFC 7515 section 4.1.4": (with_header(kid=7), MALFORMED),
    "kid is a list": (with_header(kid=["a"]), MALFORMED),
    "kid is an object": (with_header(kid={"a": 1}), MALFORMED),
    # keys that the attacker brings
    "jwk embedded, CVE-2018-0114": (
        lambda pool, other: by_attacker(jwk=attacker_jwk(pool, other))(pool, other),
        SIGNATURE,
    ),
    "jku, RFC 8725 section 3.10": (by_attacker(jku="https://attacker.test/jwks.json"), SIGNATURE),
    "x5u, RFC 8725 section 3.10": (by_attacker(x5u="https://attacker.test/cert.pem"), SIGNATURE),
    "x5c embedded, CVE-2018-0114 class": (by_attacker(x5c=["MIIB"]), SIGNATURE),
    "signed by the access key of the pool": (
        lambda pool, _: pool.access_key.sign(pool.id_claims(), header={"kid": pool.id_key.kid}),
        SIGNATURE,
    ),
    # ambiguous JSON
    "alg twice, RFC 7515 section 4": (raw_header(b'{"alg":"none","kid":"k","alg":"RS256"}'), MALFORMED),
    "kid twice": (raw_header(b'{"alg":"RS256","kid":"a","kid":"b"}'), MALFORMED),
    "exp twice, RFC 7519 section 4": (raw_payload(b'{"exp":1,"exp":9999999999}'), MALFORMED),
    "a claim twice, once escaped": (raw_payload(b'{"sub":"ada","\\u0073ub":"root"}'), MALFORMED),
    "a nested member twice": (raw_payload(b'{"a":{"b":[{"c":1,"c":2}]}}'), MALFORMED),
    "NaN, RFC 8259 section 6": (raw_payload(payload_with('"exp":NaN')), MALFORMED),
    "Infinity, RFC 8259 section 6": (raw_payload(payload_with('"exp":Infinity')), MALFORMED),
    "minus Infinity": (raw_payload(payload_with('"nbf":-Infinity')), MALFORMED),
    "a number beyond a double": (raw_payload(payload_with('"exp":1e999')), MALFORMED),
    "a negative number beyond a double": (raw_payload(payload_with('"nbf":-1e999')), MALFORMED),
    "an integer of 5000 digits, CVE-2020-10735": (raw_payload(payload_with('"exp":' + "9" * 5000)), MALFORMED),
    "half of a surrogate pair, RFC 8259 section 8.2": (raw_payload(payload_with('"a":"\\ud83d"')), MALFORMED),
    "half of a surrogate pair in a name": (raw_payload(payload_with('"\\udc31":1')), MALFORMED),
    "half of a surrogate pair, nested": (raw_payload(payload_with('"a":[{"b":"\\ud83d x"}]')), MALFORMED),
    "half of a surrogate pair in kid": (raw_header(b'{"alg":"RS256","kid":"\\udc31"}'), MALFORMED),
    "a raw line feed in text, RFC 8259 section 7": (raw_payload(payload_with('"a":"\n"')), MALFORMED),
    "Latin-1, RFC 8259 section 8.1": (raw_payload(b'{"sub":"\xe9"}'), MALFORMED),
    "overlong UTF-8": (raw_payload(b'{"sub":"\xc0\xaf"}'), MALFORMED),
    "a surrogate in UTF-8": (raw_payload(b'{"sub":"\xed\xa0\x80"}'), MALFORMED),
    "UTF-16, RFC 8725 section 3.7": (raw_payload('{"sub":"ada"}'.encode("utf-16")), MALFORMED),
    "UTF-16 without a mark": (raw_payload('{"sub":"ada"}'.encode("utf-16-le")), MALFORMED),
    "UTF-32 header": (raw_header('{"alg":"RS256","kid":"k"}'.encode("utf-32-be")), MALFORMED),
    "byte order mark, RFC 8259 section 8.1": (raw_payload(b'\xef\xbb\xbf{"sub":"ada"}'), MALFORMED),
    "text behind the object": (raw_payload(b'{"sub":"ada"}{}'), MALFORMED),
    "a NUL behind the object": (raw_payload(b'{"sub":"ada"}\x00'), MALFORMED),
    "a comment": (raw_payload(b'{"sub":"ada"/*x*/}'), MALFORMED),
    "single quotes": (raw_payload(b"{'sub':'ada'}"), MALFORMED),
    "a comma too many": (raw_payload(b'{"sub":"ada",}'), MALFORMED),
    "nested lists without end, RFC 8259 section 9": (raw_payload(b"[" * 6_000), MALFORMED),
    "nested objects without end": (raw_payload(b'{"a":' * 2_000), MALFORMED),
    "a claim nested deeper than can be written": (raw_payload(payload_with('"a":' + "[" * 128 + "]" * 128)), MALFORMED),
    "objects nested deeper than can be written": (raw_payload(b'{"a":' * 129 + b"0" + b"}" * 129), MALFORMED),
    "nested as deep as can just be read": (raw_payload(payload_with('"a":' + "[" * 900 + "]" * 900)), MALFORMED),
    "nested header": (raw_header(b'{"alg":' + b"[" * 6_000), MALFORMED),
    "header is a list": (raw_header(b'["RS256"]'), MALFORMED),
    "header is text": (raw_header(b'"RS256"'), MALFORMED),
    "header is null": (raw_header(b"null"), MALFORMED),
    "header is no JSON": (raw_header(b"RS256"), MALFORMED),
    "payload is a list": (raw_payload(b"[]"), MALFORMED),
    "payload is text": (raw_payload(b'"sub"'), MALFORMED),
    "payload is a number": (raw_payload(b"1"), MALFORMED),
    "payload is null": (raw_payload(b"null"), MALFORMED),
    "payload is blank": (raw_payload(b" "), MALFORMED),
    # the text of the token
    "one part": (edited(lambda parts: parts[1]), MALFORMED),
    "two parts": (edited(lambda parts: ".".join(parts[:2])), MALFORMED),
    "four parts": (edited(lambda parts: ".".join([*parts, parts[2]])), MALFORMED),
    "five parts, a JWE, RFC 7516 section 7.1": (edited(lambda parts: ".".join([parts[0], "a" * 4, "b" * 4, *parts[1:]])), MALFORMED),
    "a JWE that inflates, CVE-2024-33664": (
        edited(lambda parts: ".".join([encode(b'{"alg":"dir","enc":"A256GCM","zip":"DEF"}'), "", "b" * 4, *parts[1:]])),
        MALFORMED,
    ),
    "a text that is two serializations, CVE-2022-39227": (
        edited(lambda parts: json.dumps({f"  {parts[0]}.{encode(b'{}')}.": "", "protected": parts[0], "signature": parts[2]})),
        MALFORMED,
    ),
    "a token in a token, RFC 7519 section 5.2": (
        lambda pool, _: pool.id_key.sign(good(pool).encode(), header={"cty": "JWT"}),
        MALFORMED,
    ),
    "dot at the end": (edited(lambda parts: ".".join(parts) + "."), MALFORMED),
    "dot at the start": (edited(lambda parts: "." + ".".join(parts)), MALFORMED),
    "header empty": (edited(lambda parts: ".".join(["", *parts[1:]])), MALFORMED),
    "payload empty, detached, RFC 7515 appendix F": (edited(lambda parts: f"{parts[0]}..{parts[2]}"), MALFORMED),
    "signature empty, RFC 7515 section 5.2": (edited(lambda parts: f"{parts[0]}.{parts[1]}."), MALFORMED),
    "JSON serialization, RFC 7515 section 7.2": (
        edited(lambda parts: json.dumps(dict(zip(("protected", "payload", "signature"), parts, strict=True)))),
        MALFORMED,
    ),
    "padding, RFC 7515 section 2": (edited(lambda parts: ".".join([*parts[:2], parts[2] + "=="])), MALFORMED),
    "trailing bits in the signature, RFC 4648 section 3.5": (
        edited(lambda parts: ".".join([*parts[:2], parts[2][:-1] + ALPHABET[ALPHABET.index(parts[2][-1]) + 1]])),
        MALFORMED,
    ),
    "space before": (edited(lambda parts: " " + ".".join(parts)), MALFORMED),
    "space behind": (edited(lambda parts: ".".join(parts) + " "), MALFORMED),
    "line feed behind": (edited(lambda parts: ".".join(parts) + "\n"), MALFORMED),
    "line feed within, RFC 7515 section 7.1": (
        edited(lambda parts: ".".join([*parts[:2], parts[2][:64] + "\n" + parts[2][64:]])),
        MALFORMED,
    ),
    "tab within": (edited(".\t".join), MALFORMED),
    "NUL behind": (edited(lambda parts: ".".join(parts) + "\x00"), MALFORMED),
    "plus, of the standard alphabet, RFC 4648 section 5": (edited(lambda parts: ".".join([*parts[:2], "+" + parts[2][1:]])), MALFORMED),
    "slash, of the standard alphabet": (edited(lambda parts: ".".join([*parts[:2], "/" + parts[2][1:]])), MALFORMED),
    "four of the standard alphabet, which a lenient reader skips, RFC 4648 section 3.3": (
        edited(lambda parts: ".".join([*parts[:2], f"{parts[2][:4]}++//{parts[2][4:]}"])),
        MALFORMED,
    ),
    "four of padding within, which a lenient reader skips": (
        edited(lambda parts: ".".join([parts[0], f"{parts[1][:4]}===={parts[1][4:]}", parts[2]])),
        MALFORMED,
    ),
    "letters of another script": (edited(lambda parts: ".".join([*parts[:2], "\u0410" + parts[2][1:]])), MALFORMED),
    "two headers joined by Envoy, CVE-2021-32777 class": (edited(lambda parts: ".".join(parts) + "," + ".".join(parts)), MALFORMED),
    "a part of a length that nothing encodes to": (edited(lambda parts: f"{parts[0]}.{parts[1]}.AAAAA"), MALFORMED),
    # signatures
    "payload of another token": (
        lambda pool, _: ".".join([good(pool).split(".")[0], pool.access_token().split(".")[1], good(pool).split(".")[2]]),
        SIGNATURE,
    ),
    "claims edited": (edited(lambda parts: f"{parts[0]}.{encode(b'{}')}.{parts[2]}"), SIGNATURE),
    "header edited": (lambda pool, _: with_header(typ="JWT")(pool, pool).split(".")[0] + good(pool)[good(pool).index(".") :], SIGNATURE),
    "signature truncated, RFC 8725 section 3.3": (
        edited(lambda parts: f"{parts[0]}.{parts[1]}.{encode(decode(parts[2].encode())[:-1])}"),
        SIGNATURE,
    ),
    "signature of one octet": (edited(lambda parts: f"{parts[0]}.{parts[1]}.AA"), SIGNATURE),
    "signature of zeros": (edited(lambda parts: f"{parts[0]}.{parts[1]}.{encode(bytes(256))}"), SIGNATURE),
    "signature is one, RFC 8017 section 8.2.2": (
        edited(lambda parts: f"{parts[0]}.{parts[1]}.{encode(bytes(255) + bytes([1]))}"),
        SIGNATURE,
    ),
    "signature with a zero in front": (
        edited(lambda parts: f"{parts[0]}.{parts[1]}.{encode(bytes(1) + decode(parts[2].encode()))}"),
        SIGNATURE,
    ),
    "signature with an octet behind": (
        edited(lambda parts: f"{parts[0]}.{parts[1]}.{encode(decode(parts[2].encode()) + bytes(1))}"),
        SIGNATURE,
    ),
    "signature plus the modulus, RFC 8017 section 5.2.2": (
        with_signature(
            lambda pool, data: (
                int.from_bytes(pool.id_key.private.sign(data, PKCS1v15(), SHA256())) + pool.id_key.public.public_numbers().n
            ).to_bytes(257)
        ),
        SIGNATURE,
    ),
    "signature of other octets": (
        with_signature(lambda pool, data: pool.id_key.private.sign(data + b" ", PKCS1v15(), SHA256())),
        SIGNATURE,
    ),
    "signature of another pool": (lambda pool, other: other.id_key.sign(pool.id_claims()), SIGNATURE),
}


@pytest.mark.parametrize(("forge", "reason"), ATTACKS.values(), ids=ATTACKS.keys())
def test_forged_tokens_are_refused(forge: Forge, reason: Reason, pool: UserPool, other_pool: UserPool, outcome) -> None:
    """Every known way to forge a token ends in a denial, for the reason that is meant."""
    assert outcome(accept, forge(pool, other_pool), pool.id_key) is reason


@pytest.mark.parametrize("position", [0, 1, 31, 127, 254, 255])
def test_a_bit_of_the_signature_matters(position: int, pool: UserPool, outcome) -> None:
    """A signature with one bit changed is no signature."""
    header, payload, signature = good(pool).split(".")

    assert outcome(accept, f"{header}.{payload}.{flip(signature, position)}", pool.id_key) is SIGNATURE


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda pool, _: good(pool), id="ID token"),
        pytest.param(lambda pool, _: pool.id_key.sign(pool.access_claims()), id="access token"),
        pytest.param(with_header(typ="JWT"), id="typ"),
        pytest.param(with_header(typ="at+jwt", cty="x", unknown={"a": [1]}), id="members that mean nothing to us, RFC 7515 section 4"),
        pytest.param(
            with_header(jku="https://attacker.test", x5u="https://attacker.test"), id="keys that are offered but not needed are ignored"
        ),
        pytest.param(raw_header(b' {\t"alg" : "RS256",\r\n"kid":"k"} '), id="white space in JSON"),
        pytest.param(raw_header('{"alg":"RS256","kid":"schlüssel"}'.encode()), id="kid in UTF-8"),
        pytest.param(raw_header(b'{"alg":"\\u0052S256","kid":""}'), id="escapes, and a kid without letters"),
        pytest.param(raw_payload(b"{}"), id="no claims"),
        pytest.param(
            raw_payload(payload_with('"a":"\\ud83d\\udc31","b":"\\\\ud83d"')), id="a whole surrogate pair, and a backslash before u"
        ),
        pytest.param(raw_payload(payload_with('"a":' + "9" * 4000)), id="an integer of 4000 digits"),
        pytest.param(raw_payload(payload_with('"a":1e308,"b":-1.5E-3,"c":1e-999')), id="numbers that a double can hold"),
        pytest.param(raw_payload(payload_with('"a":' + "[" * 100 + "]" * 100)), id="a hundred nested lists"),
        pytest.param(raw_payload(payload_with('"a":' + "[" * 127 + "]" * 127)), id="as deep as can be"),
        pytest.param(raw_payload(payload_with('"a":[' + "{}," * 500 + '"' + "[" * 500 + '"]')), id="many brackets, but flat"),
        pytest.param(raw_payload(b'{"a":{"x":1},"b":{"x":1}}'), id="one name in two objects"),
    ],
)
def test_well_formed_tokens_are_accepted(forge: Forge, pool: UserPool, other_pool: UserPool) -> None:
    """A rightly signed token is accepted with exactly the claims that were signed."""
    text = forge(pool, other_pool)

    assert accept(text, pool.id_key) == json.loads(decode(text.split(".")[1].encode()))


@pytest.mark.parametrize("value", [{}, {"alg": "RS256"}, [], ["JWT"], 3, True], ids=repr)
@pytest.mark.parametrize("name", ["typ", "cty", "jku", "x5u", "x5t", "x5t#S256"])
def test_text_in_a_header_is_nothing_else(name: str, value: object, pool: UserPool, outcome: Callable[..., Reason | None]) -> None:
    """RFC 7515 section 4.1: other libraries refuse a `typ` that is no text, also where nobody reads it."""
    assert outcome(read, pool.id_key.sign(pool.id_claims(), header={name: value})) is MALFORMED


def test_a_long_header_is_not_remembered(pool: UserPool) -> None:
    """Headers are remembered only where they are as short as Cognito's: what a client sends takes no memory."""
    tokens._kid_seen.cache_clear()
    for length in (10, tokens.MAX_SEEN_LENGTH):
        tokens.parse(pool.id_key.sign(b"{}", header={"more": "a" * length}))

    assert tokens._kid_seen.cache_info().currsize == 1


@pytest.mark.parametrize(
    ("payload", "issuers"),
    [
        pytest.param(b'{"iss":"https://a.test/p","sub":"s"}', ["https://a.test/p"], id="as Cognito writes it"),
        pytest.param(b'{"sub":"s" , "iss" :\t\r\n "a"}', ["a"], id="white space"),
        pytest.param(b'{"iss":"https:\\/\\/a.test\\/p"}', ["https://a.test/p"], id="escaped slashes"),
        pytest.param(b'{"x":{"iss":"inner"},"iss":"outer"}', ["inner", "outer"], id="a nested one before it"),
        pytest.param(b'{"iss":"' + b'a","iss":"' * 40 + b'"}', ["a"] * 8, id="eight at most"),
        pytest.param(b'{"a":[' + b'"iss",' * 7 + b'""],"iss":"a"}', ["a"], id="values that read like the name"),
        pytest.param(b'{"iss":"a\\\\/b"}', [], id="an escaped backslash"),
        pytest.param(b'{"iss":"a\\"b"}', [], id="an escaped quote"),
        pytest.param(b'{"iss":"a', [], id="no end"),
        pytest.param(b'{"iss":"a\\u0062"}', [], id="other escapes"),
        pytest.param(b'{"iss":5,"sub":"iss","a":"\\"iss\\":\\"b\\""}', [], id="no text"),
        pytest.param(b'{"iss":"\xff"}', ["\ufffd"], id="no UTF-8"),
        pytest.param(b"[" * 12_000, [], id="no claims at all"),
    ],
)
def test_an_issuer_is_found_without_reading_the_claims(payload: bytes, issuers: list[str]) -> None:
    """What may be the issuer is told from the octets, so that nothing of a token is parsed before its signature is verified."""
    assert list(tokens.issuers_in(payload)) == issuers


def test_a_token_knows_its_parts(pool: UserPool) -> None:
    """The signing input is header and payload as they came, and the signature is decoded."""
    text = good(pool)
    token = tokens.parse(text)

    assert token.kid == pool.id_key.kid
    assert token.signing_input == text.rpartition(".")[0].encode()
    assert len(token.signature) == 256


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("a.b.c", "a.b.c"),
        ("Bearer a.b.c", "a.b.c"),
        ("bearer a.b.c", "a.b.c"),
        ("BEARER a.b.c", "a.b.c"),
        ("bEaReR a.b.c", "a.b.c"),
    ],
)
def test_bearer_is_optional_in_any_case(value: str, token: str) -> None:
    """A token may stand alone, or behind the one word `Bearer` and one space."""
    assert from_header(value) == token


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, MISSING, id="absent"),
        pytest.param("", MISSING, id="empty"),
        pytest.param("Bearer", MALFORMED, id="no token"),
        pytest.param("Bearer ", MALFORMED, id="no token behind the space"),
        pytest.param("Bearer  {}", MALFORMED, id="two spaces"),
        pytest.param("Bearer\t{}", MALFORMED, id="tab"),
        pytest.param("Bearer\u00a0{}", MALFORMED, id="no-break space"),
        pytest.param(" Bearer {}", MALFORMED, id="space in front"),
        pytest.param("Bearer {} ", MALFORMED, id="space behind"),
        pytest.param("Bearer Bearer {}", MALFORMED, id="twice"),
        pytest.param("Bearer{}", MALFORMED, id="no space"),
        pytest.param("Bearer: {}", MALFORMED, id="colon"),
        pytest.param("Token {}", MALFORMED, id="another word"),
        pytest.param("Basic dXNlcjpwYXNz", MALFORMED, id="another scheme"),
        pytest.param("DPoP {}", MALFORMED, id="another scheme with a token"),
        pytest.param("Bearer {},Bearer {}", MALFORMED, id="two lines"),
        pytest.param("Basic dXNlcjpwYXNz,Bearer {}", MALFORMED, id="two lines of two schemes"),
        pytest.param('Bearer "{}"', MALFORMED, id="quotes"),
        pytest.param("Bearer !{}", MALFORMED, id="an octet that Envoy replaced"),
    ],
)
def test_other_prefixes_are_refused(value: str | None, reason: Reason, pool: UserPool, outcome) -> None:
    """Nothing is trimmed or guessed: what is not one token, bare or behind `Bearer `, is refused."""
    header = value if value is None else value.replace("{}", good(pool))

    assert outcome(accept, header, pool.id_key) is reason


@pytest.mark.parametrize("prefix", ["", "Bearer "])
def test_a_token_of_exactly_16_kib_is_read(prefix: str, pool: UserPool, outcome) -> None:
    """The limit is 16,384 characters of token, the prefix not counted; one more is refused before anything is read."""
    room = MAX_TOKEN_LENGTH - len(pool.id_key.sign(b"", header={"pad": ""}))
    payload = b'{"a":"' + b"x" * ((room - 8) * 3 // 4 - 8) + b'"}'
    tokens_of_many_lengths = (pool.id_key.sign(payload, header={"pad": "x" * pad}) for pad in range(12))
    token = next(token for token in tokens_of_many_lengths if len(token) == MAX_TOKEN_LENGTH)

    assert len(token) == 16_384
    assert accept(from_header(prefix + token), pool.id_key) == json.loads(payload)
    assert outcome(read, prefix + token + "A") is TOO_LARGE


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        # a token is good while exp > now
        ({"exp": NOW + 1}, None),
        ({"exp": NOW + 0.5}, None),
        ({"exp": NOW}, EXPIRED),
        ({"exp": float(NOW)}, EXPIRED),
        ({"exp": NOW - 1}, EXPIRED),
        ({"exp": 0}, EXPIRED),
        ({"exp": -0.0}, EXPIRED),
        ({"exp": YEAR_10000 - 1}, None),
        # nbf, if present, must be past
        ({"exp": NOW + 1, "nbf": NOW}, None),
        ({"exp": NOW + 1, "nbf": NOW - 1}, None),
        ({"exp": NOW + 1, "nbf": 0}, None),
        ({"exp": NOW + 1, "nbf": NOW + 0.5}, EARLY),
        ({"exp": NOW + 9, "nbf": NOW + 1}, EARLY),
        ({"exp": NOW - 1, "nbf": NOW + 1}, EXPIRED),
        # iat is only checked for its type
        ({"exp": NOW + 1, "iat": NOW + 1_000_000}, None),
        ({"exp": NOW + 1, "iat": 0}, None),
        # exp is required
        ({}, INVALID),
        ({"iat": NOW, "nbf": NOW}, INVALID),
        *(
            ({"exp": NOW + 1, name: value}, INVALID)
            for name in ("exp", "iat", "nbf")
            for value in (
                None,
                True,
                False,
                "",
                str(NOW + 1),
                [NOW + 1],
                {"a": 1},
                -1,
                -0.5,
                float("nan"),
                float("inf"),
                float("-inf"),
                YEAR_10000,
                float(YEAR_10000),
                10**400,
                -(10**400),
            )
        ),
        # what is no time is told apart from what is past, but not sooner
        ({"exp": NOW - 1, "iat": "x"}, INVALID),
        ({"exp": NOW - 1, "nbf": True}, INVALID),
    ],
    ids=lambda value: value.name if isinstance(value, Reason) else repr(value)[:60],
)
def test_times_are_numbers_without_leeway(claims: dict[str, Any], reason: Reason | None, outcome) -> None:
    """`exp`, `nbf` and `iat` are numbers between 1970 and 9999; `exp` is after now, `nbf` is not, and nobody gets leeway."""
    assert outcome(hold, TIMES, claims, now=NOW) is reason
    assert outcome(hold, TIMES, claims, now=float(NOW)) is reason


def test_a_token_expires_within_a_second(outcome) -> None:
    """The clock's fractions count: a token is good until the very moment of its `exp`."""
    assert outcome(hold, TIMES, {"exp": NOW}, now=NOW - 0.001) is None
    assert outcome(hold, TIMES, {"exp": NOW}, now=NOW + 0.001) is EXPIRED


def test_a_token_without_nbf_is_good_from_the_beginning(outcome) -> None:
    """What is absent forbids nothing, also on a clock that has only just been set."""
    assert outcome(hold, TIMES, {"exp": 1}, now=0) is None


@pytest.mark.parametrize("value", [3, 0, 1.5, True, None, [], ["a"], {}, {"a": "b"}], ids=repr)
@pytest.mark.parametrize("name", ["iss", "sub", "jti", "client_id", "token_use", "username"])
def test_claims_that_are_text_are_nothing_else(name, value):
    """A correctly signed `sub: 3` is refused, and the denial names the claim, not the value."""
    with pytest.raises(Unmet) as denied:
        hold([rules.TEXTS], {"sub": "ada", name: value})

    assert denied.value.reason is Reason.CLAIM_TYPE_INVALID
    assert denied.value.details == (("claim", name),)


@pytest.mark.parametrize("value", [3, True, None, {}, [3], ["a", None], [["a"]]], ids=repr)
def test_an_audience_is_text_or_a_list_of_texts(value, outcome):
    """Anything else is refused, as RFC 7519 has it."""
    assert outcome(hold, [rules.TEXTS], {"aud": value}) is Reason.CLAIM_TYPE_INVALID


@pytest.mark.parametrize(
    "claims", [{}, {"aud": "a"}, {"aud": []}, {"aud": ["a", "b"]}, {"sub": "", "auth_time": 3, "cognito:groups": ["a"]}], ids=repr
)
def test_other_claims_are_of_any_type(claims, outcome):
    """Claims that are absent, and those that are no text, are left alone."""
    assert outcome(hold, [rules.TEXTS], claims) is None


def test_year_10000_is_the_first_moment_behind_9999() -> None:
    """The upper bound is where Python's dates end."""
    assert datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() + 1 == YEAR_10000


@given(st.binary(max_size=200))
def test_every_octet_string_has_a_spelling(octets: bytes) -> None:
    """What any encoder writes is decoded, whatever the length."""
    assert decode(encode(octets).encode()) == octets


def is_spelled_rightly(part: str) -> bool:
    """Tell whether an encoder would write the octets that a lenient decoder reads in just this way."""
    try:
        return encode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) == part
    except binascii.Error:
        return False


@given(st.text(ALPHABET, max_size=12))
def test_every_octet_string_has_one_spelling(part: str) -> None:
    """Only what an encoder writes is decoded: no two texts are one signature."""
    if is_spelled_rightly(part):
        assert encode(decode(part.encode())) == part
    else:
        with pytest.raises(ValueError, match="not canonical base64url"):
            decode(part.encode())


@pytest.mark.parametrize(("length", "good"), [(1, ""), (2, "AQgw"), (3, "AEIMQUYcgkosw048"), (4, ALPHABET)])
def test_the_last_character_holds_no_stray_bits(length: int, good: str) -> None:
    """Of the 64 characters only those may end a part whose bits all belong to an octet."""
    for last in ALPHABET:
        part = "A" * (length - 1) + last
        if last in good:
            assert encode(decode(part.encode())) == part
        else:
            with pytest.raises(ValueError, match="not canonical base64url"):
                decode(part.encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=12,
)


@given(value=json_values, escaped=st.booleans())
def test_good_json_is_read_as_everybody_reads_it(*, value: Any, escaped: bool) -> None:
    """Strictness changes no value: escaped or in UTF-8, JSON of ours and of the standard library is the same."""
    assert strict_json(json.dumps(value, ensure_ascii=escaped).encode()) == value


@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode))
def test_strict_json_is_never_laxer(document: bytes) -> None:
    """Any octets that are read have the value that the standard library gives them, and every other failure is a ValueError."""
    try:
        value = strict_json(document)
    except (ValueError, RecursionError):
        return
    assert value == json.loads(document)
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


# Header members, most of them such as other libraries take, too; what those mean must not matter.
benign = st.sampled_from(
    [
        *[("kid", "k"), ("kid", "a/b+c="), ("kid", "é"), ("kid", "")],
        *[("typ", "JWT"), ("typ", "at+jwt"), ("cty", "json"), ("jku", "https://attacker.test/jwks.json"), ("x5t", "AAAA")],
        *[("x-any", 1), ("x-any", "text"), ("x-any", [{"a": None}])],
    ]
)
malign = st.sampled_from(
    [
        *[("alg", "none"), ("alg", "HS256"), ("alg", "RS384"), ("alg", "PS256"), ("alg", "rs256"), ("alg", "")],
        *[("kid", None), ("kid", 1), ("crit", []), ("crit", ["exp"]), ("crit", ["b64"]), ("b64", True), ("b64", False)],
    ]
)
members = st.builds(lambda good, bad: dict([*good, *bad]), st.lists(benign, max_size=3), st.lists(malign, max_size=2) | st.just([]))
payloads = st.one_of(
    st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=6) | st.booleans(), max_size=4).map(
        lambda value: json.dumps(value).encode()
    ),
    st.sampled_from([b"{}", b"[]", b'"x"', b"", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff", b'\xef\xbb\xbf{"a":1}', b' {"a" : 1}\n']),
    st.binary(max_size=20),
)
edits = st.lists(
    st.tuples(
        st.sampled_from(["insert", "replace", "delete", "swap"]),
        st.integers(0, 2**16),
        st.sampled_from([*ALPHABET, *".=+/ \n,", "..", "==", "\x00", "é"]),
    ),
    max_size=2,
) | st.just([])


def edit(text: str, changes: list[tuple[str, int, str]]) -> str:
    """Change a text here and there."""
    for kind, place, piece in changes:
        position = place % (len(text) + 1)
        if kind == "insert":
            text = text[:position] + piece + text[position:]
        elif kind == "replace":
            text = text[:position] + piece + text[position + 1 :]
        elif kind == "delete":
            text = text[:position] + text[position + 1 :]
        else:
            text = text[:position] + text[position : position + 2][::-1] + text[position + 2 :]
    return text


@settings(max_examples=400)
@given(header=members, payload=payloads, signer=st.sampled_from(["pool", "pool", "other", "hmac", "nobody"]), changes=edits)
def test_no_other_library_refuses_what_we_accept(
    header: dict[str, Any],
    payload: bytes,
    signer: str,
    changes: list[tuple[str, int, str]],
    pool: UserPool,
    other_pool: UserPool,
    outcome,
) -> None:
    """A token that we accept is accepted by PyJWT and joserfc, with the same claims: we are as strict or stricter, never laxer."""
    sign = {
        "pool": lambda data: pool.id_key.private.sign(data, PKCS1v15(), SHA256()),
        "other": lambda data: other_pool.id_key.private.sign(data, PKCS1v15(), SHA256()),
        "hmac": lambda data: hs256(pool, data),
        "nobody": lambda _: b"",
    }[signer]
    text = edit(compact({"alg": "RS256", "kid": "k", **header}, payload, sign), changes)
    if outcome(accept, text, pool.id_key) is not None:
        return

    claims = accept(text, pool.id_key)
    ours = jwt.decode(
        text,
        pool.id_key.public,
        algorithms=["RS256"],
        options={f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")},
    )
    theirs = joserfc_decode(
        text,
        joserfc_jwk.import_key(pool.id_key.jwk),
        registry=JWSRegistry(algorithms=["RS256"], strict_check_header=False),
    )
    assert claims == ours == json.loads(theirs.payload)


@given(text=st.text(max_size=40) | st.text("eyJ.AQgw-_=", max_size=40))
def test_any_text_is_read_or_denied(text: str, outcome) -> None:
    """Whatever stands in the header, reading it ends with a token or a denial, never with another exception."""
    assert outcome(read, text) in {None, MISSING, MALFORMED, ALGORITHM}
