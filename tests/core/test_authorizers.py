"""The COGNITO_USER_POOLS authorizer takes the tokens that API Gateway takes, and says no to all others for the first reason there is."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
import re2

from authz_server.core import tokens
from authz_server.core.authorizers import Authorizer, KeysPending
from authz_server.core.cognito_user_pools import SCOPE, TOKEN_USE, app_client, audience, cognito_user_pools
from authz_server.core.decisions import Denied
from authz_server.core.reasons import Reason
from authz_server.core.responses import BUILT_IN
from authz_server.core.tokens import YEAR_10000, Key
from authz_server.testing import AppClient, StaticKeys, UserPool
from tests.judging import authorize, hold

Outcome = Callable[..., Reason | None]

READ: Final = "pets/read"
CLIENT: Final = AppClient(name="app", id="1h57kf5cpq17m0eml12EXAMPLE")
OTHER_CLIENT: Final = AppClient(name="other", id="4hb3example9876543210zyxwv")


class Asked:
    """Keys that say which kid they were asked for, and answer in one way."""

    def __init__(self, answer: Key | Exception) -> None:
        self.answer = answer
        self.kids: list[str] = []

    def find(self, kid: str) -> Key:
        """Answer."""
        self.kids.append(kid)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def holds(self, key: Key) -> bool:
        """Hold the answer."""
        return self.answer is key


@pytest.fixture(scope="module")
def authorizer(pool: UserPool) -> Authorizer:
    """An authorizer with one pool and no further rules."""
    return cognito_user_pools(name="pets", identity_source="authorization", issuers={pool.issuer: StaticKeys(pool)})


@pytest.fixture(scope="module")
def full(pool: UserPool) -> Authorizer:
    """An authorizer with every rule there is."""
    return cognito_user_pools(
        name="pets",
        identity_source="authorization",
        issuers={pool.issuer: StaticKeys(pool)},
        expression=re2.compile(".*EXAMPLE"),
        app_clients=frozenset({CLIENT.id}),
    )


def id_token(pool: UserPool, **changes: Any) -> str:
    """Mint an ID token for the app client."""
    return pool.id_token(client=CLIENT, **changes)


def access_token(pool: UserPool, scope: str = READ, **changes: Any) -> str:
    """Mint an access token for the app client."""
    return pool.access_token(client=CLIENT, scope=scope, **changes)


def machine_token(pool: UserPool) -> str:
    """Mint a token of client credentials."""
    return pool.client_token(AppClient(name="batch", id=CLIENT.id, secret="s", scopes=(READ, "pets/write")))


@pytest.mark.parametrize(
    ("make", "scopes", "reason"),
    [
        pytest.param(lambda _: None, (), Reason.TOKEN_MISSING, id="no token, no scopes"),
        pytest.param(lambda _: None, (READ,), Reason.TOKEN_MISSING, id="no token, scopes"),
        pytest.param(id_token, (), None, id="ID token, no scopes"),
        pytest.param(lambda pool: f"Bearer {id_token(pool)}", (), None, id="ID token with Bearer, no scopes"),
        pytest.param(id_token, ("other/scope",), Reason.WRONG_TOKEN_USE, id="ID token, a scope that matches nothing"),
        pytest.param(id_token, ("email",), Reason.WRONG_TOKEN_USE, id="ID token, an OIDC scope"),
        pytest.param(
            lambda pool: id_token(pool, scope="email"), ("email",), Reason.WRONG_TOKEN_USE, id="ID token with a scope claim, that scope"
        ),
        pytest.param(access_token, (), Reason.WRONG_TOKEN_USE, id="access token, no scopes"),
        pytest.param(access_token, (READ,), None, id="access token, its scope"),
        pytest.param(lambda pool: f"Bearer {access_token(pool)}", (READ,), None, id="access token with Bearer, its scope"),
        pytest.param(access_token, ("pets/write", READ, "x"), None, id="access token, one of several scopes"),
        pytest.param(
            lambda pool: access_token(pool, f"openid {READ} email"), (READ,), None, id="access token with several scopes, one of them"
        ),
        pytest.param(access_token, ("pets/write",), Reason.SCOPE_UNMET, id="access token, another scope: 401 and not 403"),
        pytest.param(lambda pool: access_token(pool, "openid email"), ("email",), None, id="access token, an OIDC scope"),
        pytest.param(
            lambda pool: access_token(pool, "aws.cognito.signin.user.admin triggered"),
            ("triggered",),
            None,
            id="a scope that a trigger added",
        ),
        pytest.param(machine_token, (READ,), None, id="client credentials, its scope"),
        pytest.param(machine_token, (), Reason.WRONG_TOKEN_USE, id="client credentials, no scopes"),
        pytest.param(machine_token, ("email",), Reason.SCOPE_UNMET, id="client credentials, another scope"),
    ],
)
def test_the_recorded_truth_table(
    make: Callable[[UserPool], str | None],
    scopes: tuple[str, ...],
    reason: Reason | None,
    pool: UserPool,
    authorizer: Authorizer,
    now: float,
    outcome: Outcome,
) -> None:
    """Routes without scopes take ID tokens, routes with scopes take access tokens that have any one of them; all else is 401."""
    assert outcome(authorize, authorizer, make(pool), frozenset(scopes), now) is reason
    assert reason is None or BUILT_IN[reason].status == 401


def test_the_verified_claims_are_given(pool: UserPool, authorizer: Authorizer, now: float) -> None:
    """What is handed on are exactly the claims that were signed."""
    claims = pool.id_claims(client=CLIENT)

    assert authorize(authorizer, pool.id_key.sign(claims), frozenset(), now).claims == claims


def test_a_verified_token_comes_with_its_proof(pool: UserPool, authorizer: Authorizer, now: float) -> None:
    """The proof is the pool's key that verified it, and stands as long as the pool holds that very key."""
    claims, proof = authorize(authorizer, id_token(pool), frozenset(), now)

    assert claims["token_use"] == "id"
    assert proof.key.rsa.public_numbers() == pool.id_key.public.public_numbers()
    assert proof.stands()
    assert not proof._replace(key=Key(proof.key.kid, pool.access_key.public)).stands()


@pytest.mark.parametrize(
    ("token", "reason", "proven"),
    [
        pytest.param(lambda _: None, Reason.TOKEN_MISSING, False, id="no token"),
        pytest.param(lambda _: "x", Reason.TOKEN_MALFORMED, False, id="no JWS"),
        pytest.param(lambda pool: id_token(pool, iss="x"), Reason.ISSUER_UNKNOWN, False, id="foreign"),
        pytest.param(lambda pool: pool.id_key.sign({"iss": pool.issuer}, header={"kid": "x"}), Reason.KEY_UNKNOWN, False, id="unknown key"),
        pytest.param(lambda pool: id_token(pool)[:-4] + "AAAA", Reason.SIGNATURE_INVALID, True, id="forged"),
        pytest.param(lambda pool: id_token(pool, exp=1), Reason.TOKEN_EXPIRED, True, id="expired"),
        pytest.param(access_token, Reason.WRONG_TOKEN_USE, True, id="the other kind"),
        pytest.param(lambda pool: pool.id_token(), Reason.AUDIENCE_REFUSED, True, id="another audience"),
    ],
)
def test_a_denial_comes_with_the_key_that_it_took(
    *, token: Callable[[UserPool], str | None], reason: Reason, proven: bool, pool: UserPool, full: Authorizer, now: float
) -> None:
    """A denial that rests on a key names it, so that it is not repeated when the key is gone; one that took no key names none."""
    with pytest.raises(Denied) as denied:
        authorize(full, token(pool), frozenset(), now)

    assert denied.value.reason is reason
    assert (denied.value.proof is not None) == proven
    assert denied.value.proof is None or denied.value.proof.stands()


# The rules in the order in which they are checked, each with the part of a token that breaks it and what mends that part.
RULES: Final[list[tuple[Reason, str, Any, Callable[[UserPool], Any]]]] = [
    (Reason.ISSUER_UNKNOWN, "iss", "https://attacker.test", lambda pool: pool.issuer),
    (Reason.KEY_UNKNOWN, "kid", "unheard of", lambda pool: pool.access_key.kid),
    (Reason.SIGNATURE_INVALID, "signer", "attacker", lambda _: "pool"),
    (Reason.TIME_CLAIM_INVALID, "iat", "yesterday", lambda _: 1),
    (Reason.TOKEN_EXPIRED, "exp", 1, lambda _: YEAR_10000 - 1),
    (Reason.NOT_YET_VALID, "nbf", YEAR_10000 - 1, lambda _: 0),
    (Reason.CLAIM_TYPE_INVALID, "sub", 3, lambda _: "ada"),
    (Reason.WRONG_TOKEN_USE, "token_use", "id", lambda _: "access"),
    (Reason.AUDIENCE_REFUSED, "aud", "https://api.test", lambda _: "of the EXAMPLE"),
    (Reason.APP_CLIENT_REFUSED, "client_id", OTHER_CLIENT.id, lambda _: CLIENT.id),
    (Reason.SCOPE_UNMET, "scope", "pets/write", lambda _: READ),
]


@pytest.mark.parametrize(
    "payload", [b'{"iss":ISS,"exp":1,"exp":2}', b'{"iss":ISS', b'[{"iss":ISS}]', b'{"iss":ISS,"x":' + b"[" * 300 + b"]" * 300 + b"}"]
)
def test_claims_are_read_once_their_signature_is_good(
    payload: bytes,
    pool: UserPool,
    other_pool: UserPool,
    authorizer: Authorizer,
    now: float,
    outcome: Outcome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever has no key makes nobody read JSON; what a pool did sign is malformed if it cannot be read in one way."""
    document = payload.replace(b"ISS", f'"{pool.issuer}"'.encode())
    forged = other_pool.id_key.sign(document, header={"kid": pool.id_key.kid})

    assert outcome(authorize, authorizer, pool.id_key.sign(document), frozenset(), now) is Reason.TOKEN_MALFORMED
    monkeypatch.setattr(tokens, "claims_of", None)
    assert outcome(authorize, authorizer, forged, frozenset(), now) is Reason.SIGNATURE_INVALID


def test_another_member_called_iss_is_no_issuer(pool: UserPool, other_pool: UserPool, now: float, outcome: Outcome) -> None:
    """The issuer is the claim itself: a token of one pool that quotes another issuer is judged as what it is."""
    pools = {each.issuer: StaticKeys(each) for each in (pool, other_pool)}
    authorizer = cognito_user_pools(name="users", identity_source="authorization", issuers=pools)
    claims = pool.id_claims()
    quoting = json.dumps({"x": {"iss": "https://elsewhere.test"}, **claims}).encode()
    posing = json.dumps({"x": {"iss": pool.issuer}, **claims, "iss": other_pool.issuer}).encode()

    assert outcome(authorize, authorizer, pool.id_key.sign(quoting), frozenset(), now) is None
    assert outcome(authorize, authorizer, pool.id_key.sign(posing), frozenset(), now) is Reason.ISSUER_UNKNOWN
    assert outcome(authorize, authorizer, other_pool.id_key.sign(posing), frozenset(), now) is Reason.KEY_UNKNOWN


def test_the_first_broken_rule_is_told(pool: UserPool, other_pool: UserPool, full: Authorizer, now: float, outcome: Outcome) -> None:
    """A token with every fault is refused for the first; mended fault by fault, it is refused for the next, and passes in the end."""
    token = {name: broken for _, name, broken, _ in RULES}

    def told() -> Reason | None:
        claims = {name: value for name, value in token.items() if name not in {"kid", "signer"}}
        key = pool.access_key if token["signer"] == "pool" else other_pool.access_key
        return outcome(authorize, full, key.sign(claims, header={"kid": token["kid"]}), frozenset({READ}), now)

    for reason, name, _, mend in RULES:
        assert told() is reason
        token[name] = mend(pool)
    assert told() is None


@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(lambda pool, other: other.id_key.sign(pool.id_claims(exp=1), header={"kid": pool.id_key.kid}), id="forged"),
        pytest.param(lambda pool, other: pool.id_key.sign({**pool.id_claims(exp=1), "iss": other.issuer}), id="issued elsewhere"),
        pytest.param(lambda pool, _: pool.id_key.sign(pool.id_claims(exp=1), header={"kid": "x"}), id="signed by an unknown key"),
        pytest.param(lambda pool, _: pool.id_key.sign(pool.id_claims(exp=1), header={"alg": "none"}), id="unsigned"),
        pytest.param(lambda pool, _: pool.id_token(exp=1)[:-1], id="cut"),
    ],
)
def test_expiry_is_told_for_genuine_tokens_only(
    break_it: Callable[[UserPool, UserPool], str],
    pool: UserPool,
    other_pool: UserPool,
    authorizer: Authorizer,
    now: float,
    outcome: Outcome,
) -> None:
    """Nothing is told about a token that nobody has vouched for: a forged one is unauthorized, not expired."""
    told = outcome(authorize, authorizer, break_it(pool, other_pool), frozenset(), now)

    assert told is not Reason.TOKEN_EXPIRED
    assert BUILT_IN[told].body == '{"message":"Unauthorized"}'


@pytest.mark.parametrize("use", ["id", "access"])
def test_expiry_is_told_before_what_is_wrong_with_the_claims(
    use: str, pool: UserPool, full: Authorizer, now: float, outcome: Outcome
) -> None:
    """An expired token is expired, whatever else it lacks for the route."""
    token = pool.id_key.sign({"iss": pool.issuer, "token_use": use, "exp": now - 1})

    assert outcome(authorize, full, token, frozenset(), now) is Reason.TOKEN_EXPIRED


@pytest.mark.parametrize(
    "issuer", [None, 1, True, [], {}, "", "https://cognito-idp.eu-west-1.amazonaws.com/", "{}/", " {}", "{}x", "HTTPS{}"]
)
def test_the_issuer_is_compared_exactly(issuer: Any, pool: UserPool, authorizer: Authorizer, now: float, outcome: Outcome) -> None:
    """An issuer that is absent, no text, or not to the letter that of a pool is unknown."""
    issuer = issuer.replace("{}", pool.issuer) if isinstance(issuer, str) else issuer

    assert outcome(authorize, authorizer, pool.id_token(iss=issuer), frozenset(), now) is Reason.ISSUER_UNKNOWN


def test_keys_are_not_asked_for_a_foreign_issuer(pool: UserPool, other_pool: UserPool, now: float, outcome: Outcome) -> None:
    """Tokens of other issuers cause no work at the key source, so that they can not cause fetches."""
    keys = Asked(Denied(Reason.KEY_UNKNOWN))
    authorizer = cognito_user_pools(name="pets", identity_source="authorization", issuers={pool.issuer: keys})

    assert outcome(authorize, authorizer, other_pool.id_token(), frozenset(), now) is Reason.ISSUER_UNKNOWN
    assert keys.kids == []
    assert outcome(authorize, authorizer, pool.id_token(), frozenset(), now) is Reason.KEY_UNKNOWN
    assert keys.kids == [pool.id_key.kid]


def test_each_pool_verifies_its_own_tokens(pool: UserPool, other_pool: UserPool, now: float, outcome: Outcome) -> None:
    """With several pools, a token is verified with the keys of the pool that it names, and with no others."""
    pools = {each.issuer: StaticKeys(each) for each in (pool, other_pool)}
    authorizer = cognito_user_pools(name="pets", identity_source="authorization", issuers=pools)

    assert authorize(authorizer, pool.id_token(), frozenset(), now).claims["iss"] == pool.issuer
    assert authorize(authorizer, other_pool.id_token(), frozenset(), now).claims["iss"] == other_pool.issuer
    crossed = other_pool.id_key.sign({**other_pool.id_claims(), "iss": pool.issuer})
    assert outcome(authorize, authorizer, crossed, frozenset(), now) is Reason.KEY_UNKNOWN
    named = other_pool.id_key.sign({**other_pool.id_claims(), "iss": pool.issuer}, header={"kid": pool.id_key.kid})
    assert outcome(authorize, authorizer, named, frozenset(), now) is Reason.SIGNATURE_INVALID


def test_missing_keys_are_told_as_they_are(pool: UserPool, now: float, outcome: Outcome) -> None:
    """That no keys are there is our fault and not the caller's."""
    authorizer = cognito_user_pools(
        name="pets", identity_source="authorization", issuers={pool.issuer: Asked(Denied(Reason.KEYS_UNAVAILABLE))}
    )

    assert outcome(authorize, authorizer, pool.id_token(exp=1), frozenset(), now) is Reason.KEYS_UNAVAILABLE


def test_a_fetch_under_way_is_handed_on(pool: UserPool, now: float) -> None:
    """When a fetch will tell, the check ends with what to wait for."""
    fetch = object()
    authorizer = cognito_user_pools(name="pets", identity_source="authorization", issuers={pool.issuer: Asked(KeysPending(fetch))})

    with pytest.raises(KeysPending) as pending:
        authorize(authorizer, pool.id_token(), frozenset(), now)
    assert pending.value.fetch is fetch


@pytest.mark.parametrize("token_use", [None, "", "ID", "refresh", 1, True, ["id"], ["access"], {"id": 1}])
@pytest.mark.parametrize("use", ["id", "access"])
def test_token_use_is_exact(token_use: Any, use: str, outcome: Outcome) -> None:
    """A token that does not say what it is, or says it in another way, is of neither kind."""
    claims = {} if token_use is None else {"token_use": token_use}

    assert outcome(hold, [TOKEN_USE], claims, frozenset({READ}) if use == "access" else frozenset()) is Reason.WRONG_TOKEN_USE


@pytest.mark.parametrize(
    ("aud", "reason"),
    [
        ("abc", None),
        ("abcabc", None),
        ("xabc", Reason.AUDIENCE_REFUSED),
        ("abcx", Reason.AUDIENCE_REFUSED),
        ("abc\n", Reason.AUDIENCE_REFUSED),
        ("", Reason.AUDIENCE_REFUSED),
        (None, Reason.AUDIENCE_REFUSED),
        (["abc"], Reason.AUDIENCE_REFUSED),
        (7, Reason.AUDIENCE_REFUSED),
        ({"abc": 1}, Reason.AUDIENCE_REFUSED),
    ],
)
def test_the_expression_matches_the_whole_aud(aud: Any, reason: Reason | None, outcome: Outcome) -> None:
    """A part of `aud` is not enough, and an `aud` that is absent or no text never matches."""
    assert outcome(hold, [audience(re2.compile("(abc)+"))], {} if aud is None else {"aud": aud}) is reason


def test_no_token_without_aud_passes_an_expression(pool: UserPool, full: Authorizer, now: float, outcome: Outcome) -> None:
    """Ordinary access tokens have no `aud`: an authorizer with an expression refuses them all, also when the expression takes anything."""
    anything = cognito_user_pools(
        name="pets", identity_source="authorization", issuers={pool.issuer: StaticKeys(pool)}, expression=re2.compile(".*")
    )

    for authorizer in (full, anything):
        assert outcome(authorize, authorizer, access_token(pool), frozenset({READ}), now) is Reason.AUDIENCE_REFUSED
    assert outcome(authorize, full, id_token(pool), frozenset(), now) is None


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"token_use": "id", "aud": "a"}, None),
        ({"token_use": "access", "client_id": "a"}, None),
        ({"token_use": "access", "client_id": "b", "aud": "https://api.test"}, None),
        ({"token_use": "id", "aud": "c"}, Reason.APP_CLIENT_REFUSED),
        ({"token_use": "id", "client_id": "a"}, Reason.APP_CLIENT_REFUSED),
        ({"token_use": "id", "aud": "c", "client_id": "a"}, Reason.APP_CLIENT_REFUSED),
        ({"token_use": "access", "aud": "a"}, Reason.APP_CLIENT_REFUSED),
        ({"token_use": "access", "aud": "a", "client_id": "c"}, Reason.APP_CLIENT_REFUSED),
        ({"token_use": "id", "aud": ["a"]}, Reason.APP_CLIENT_REFUSED),
        ({"token_use": "id", "aud": {"a": 1}}, Reason.APP_CLIENT_REFUSED),
        ({"token_use": "access", "client_id": None}, Reason.APP_CLIENT_REFUSED),
        ({"token_use": "id", "aud": "A"}, Reason.APP_CLIENT_REFUSED),
        ({"token_use": "id", "aud": ""}, Reason.APP_CLIENT_REFUSED),
    ],
    ids=str,
)
def test_app_clients_are_named_by_aud_or_client_id(claims: dict[str, Any], reason: Reason | None, outcome: Outcome) -> None:
    """The app client is `aud` of an ID token and `client_id` of an access token, and never the other claim."""
    assert outcome(hold, [app_client(frozenset({"a", "b"}))], claims) is reason


def test_no_app_clients_means_nobody(pool: UserPool, now: float, outcome: Outcome) -> None:
    """An empty set refuses everybody; only no set at all accepts every app client."""
    authorizer = cognito_user_pools(
        name="pets", identity_source="authorization", issuers={pool.issuer: StaticKeys(pool)}, app_clients=frozenset()
    )

    assert outcome(authorize, authorizer, id_token(pool), frozenset(), now) is Reason.APP_CLIENT_REFUSED


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        (READ, None),
        (f"a {READ}", None),
        (f"{READ}  b", None),
        ("https://api.test/read", None),
        ("", Reason.SCOPE_UNMET),
        (" ", Reason.SCOPE_UNMET),
        ("pets", Reason.SCOPE_UNMET),
        ("read", Reason.SCOPE_UNMET),
        ("pets/readx", Reason.SCOPE_UNMET),
        ("PETS/READ", Reason.SCOPE_UNMET),
        ("a,pets/read", Reason.SCOPE_UNMET),
        ("a\tpets/read", Reason.SCOPE_UNMET),
        ("a\npets/read", Reason.SCOPE_UNMET),
        ("a\u00a0pets/read", Reason.SCOPE_UNMET),
        (None, Reason.SCOPE_UNMET),
        ([READ], Reason.SCOPE_UNMET),
        ({READ: 1}, Reason.SCOPE_UNMET),
        (1, Reason.SCOPE_UNMET),
    ],
    ids=repr,
)
def test_scopes_are_whole_strings_between_spaces(scope: Any, reason: Reason | None, outcome: Outcome) -> None:
    """`scope` is text that spaces divide; a scope is never divided further, nor found in another type."""
    assert outcome(hold, [SCOPE], {} if scope is None else {"scope": scope}, frozenset({READ, "https://api.test/read"})) is reason
