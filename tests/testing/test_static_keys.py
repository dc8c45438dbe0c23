"""Static keys stand in for a fetched key set."""

import pytest

from authz_server.core import tokens
from authz_server.core.cognito_user_pools import cognito_user_pools
from authz_server.core.decisions import Denied
from authz_server.core.reasons import Reason
from authz_server.testing import ManualClock, StaticKeys, UserPool
from tests.judging import authorize


def test_both_keys_are_found_by_name(pool):
    """The keys of ID and access tokens verify what the pool signed."""
    keys = StaticKeys(pool)
    for text in (pool.id_token(), pool.access_token()):
        token = tokens.parse(text)
        key = keys.find(token.kid)

        assert tokens.verify(token, key)
        assert key.kid == token.kid


def test_unknown_key_is_denied(pool):
    """A name that was not published is a denial, not an error."""
    with pytest.raises(Denied) as denied:
        StaticKeys(pool).find("unknown")

    assert denied.value.reason is Reason.KEY_UNKNOWN


def test_rotation_is_seen_by_the_next_key_set_only(pool):
    """Keys are those of the moment, as between two fetches."""
    before = StaticKeys(pool)
    pool.rotate()

    with pytest.raises(Denied):
        before.find(pool.id_key.kid)
    assert StaticKeys(pool).find(pool.id_key.kid)


def test_authorizer_takes_the_pools_tokens(new_key):
    """The core's authorizer accepts an ID token without scopes and an access token with one, by the manual clock."""
    clock = ManualClock()
    pool = UserPool(new_key=new_key, clock=clock)
    authorizer = cognito_user_pools(name="users", identity_source="authorization", issuers={pool.issuer: StaticKeys(pool)})
    id_token, access_token = pool.id_token(), pool.access_token(scope="pets/read")

    assert authorize(authorizer, id_token, frozenset(), clock()).claims["token_use"] == "id"
    assert authorize(authorizer, f"Bearer {access_token}", frozenset({"pets/read"}), clock()).claims["token_use"] == "access"
    clock.advance(3_600)
    with pytest.raises(Denied) as denied:
        authorize(authorizer, id_token, frozenset(), clock())
    assert denied.value.reason is Reason.TOKEN_EXPIRED
