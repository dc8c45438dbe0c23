"""Whatever a key set document says, no weak key comes of it. An input is the document."""

import gzip
import json
import random
from typing import Any

from joserfc.jwk import RSAKey

from authz_server.keys.jwks import JwksError, parse
from authz_server.testing import UserPool
from fuzz.mutation import Mutate, spliced

MIN_BITS = 2_048
GZIP = b"\x1f\x8b"
POOL = UserPool("eu-west-1_Fuzzed001")
WORDS = tuple(
    word.encode()
    for word in (
        *('{"keys":[', "]}", "{", "}", "[", "]", ",", ":", '"', "null", "true", "1e999", "-1", "\\u0000", "\\ud83d", "NaN"),
        *('"kid":', '"kty":', '"n":', '"e":', '"use":', '"alg":', '"d":', '"p":', '"oth":', '"x5c":', '"key_ops":'),
        *('"RSA"', '"EC"', '"oct"', '"sig"', '"enc"', '"RS256"', '"RS512"', '"none"', '"AQAB"', '"AQ"', '"AA"', '"AQAA"', '"Aw"', '"k"'),
        '"gAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"',
    )
)


def run(octets: bytes) -> None:
    """Hold that a document gives strong keys, each as it stands there, or an error.

    Raises:
        AssertionError: when it does not hold.
    """
    try:
        found = parse(octets)
    except JwksError:
        return
    entries = json.loads(gzip.decompress(octets) if octets.startswith(GZIP) else octets)["keys"]
    assert found.keys
    for kid, key in found.keys.items():
        numbers = key.rsa.public_numbers()
        assert key.kid == kid
        assert numbers.n.bit_length() >= MIN_BITS
        assert numbers.n % 2 == 1
        assert numbers.e > 1
        assert numbers.e % 2 == 1
        assert any(_is(entry, kid, numbers.n, numbers.e) for entry in entries), "another library reads another key"
    ours = [entry for entry in entries if not (isinstance(entry, dict) and _is_for_something_else(entry))]
    assert len(found.keys) + len(found.skipped) == len(ours), (
        "each key is used, or a word is said about it, unless it is for something else"
    )


def _is_for_something_else(entry: dict[str, Any]) -> bool:
    """Whether a key is for encryption, or names what it is for, and verifying is not in it."""
    names = entry.get("key_ops")
    return entry.get("use") == "enc" or (isinstance(names, list) and "verify" not in names and all(isinstance(name, str) for name in names))


def _is(entry: Any, kid: str, n: int, e: int) -> bool:
    """Whether an entry says this key; base64url that joserfc refuses is read leniently by PyJWT, and never as a weak key."""
    if not isinstance(entry, dict) or not {"kid", "kty", "n", "e"} <= entry.keys() or (entry["kid"], entry["kty"]) != (kid, "RSA"):
        return False
    if entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") != "RS256":
        return False
    try:
        numbers = RSAKey.import_key({name: entry[name] for name in ("kty", "n", "e")}).public_key.public_numbers()
    except ValueError:
        return True
    return (numbers.n, numbers.e) == (n, e)


def mutate(octets: bytes, chance: random.Random, anyhow: Mutate) -> bytes:
    """Put members of keys where they may or may not belong."""
    return spliced(octets, chance, anyhow, WORDS)


def seeds() -> dict[str, bytes]:
    """Make inputs to begin with: a set of both keys, and of keys that are no good."""
    jwk = POOL.id_key.jwk
    bad = [
        {**jwk, "kid": "k", **change}
        for change in (
            {"use": "enc"},
            {"key_ops": ["encrypt"]},
            {"key_ops": "verify"},
            {"alg": "RS512"},
            {"e": "AQ"},
            {"n": "AQAB"},
            {"kty": "EC"},
        )
    ]
    return {
        "good": POOL.jwks_document(),
        "packed": gzip.compress(POOL.jwks_document(), mtime=0),
        "mixed": json.dumps({"keys": [*bad, jwk]}).encode(),
        "small": json.dumps({"keys": [{"kid": "k", "kty": "RSA", "n": jwk["n"], "e": "AQAB"}]}).encode(),
        "none": b'{"keys":[]}',
    }
