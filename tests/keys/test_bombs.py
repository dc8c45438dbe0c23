"""Key sets that are made to cost: whoever publishes them gets little work done, and checks go on."""

import gzip
import json
import time

import pytest

from authz_server.core.tokens import Token, verify
from authz_server.keys.jwks import MAX_DOCUMENT_SIZE, JwksError, parse
from tests.keys.test_jwks import number

SECONDS = 2.0  # for what takes some milliseconds


def document(*entries):
    """Write a key set as tightly as JSON allows."""
    return json.dumps({"keys": entries}, separators=(",", ":")).encode()


def rsa(bits, exponent=65_537, kid="k"):
    """Write a key of any size."""
    return {"kid": kid, "kty": "RSA", "n": number(1 << (bits - 1) | 1), "e": number(exponent)}


BOMBS = {
    "as many keys as fit": document(*(rsa(2_048, kid=str(at)) for at in range(350))),
    "as many entries as fit": document(*[{}] * 40_000),
    "one key, as large as fits": document(rsa(890_000)),
    "a modulus beyond what OpenSSL takes": document(rsa(16_392)),
    "an exponent as large as the modulus": document(rsa(16_384, (1 << 16_383) | 1)),
    "a text as long as fits": document({**rsa(2_048), "x": "a" * 140_000}),
    "numbers of thousands of digits": b'{"keys":[' + b",".join([b"9" * 4_000] * 30) + b"]}",
    "escapes alone": b'{"keys":["' + b"\\u0061" * 24_000 + b'"]}',
    "members alone": b"{" + b",".join(b'"%d":0' % at for at in range(14_000)) + b"}",
    "members of one hash, CVE-2011-4885 class": document({str(at * (2**61 - 1)): 0 for at in range(5_000)}),
    "deep, and closed": b'{"keys":' + b"[" * 70_000 + b"]" * 70_000 + b"}",
    "deep in a key": b'{"keys":[{"kid":' + b'{"a":' * 20_000 + b"0" + b"}" * 20_000 + b"}]}",
    "a hundred megabytes of spaces, packed": gzip.compress(b" " * 100_000_000),
    "ten megabytes of keys, packed": gzip.compress(document(*[rsa(2_048)] * 25_000)),
    "almost a key set": b'{"keys":[' + b"{}," * 40_000,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_key_set_is_read_or_refused_at_once(bomb):
    """Within the size limit no document costs much, and no key that comes of it makes a check cost much."""
    assert len(bomb) <= MAX_DOCUMENT_SIZE
    began = time.process_time()
    try:
        keys = parse(bomb).keys
    except JwksError:
        keys = {}
    for kid, key in list(keys.items())[:3]:
        assert not verify(Token(kid, b"{}", b"header.payload", b"\x01" * (key.rsa.key_size // 8)), key)

    assert time.process_time() - began < SECONDS
