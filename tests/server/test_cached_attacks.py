"""What is kept about tokens opens no door: with and without it, every token is judged alike."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz_server.core.authorizers import CognitoUserPools
from authz_server.core.gateway import Api, Claims, Gateway, protected
from authz_server.core.hosts import Hosts
from authz_server.core.routes import Routes
from authz_server.envoy.stubs import CheckRequest, CheckResponse
from authz_server.observe.metrics import Metrics
from authz_server.server.check import Check
from authz_server.testing import StaticKeys, UserPool

NOW = 1_800_000_000.0
POOL = UserPool("eu-west-1_Cached001")
KEYS = StaticKeys(POOL)
TOKENS = [POOL.id_token(exp=NOW + 600), POOL.access_token(scope="pets/read", exp=NOW + 600)]


def check(budget):
    """Make a check with two routes: one for ID tokens, one for access tokens."""
    users = CognitoUserPools(name="users", identity_source="authorization", pools={POOL.issuer: KEYS}, result_ttl=300)
    routes = Routes()
    routes.add("/id", {"GET": protected("GET /id", "shop", users, frozenset())})
    routes.add("/access", {"GET": protected("GET /access", "shop", users, frozenset({"pets/read"}))})
    claims = Claims(headers=(("x-sub", "sub"),))
    api = Api(name="shop", base_path=(), routes=routes, authorizers={"users": users}, claims=claims, identity_headers=("x-sub",))
    made = Check(budget, now=lambda: NOW, timer=lambda: 0.0, new_id=lambda: "id", metrics=Metrics("test"), log=None)
    made.swap(Gateway(apis={"shop": api}, hosts=Hosts([("", (), api)])))
    return made


REPEATING, ANEW = check(1_048_576), check(0)


def ask(path, authorization):
    """Write a CheckRequest."""
    request = CheckRequest()
    http = request.attributes.request.http
    http.method, http.path, http.host = "GET", path, "api.example.com"
    http.headers["authorization"] = authorization
    return request.SerializeToString()


def warm():
    """Let every good token be known on every route."""
    for path in ("/id", "/access"):
        for token in TOKENS:
            REPEATING(ask(path, token))
            REPEATING(ask(path, f"Bearer {token}"))


@pytest.mark.parametrize("path", ["/id", "/access"])
@pytest.mark.parametrize("kind", [0, 1])
def test_a_token_that_is_known_on_one_kind_of_route_is_judged_on_another(path, kind):
    """An ID token that passed where none is asked for scopes does not pass where they are, and the other way round."""
    warm()

    allowed = CheckResponse.FromString(REPEATING(ask(path, TOKENS[kind]))).status.code == 0

    assert allowed == ((path, kind) in {("/id", 0), ("/access", 1)})


@settings(max_examples=400, deadline=None)
@given(
    path=st.sampled_from(["/id", "/access"]),
    token=st.sampled_from(TOKENS),
    prefix=st.sampled_from(["", "Bearer ", "bearer ", "Bearer  ", " ", "Basic "]),
    at=st.integers(0, 2_000),
    cut=st.integers(0, 3),
    put=st.text(string.ascii_letters + string.digits + "-_.=+/, ", max_size=3),
)
def test_any_change_to_a_known_token_is_judged_as_if_nothing_were_known(path, token, prefix, at, cut, put):
    """A good token in memory makes no other text pass, and makes no good text fail."""
    warm()
    at = min(at, len(token))
    data = ask(path, prefix + token[:at] + put + token[at + cut :])

    assert REPEATING(data) == ANEW(data)
    assert REPEATING(data) == ANEW(data)  # and once more, now that the wrong one is known
