"""What is kept about tokens opens no door: with and without it, every token is judged alike."""

import json
import string

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry, deserialize_compact

from authz_server.core.claims import header_value
from authz_server.core.cognito_user_pools import cognito_user_pools
from authz_server.core.gateway import Api, Claims, Gateway, protected
from authz_server.core.hosts import Hosts
from authz_server.core.routes import Routes
from authz_server.core.tokens import Key
from authz_server.envoy.stubs import CheckRequest, CheckResponse
from authz_server.observe.metrics import Metrics
from authz_server.testing import StaticKeys, UserPool, compact
from tests.checking import ControlledCheck
from tests.core.test_forgeries import NAMES
from tests.core.test_tokens import ATTACKS, edit, edits, members
from tests.server.doors import TRANSPORTS, behind

NOW = 1_800_000_000.0
POOL = UserPool("eu-west-1_Cached001")
KEYS = StaticKeys(POOL)
TOKENS = [POOL.id_token(exp=NOW + 600), POOL.access_token(scope="pets/read", exp=NOW + 600)]


class OneKey:
    """A key source that finds the pool's key under any name, so that no attack fails for its name alone."""

    key = Key("any", POOL.id_key.public)

    def find(self, _):
        """Find the key."""
        return self.key

    def holds(self, key):
        """Whether it is the key."""
        return key is self.key


def check(budget, keys=KEYS):
    """Make a check with two routes: one for ID tokens, one for access tokens."""
    users = cognito_user_pools(name="users", identity_source="authorization", issuers={POOL.issuer: keys}, result_ttl=300)
    routes = Routes()
    routes.add("/id", {"GET": protected("GET /id", "shop", users, frozenset())})
    routes.add("/access", {"GET": protected("GET /access", "shop", users, frozenset({"pets/read"}))})
    claims = Claims(headers=(("x-sub", "sub"),))
    api = Api(name="shop", base_path=(), routes=routes, authorizers={"users": users}, claims=claims, identity_headers=("x-sub",))
    made = ControlledCheck(
        budget, now=lambda: NOW, timer=lambda: 0.0, new_id=lambda: "11111111-2222-4333-8444-555555555555", metrics=Metrics("test"), log=None
    )
    made.swap(Gateway(apis={"shop": api}, hosts=Hosts([("", (), api)])))
    return made


REPEATING, ANEW = check(1_048_576), check(0)
OTHER = UserPool("us-east-1_Cached002")


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


@pytest.mark.parametrize("prefix", ["", "Bearer "])
@pytest.mark.parametrize("forge", [forge for forge, _ in ATTACKS.values()], ids=ATTACKS.keys())
def test_every_forgery_is_refused_while_the_good_token_is_known(forge, prefix):
    """Whatever is forged, with a good verdict in memory, asked again and again, the answer stays a 401."""
    checks = check(1_048_576, OneKey()), check(0, OneKey())
    good = POOL.id_key.sign(POOL.id_claims(exp=NOW + 600))
    forged = ask("/id", prefix + forge(POOL, OTHER))
    for repeating in checks:
        assert CheckResponse.FromString(repeating(ask("/id", prefix + good))).status.code == 0
        answers = {repeating(forged) for _ in range(3)}
        assert [CheckResponse.FromString(answer).denied_response.status.code for answer in answers] == [401]
        assert CheckResponse.FromString(repeating(ask("/id", prefix + good))).status.code == 0


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:40])
def test_the_name_of_a_key_opens_nothing_while_the_good_token_is_known(name):
    """RFC 8725 section 3.10: a `kid` is no way around what is known, nor into it."""
    warm()
    forged = ask("/id", OTHER.id_key.sign(POOL.id_claims(exp=NOW + 600), header={"kid": name}))

    answers = {made(forged) for made in (REPEATING, ANEW) for _ in range(2)}

    assert [CheckResponse.FromString(answer).denied_response.status.code for answer in answers] == [401]


@pytest.fixture(scope="module", params=TRANSPORTS)
def served(request):
    """A check that repeats, behind a door."""
    with behind(request.param, check(1_048_576, OneKey())) as ask_it:
        yield ask_it


@pytest.mark.parametrize("forge", [forge for forge, _ in ATTACKS.values()], ids=ATTACKS.keys())
def test_every_forgery_is_refused_at_both_doors(served, forge):
    """Between two calls with the good token, a forged one is a 401 denial at either transport, and no gRPC error."""
    good, forged = ask("/id", POOL.id_key.sign(POOL.id_claims(exp=NOW + 600))), ask("/id", forge(POOL, OTHER))

    statuses = [CheckResponse.FromString(served(data)).denied_response.status.code for data in (good, forged, good, forged)]
    assert statuses == [0, 401, 0, 401]


THEIRS = RSAKey.import_key(POOL.id_key.jwk)
REGISTRY = JWSRegistry(algorithms=["RS256"], strict_check_header=False)
UNCHECKED = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
SIGNERS = {
    "pool": lambda data: POOL.id_key.private.sign(data, PKCS1v15(), SHA256()),
    "other": lambda data: OTHER.id_key.private.sign(data, PKCS1v15(), SHA256()),
    "nobody": lambda _: b"",
}
BOTH = check(1_048_576, OneKey()), check(0, OneKey())


@settings(max_examples=300)
@given(
    header=members,
    claims=st.fixed_dictionaries(
        {"sub": st.text(max_size=5)}, optional={"exp": st.just(NOW), "token_use": st.just("access"), "nbf": st.text()}
    ),
    signer=st.sampled_from(["pool", "pool", *SIGNERS]),
    changes=edits,
)
def test_two_other_libraries_accept_what_is_allowed_and_repeated(header, claims, signer, changes):
    """PyJWT and joserfc verify each token that passes, for the first time and from memory, and read the `sub` that the upstream is told."""
    text = edit(compact({"alg": "RS256", "kid": "k", **header}, POOL.id_claims(exp=NOW + 600) | claims, SIGNERS[signer]), changes)
    answers = {made(ask("/id", text)) for made in BOTH for _ in range(2)}
    (answer,) = answers
    response = CheckResponse.FromString(answer)
    if response.status.code:
        return

    read = jwt.decode(text, POOL.id_key.public, algorithms=["RS256"], options=UNCHECKED)
    assert read == json.loads(deserialize_compact(text, THEIRS, registry=REGISTRY).payload)
    told = {option.header.key: option.header.value for option in response.ok_response.headers}
    assert told == {name: value for name, value in {"x-sub": header_value(read["sub"])}.items() if value}
    assert read["exp"] > NOW
