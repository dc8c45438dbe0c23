"""A JWKS document is read strictly; of its keys, those that can have signed a Cognito token are kept."""

import base64
import gzip
import json
import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from authz_server.keys.jwks import MAX_DOCUMENT_SIZE, JwksError, KeySet, parse
from authz_server.keys.jwks import document as write
from authz_server.testing import UserPool

GONE = object()


def number(value: int) -> str:
    """Write an integer as a JWK does."""
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8)).rstrip(b"=").decode()


def modulus(bits: int) -> str:
    """Write an odd number of a size."""
    return number((1 << (bits - 1)) | 1)


def document(*entries: Any) -> bytes:
    """Write a key set."""
    return json.dumps({"keys": entries}).encode()


def entry(pool: UserPool, **changes: Any) -> dict[str, Any]:
    """Write the pool's key with some members changed or gone."""
    return {name: value for name, value in {**pool.id_key.jwk, **changes}.items() if value is not GONE}


def test_a_pools_own_document_gives_both_keys(pool: UserPool) -> None:
    """The keys for ID and access tokens are kept, by kid, each with its own RSA key."""
    keys = parse(pool.jwks_document())

    assert keys.keys.keys() == {pool.id_key.kid, pool.access_key.kid}
    for signing in (pool.id_key, pool.access_key):
        key = keys.keys[signing.kid]
        assert (key.kid, key.rsa.public_numbers()) == (signing.kid, signing.public.public_numbers())
    assert keys.skipped == ()


def test_a_document_may_be_gzip(pool: UserPool) -> None:
    """What a store keeps and sends packed is the same key set, up to the same limit."""
    assert parse(gzip.compress(pool.jwks_document())) == parse(pool.jwks_document())
    full = pool.jwks_document().ljust(MAX_DOCUMENT_SIZE)
    assert parse(gzip.compress(full)) == parse(full)
    with pytest.raises(JwksError, match="longer than"):
        parse(gzip.compress(full + b" "))


def test_a_key_set_can_not_be_changed(pool: UserPool) -> None:
    """What checks read is immutable."""
    keys = parse(pool.jwks_document())

    with pytest.raises(TypeError):
        keys.keys["x"] = keys.keys[pool.id_key.kid]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"use": GONE}, id="no use"),
        pytest.param({"alg": GONE}, id="no alg"),
        pytest.param({"kid": ""}, id="empty kid"),
        pytest.param({"kid": "schlüssel/+="}, id="any kid"),
        pytest.param({"e": "Aw"}, id="exponent 3"),
        pytest.param({"n": modulus(2_048)}, id="2048 bits"),
        pytest.param({"n": modulus(4_096)}, id="4096 bits"),
        pytest.param({"key_ops": ["verify"]}, id="to verify"),
        pytest.param({"key_ops": ["sign", "verify"], "use": GONE}, id="to sign and to verify"),
        pytest.param({"x5c": ["MIIB"], "x5t": "x", "ext": True, "more": {"a": [1]}}, id="members that mean nothing here"),
        pytest.param({"d": "AQAB", "p": "Aw"}, id="broken private members"),
    ],
)
def test_keys_for_rs256_are_kept(changes: dict[str, Any], pool: UserPool) -> None:
    """An RSA key of 2048 bits or more is kept unless it says that it is for something else; further members mean nothing."""
    jwk = entry(pool, **changes)

    assert list(parse(document(jwk)).keys) == [jwk["kid"]]


def test_private_keys_are_read_as_public_ones(pool: UserPool) -> None:
    """A private key that somebody published by mistake verifies, and no more is kept of it."""
    private = pool.id_key.private.private_numbers()
    jwk = entry(pool, d=number(private.d), p=number(private.p), q=number(private.q), dp="AQ", dq="AQ", qi="AQ")
    key = parse(document(jwk)).keys[pool.id_key.kid].rsa

    key.verify(pool.id_key.private.sign(b"data", PKCS1v15(), SHA256()), b"data", PKCS1v15(), SHA256())
    assert not hasattr(key, "private_numbers")


NO_KID = "an entry without a `kid`"
NOT_RS256 = "kid 'bad' is not for RS256 signatures"
NO_KEY = "kid 'bad' is no RSA public key"
OPERATIONS = "kid 'bad' has `key_ops` that are no list of names"
WEAK = "kid 'bad' is weaker than RSA 2048 bits with an odd modulus and an odd exponent"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({"kid": GONE}, NO_KID, id="kid absent"),
        pytest.param({"kid": None}, NO_KID, id="kid null"),
        pytest.param({"kid": 7}, NO_KID, id="kid is a number"),
        pytest.param({"kid": ["a"]}, NO_KID, id="kid is a list"),
        pytest.param({"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}, NOT_RS256, id="EC"),
        pytest.param({"kty": "OKP", "crv": "Ed25519", "x": "AQ"}, NOT_RS256, id="OKP"),
        pytest.param({"kty": "oct", "k": "AQAB"}, NOT_RS256, id="shared secret"),
        pytest.param({"kty": GONE}, NOT_RS256, id="kty absent"),
        pytest.param({"kty": ["RSA"]}, NOT_RS256, id="kty is a list"),
        pytest.param({"kty": "rsa"}, NOT_RS256, id="kty in small letters"),
        pytest.param({"use": "ENC"}, NOT_RS256, id="for something else"),
        pytest.param({"use": None}, NOT_RS256, id="use null"),
        pytest.param({"key_ops": None}, OPERATIONS, id="key_ops null"),
        pytest.param({"key_ops": "verify"}, OPERATIONS, id="key_ops is text"),
        pytest.param({"key_ops": {"verify": True}}, OPERATIONS, id="key_ops is an object"),
        pytest.param({"key_ops": ["verify", 1]}, OPERATIONS, id="key_ops with a number"),
        pytest.param({"alg": "RS512"}, NOT_RS256, id="RS512"),
        pytest.param({"alg": "PS256"}, NOT_RS256, id="PS256"),
        pytest.param({"alg": "RSA-OAEP"}, NOT_RS256, id="RSA-OAEP"),
        pytest.param({"alg": "none"}, NOT_RS256, id="alg none"),
        pytest.param({"alg": None}, NOT_RS256, id="alg null"),
        pytest.param({"n": GONE}, NO_KEY, id="n absent"),
        pytest.param({"e": GONE}, NO_KEY, id="e absent"),
        pytest.param({"n": None}, NO_KEY, id="n null"),
        pytest.param({"n": 65_537}, NO_KEY, id="n is a number"),
        pytest.param({"n": ["AQAB"]}, NO_KEY, id="n is a list"),
        pytest.param({"n": {"a": 1}}, NO_KEY, id="n is an object"),
        pytest.param({"e": True}, NO_KEY, id="e is a boolean"),
        pytest.param({"n": ""}, NO_KEY, id="n empty"),
        pytest.param({"n": "A"}, NO_KEY, id="n is no base64url"),
        pytest.param({"n": "é"}, NO_KEY, id="n is not ASCII"),
        pytest.param({"e": ""}, NO_KEY, id="e empty"),
        pytest.param({"e": "AA"}, NO_KEY, id="exponent 0"),
        pytest.param({"e": "AQ"}, NO_KEY, id="exponent 1, every signature is its own message"),
        pytest.param({"e": "AQAA"}, NO_KEY, id="exponent 65536, even"),
        pytest.param({"e": modulus(3_000)}, NO_KEY, id="exponent beyond the modulus"),
        pytest.param({"n": modulus(1_024)}, WEAK, id="1024 bits"),
        pytest.param({"n": modulus(2_047)}, WEAK, id="2047 bits"),
        pytest.param({"n": number(1 << 2_047)}, WEAK, id="an even modulus, a power of two"),
        pytest.param({"n": number((1 << 2_047) + 6)}, WEAK, id="an even modulus"),
        pytest.param({"n": "AAAA" * 100 + modulus(1_024)}, WEAK, id="1024 bits behind zeros"),
    ],
)
def test_other_keys_are_skipped_and_do_not_spoil_the_rest(changes: dict[str, Any], why: str, pool: UserPool) -> None:
    """A key that is not an RSA signature key of 2048 bits with an odd modulus and an odd exponent is left out with a word why; the others work."""
    found = parse(document(entry(pool, **{"kid": "bad", **changes}), pool.access_key.jwk))

    assert list(found.keys) == [pool.access_key.kid]
    assert found.skipped == (why,)


@pytest.mark.parametrize("changes", [{}, {"kid": GONE}, {"alg": "RSA-OAEP-256"}, {"kty": "EC", "crv": "P-256"}, {"n": modulus(1_024)}])
def test_keys_for_encryption_are_ignored(changes: dict[str, Any], pool: UserPool) -> None:
    """A set may hold them: they verify nothing, spoil nothing, and nobody is told of them."""
    found = parse(document(entry(pool, use="enc", **changes), pool.access_key.jwk))

    assert list(found.keys) == [pool.access_key.kid]
    assert found.skipped == ()


@pytest.mark.parametrize("operations", [["encrypt"], ["wrapKey", "unwrapKey"], ["sign"], ["Verify"], []], ids=repr)
@pytest.mark.parametrize("changes", [{}, {"use": GONE}, {"kid": GONE}])
def test_keys_that_name_other_operations_are_ignored(operations: list[str], changes: dict[str, Any], pool: UserPool) -> None:
    """A key that says what it is for, and not that it verifies, verifies nothing, whatever its use."""
    found = parse(document(entry(pool, key_ops=operations, **changes), pool.access_key.jwk))

    assert list(found.keys) == [pool.access_key.kid]
    assert found.skipped == ()


@pytest.mark.parametrize("thing", [None, True, 1, "key", [], ["a"], {}], ids=repr)
def test_entries_that_are_no_keys_are_skipped(thing: Any, pool: UserPool) -> None:
    """Whatever else stands in the array does not spoil the keys."""
    found = parse(document(thing, pool.id_key.jwk))

    assert (list(found.keys), found.skipped) == ([pool.id_key.kid], (NO_KID,))


def test_the_first_of_two_keys_of_one_name_counts(pool: UserPool) -> None:
    """A second key under a name that is taken is left out with a word; an unusable one takes no name."""
    second = {**pool.access_key.jwk, "kid": pool.id_key.kid}

    found = parse(document(pool.id_key.jwk, second))
    assert found.keys[pool.id_key.kid].rsa.public_numbers() == pool.id_key.public.public_numbers()
    assert found.skipped == (f"kid {pool.id_key.kid!r} stands twice, the first one counts",)

    found = parse(document(entry(pool, use="enc"), second))
    assert found.keys[pool.id_key.kid].rsa.public_numbers() == pool.access_key.public.public_numbers()


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        pytest.param(b"", "is empty$", id="empty"),
        pytest.param(b" \r\n", "is empty$", id="blank"),
        pytest.param(b"<html></html>", "HTML or XML: an error page", id="a web page"),
        pytest.param(b"\n<!doctype html>", "HTML or XML: an error page", id="a web page behind a new line"),
        pytest.param(b'<?xml version="1.0"?><Error/>', "HTML or XML: an error page", id="an error of an object store"),
        pytest.param(b"\x1f\x8b\x08\x00", "gzip that is cut off", id="a piece of gzip"),
        pytest.param(b"\x1f\x8b\x00\x00", "gzip that cannot be unpacked", id="broken gzip"),
        pytest.param(gzip.compress(b"{}")[:-1], "gzip that is cut off", id="gzip without its end"),
        pytest.param(gzip.compress(b"{}") + b"x", "gzip that is cut off, or that something follows", id="text behind gzip"),
        pytest.param(gzip.compress(b""), "is empty$", id="nothing as gzip"),
        pytest.param(gzip.compress(gzip.compress(b"{}")), "no JSON", id="gzip of gzip"),
        pytest.param(gzip.compress(os.urandom(MAX_DOCUMENT_SIZE)), "longer than 150000 bytes", id="gzip that is too long as it is"),
        pytest.param(gzip.compress(b" " * 10_000_000), "longer than 150000 bytes", id="gzip of more than the limit"),
        pytest.param(b'{"keys":[{"kid":"\xff"}]}', "no JSON", id="no UTF-8"),
        pytest.param(b'\xef\xbb\xbf{"keys":[]}', "begins with a byte order mark", id="byte order mark"),
        pytest.param('{"keys":[]}'.encode("utf-16"), "begins with a byte order mark", id="UTF-16"),
        pytest.param('{"keys":[]}'.encode("utf-16-le"), "no JSON", id="UTF-16 without a mark"),
        pytest.param(b'{"keys":[],"keys":[]}', "unique members", id="keys twice"),
        pytest.param(b'{"keys":[{"kid":"a","kid":"b"}]}', "unique members", id="kid twice"),
        pytest.param(b'{"keys":[NaN]}', "no JSON", id="NaN"),
        pytest.param(b'{"keys":[1e999]}', "no JSON", id="a number beyond a double"),
        pytest.param(b'{"keys":[' + b"9" * 5_000 + b"]}", "no JSON", id="an endless integer"),
        pytest.param(b'{"keys":["\\ud800"]}', "no JSON", id="half of a surrogate pair"),
        pytest.param(b"[" * 100_000, "no JSON", id="nested lists without end"),
        pytest.param(b'{"keys":' * 10_000, "no JSON", id="nested objects without end"),
        pytest.param(b'{"keys":[]} x', "no JSON", id="text behind the object"),
        pytest.param(b"null", "no `keys` array", id="null"),
        pytest.param(b"[]", "no `keys` array", id="a list"),
        pytest.param(b'"keys"', "no `keys` array", id="text"),
        pytest.param(b"{}", "no `keys` array$", id="no keys"),
        pytest.param(b'{"issuer":"https://i","jwks_uri":"https://i/jwks"}', "an OpenID configuration", id="an OpenID configuration"),
        pytest.param(b'{"Keys":[]}', "no `keys` array", id="keys in capitals"),
        pytest.param(b'{"keys":null}', "no `keys` array", id="keys null"),
        pytest.param(b'{"keys":{"kid":"a"}}', "no `keys` array", id="keys is an object"),
        pytest.param(b'{"keys":"a"}', "no `keys` array", id="keys is text"),
        pytest.param(b'{"keys":[]}', "no usable key: the set is empty", id="no key"),
        pytest.param(document({"use": "enc"}), "no usable key: the set is empty, or for encryption", id="keys for encryption only"),
        pytest.param(b'{"keys":[{}]}', "no usable key: an entry without a `kid`", id="no usable key"),
        pytest.param(document(*[{}] * 9), "no usable key: " + "; ".join([NO_KID] * 3), id="many unusable keys, three are told"),
        pytest.param(b" " * (MAX_DOCUMENT_SIZE + 1), "longer than 150000 bytes", id="too large"),
    ],
)
def test_documents_that_are_no_key_set_are_refused(octets: bytes, message: str) -> None:
    """A document that is too large, ambiguous, no JWKS, or without a usable key is an error that says which."""
    with pytest.raises(JwksError, match=message) as error:
        parse(octets)
    assert len(str(error.value)) < 200


def test_a_document_of_exactly_the_limit_is_read(pool: UserPool) -> None:
    """150,000 bytes are the limit of API Gateway's own JWT authorizers."""
    octets = pool.jwks_document()

    assert parse(octets + b" " * (150_000 - len(octets))) == parse(octets)
    with pytest.raises(JwksError):
        parse(octets + b" " * (150_001 - len(octets)))


def test_keys_that_have_not_changed_stay_the_same_objects(pool: UserPool, other_pool: UserPool) -> None:
    """Of a new set, keys with the name and number of a former one are that very key; others are new, and those that left are gone."""
    former = parse(document(pool.id_key.jwk, pool.access_key.jwk))
    renumbered = {**other_pool.id_key.jwk, "kid": pool.access_key.kid}
    new = parse(document(pool.id_key.jwk, renumbered, {**pool.id_key.jwk, "kid": "renamed"}, {}))
    kept = new.keeping(former)

    assert kept == new
    assert kept.keys[pool.id_key.kid] is former.keys[pool.id_key.kid]
    assert kept.keys[pool.access_key.kid] is new.keys[pool.access_key.kid]
    assert kept.keys["renamed"] is new.keys["renamed"]
    assert kept.skipped == (NO_KID,)
    assert list(new.keeping(None).keys.values()) == list(new.keys.values())
    with pytest.raises(TypeError):
        kept.keys["x"] = kept.keys["renamed"]


def test_a_set_that_is_written_is_read_again(pool: UserPool) -> None:
    """Usable keys come back as they were, in no more octets; unusable ones are left out."""
    octets = document({"use": "enc"}, {**pool.id_key.jwk, "kid": "schlüssel"}, pool.access_key.jwk)
    found = parse(octets)
    written = json.dumps(write(found), separators=(",", ":")).encode()

    assert parse(written) == KeySet(keys=found.keys)
    assert len(written) < len(octets)


odd = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6) | st.lists(st.text(max_size=2), max_size=2)
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "kid": st.sampled_from(["a", "b"]) | odd,
        "kty": st.sampled_from(["RSA", "RSA", "EC"]) | odd,
        "n": st.sampled_from([modulus(2_048), modulus(1_024), "AQAB"]) | st.text("AQgw-_=+/é", max_size=8) | odd,
        "e": st.sampled_from(["AQAB", "AQAA", "AQ", "AA"]) | st.text("AQgw-_=+/é", max_size=8) | odd,
        "use": st.sampled_from(["sig", "enc"]) | odd,
        "alg": st.sampled_from(["RS256", "RS512"]) | odd,
        "key_ops": st.sampled_from([["verify"], ["encrypt"], []]) | odd,
        "d": odd,
    },
)


def lacks_verify(entry: dict[str, Any]) -> bool:
    """Whether a key names what it is for, and verifying is not in it."""
    operations = entry.get("key_ops")
    return isinstance(operations, list) and "verify" not in operations and all(isinstance(name, str) for name in operations)


@given(st.lists(entries | odd, max_size=4).map(lambda keys: {"keys": keys}) | odd)
def test_any_json_gives_keys_or_an_error(value: Any) -> None:
    """Whatever an endpoint answers, the outcome is strong keys with a word about each of the others, or a JwksError."""
    try:
        found = parse(json.dumps(value).encode())
    except JwksError:
        return

    assert isinstance(found, KeySet)
    ours = [entry for entry in value["keys"] if not (isinstance(entry, dict) and (entry.get("use") == "enc" or lacks_verify(entry)))]
    assert len(found.keys) + len(found.skipped) == len(ours)
    for kid, key in found.keys.items():
        assert key.kid == kid
        assert key.rsa.key_size >= 2_048
        assert key.rsa.public_numbers().e % 2 == 1


@given(st.binary(max_size=60))
def test_any_octets_give_an_error(octets: bytes) -> None:
    """Octets that somebody else wrote end in a JwksError and in no other exception."""
    with pytest.raises(JwksError):
        parse(octets)
