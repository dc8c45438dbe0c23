"""What makes a decision repeatable: the route's tag, and a proof that stands while the key does."""

import pytest

from authz_server.core import hosts
from authz_server.core.cognito_user_pools import cognito_user_pools
from authz_server.core.decisions import Allow
from authz_server.core.gateway import Api, Claims, Gateway, protected
from authz_server.core.hosts import Hosts
from authz_server.core.proofs import KeyProof, proof_of, repeatable_until
from authz_server.core.reasons import Reason
from authz_server.core.request import Request
from authz_server.core.routes import Routes
from authz_server.core.tokens import Key
from authz_server.testing import StaticKeys


@pytest.fixture
def authorizer(pool):
    """An authorizer whose decisions may be repeated for a minute."""
    return cognito_user_pools(name="users", identity_source="authorization", issuers={pool.issuer: StaticKeys(pool)}, result_ttl=60)


@pytest.fixture
def running(authorizer):
    """A gateway with one api whose routes Envoy names."""
    api = Api(name="shop", base_path=(), routes=Routes(), authorizers={"users": authorizer}, claims=Claims(), identity_headers=())
    return Gateway(apis={"shop": api}, hosts=Hosts([]))


def ask(token, scopes=None):
    """Name the route in the request."""
    context = {"api": "shop", "authorizer": "users"} | ({} if scopes is None else {"authorization_scopes": scopes})
    return Request("GET", "api.example.com", "/any", {"authorization": token}, context)


def test_a_proof_stands_while_the_key_is_the_pools(pool):
    """Another key of the same name is another key."""
    keys = StaticKeys(pool)
    key = keys.find(pool.id_key.kid)

    assert KeyProof(keys, key).stands()
    assert not KeyProof(keys, Key(key.kid, pool.access_key.public)).stands()


def test_a_decision_says_how_long_it_may_be_repeated(pool, running):
    """Until the token expires or the authorizer's time is up, whichever comes first."""
    long, short = pool.id_token(exp=2_000), pool.id_token(exp=1_030)
    decisions = [running.decide(ask(token), 1_000) for token in (long, short)]

    assert [(type(decision), repeatable_until(decision.evaluation)) for decision in decisions] == [(Allow, 1_060), (Allow, 1_030)]
    assert all(proof_of(decision.evaluation).stands() for decision in decisions)


@pytest.mark.parametrize(("nbf", "until"), [(1_030, 1_030), (1_090, 1_060)])
def test_a_denial_of_what_is_good_later_is_repeated_until_then(pool, running, nbf, until):
    """Or until the authorizer's time is up, if that comes first."""
    early = running.decide(ask(pool.id_token(nbf=nbf, exp=2_000)), 1_000)

    assert (early.reason, proof_of(early.evaluation).stands(), repeatable_until(early.evaluation)) == (Reason.NOT_YET_VALID, True, until)


def test_a_denial_has_a_proof_only_where_a_key_was_needed(pool, running):
    """Only what rests on a verified key can be repeated."""
    expired = running.decide(ask(pool.id_token(exp=999)), 1_000)
    missing = running.decide(ask(""), 1_000)

    assert (expired.reason, proof_of(expired.evaluation).stands()) == (Reason.TOKEN_EXPIRED, True)
    assert (missing.reason, proof_of(missing.evaluation)) == (Reason.TOKEN_MISSING, None)


def test_routes_that_envoy_names_are_made_once(running):
    """A route that Envoy names again is the same object."""
    first, second = (running.match(ask("", "b a"))[1] for _ in range(2))

    assert first is second
    assert first.scopes == {"a", "b"}
    assert first.label == "(named by Envoy)"


def test_tags_tell_apart_what_decides_differently(authorizer):
    """Routes share a tag when api, authorizer and scopes are the same, and have none where nothing is repeated."""
    tags = [
        protected("GET /a", "shop", authorizer, frozenset({"r", "w"})).tag,
        protected("GET /b", "shop", authorizer, frozenset({"w", "r"})).tag,
        protected("GET /a", "shop", authorizer, frozenset({"r w"})).tag,
        protected("GET /a", "shop", authorizer, frozenset()).tag,
        protected("GET /a", "bank", authorizer, frozenset({"r", "w"})).tag,
    ]
    anew = cognito_user_pools(name="users", identity_source="authorization", issuers={})

    assert tags[0] == tags[1]
    assert len(set(tags)) == 4
    assert protected("GET /a", "shop", anew, frozenset()).tag == b""


@pytest.mark.parametrize("limit", [9, 1], ids=["seen", "beyond the limit"])
def test_hosts_that_were_seen_lead_to_the_same_api(monkeypatch, limit):
    """Remembering how a host was read changes nothing about where it leads."""
    monkeypatch.setattr(hosts, "MAX_SEEN", limit)
    index = Hosts([("a.test", (), "a"), ("", (), "any")])

    assert [index.find(host, [""])[0] for host in ("A.test:80", "A.test:80", "b.test", "b.test")] == ["a", "a", "any", "any"]
