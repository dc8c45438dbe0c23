"""Tokens of a pool have the claims, shapes and keys of Cognito's."""

import base64
import random
import re
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
from joserfc import jwk as joserfc_jwk
from joserfc import jwt as joserfc_jwt

from authz_server.testing import AppClient, ManualClock, User, UserPool

NOW = 1_757_430_433
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

EVERY_TOKEN = {"iss", "sub", "exp", "iat", "jti", "token_use", "auth_time"}
USER_TOKEN = EVERY_TOKEN | {"origin_jti", "event_id"}


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at `NOW`."""
    return ManualClock(NOW)


@pytest.fixture
def pool(new_key, clock) -> UserPool:
    """An empty pool on that clock."""
    return UserPool(new_key=new_key, clock=clock)


def read(token: str) -> dict:
    """Read the claims of a token."""
    return jwt.decode(token, options={"verify_signature": False})


def test_id_token_of_a_plain_user_has_cognitos_claims(pool):
    """An ID token names its app client as `aud` and has nothing of an access token."""
    user, client = pool.add_user("ada"), pool.add_client("web")
    claims = read(pool.id_token(user, client))

    assert set(claims) == USER_TOKEN | {"aud", "cognito:username"}
    assert claims["iss"] == "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Local0001"
    assert (claims["token_use"], claims["aud"], claims["cognito:username"], claims["sub"]) == ("id", client.id, "ada", user.sub)
    assert (claims["auth_time"], claims["iat"], claims["exp"]) == (NOW, NOW, NOW + 3_600)


def test_id_token_holds_attributes_in_their_types(pool):
    """Attributes are text, but `*_verified` is a boolean; groups and roles are arrays."""
    attributes = {"email": "ada@example.com", "email_verified": True, "phone_number_verified": False, "custom:department": "42"}
    roles = ["arn:aws:iam::111122223333:role/first", "arn:aws:iam::111122223333:role/second"]
    pool.add_user("ada", groups=["admin", "staff"], roles=roles, attributes=attributes)
    claims = read(pool.id_token())

    assert {name: claims[name] for name in attributes} == attributes
    assert claims["cognito:groups"] == ["admin", "staff"]
    assert (claims["cognito:roles"], claims["cognito:preferred_role"]) == (roles, roles[0])


def test_id_token_of_a_federated_user_has_identities(pool):
    """An identity holds text and null only, and the provider makes a group."""
    pool.add_user("Google_1234", provider="Google", groups=["staff"])
    claims = read(pool.id_token())

    assert claims["identities"] == [
        {
            "dateCreated": f"{NOW}000",
            "userId": "1234",
            "providerName": "Google",
            "providerType": "Google",
            "issuer": None,
            "primary": "true",
        }
    ]
    assert claims["cognito:groups"] == ["staff", "eu-west-1_Local0001_Google"]


def test_attributes_never_replace_what_cognito_writes(pool):
    """An attribute named like a claim of Cognito's own loses."""
    pool.add_user("ada", attributes={"iss": "https://example.com", "token_use": "access", "cognito:groups": ["root"]})
    claims = read(pool.id_token())

    assert (claims["iss"], claims["token_use"]) == (pool.issuer, "id")
    assert "cognito:groups" not in claims


def test_access_token_of_an_sdk_sign_in_has_cognitos_claims(pool):
    """It has the one sign-in scope, `client_id` and `username`, and neither `aud` nor attributes nor `version`."""
    user = pool.add_user("ada", groups=["admin"], attributes={"email": "ada@example.com"})
    client = pool.add_client("web")
    claims = read(pool.access_token(user, client))

    assert set(claims) == USER_TOKEN | {"client_id", "username", "scope", "cognito:groups"}
    assert (claims["token_use"], claims["client_id"], claims["username"], claims["sub"]) == ("access", client.id, "ada", user.sub)
    assert claims["scope"] == "aws.cognito.signin.user.admin"


def test_access_token_with_scopes_has_a_version(pool):
    """Tokens of the OAuth endpoints carry `version` 2, a number."""
    claims = read(pool.access_token(scope="openid pets/read"))

    assert set(claims) == USER_TOKEN | {"client_id", "username", "scope", "version"}
    assert (claims["scope"], claims["version"]) == ("openid pets/read", 2)


def test_client_token_has_the_claims_of_client_credentials(pool):
    """A machine is its own subject; it has no user name and no sign-in."""
    client = pool.add_client("batch", secret=True, scopes=["pets/read", "pets/write"])
    claims = read(pool.client_token(client))

    assert set(claims) == EVERY_TOKEN | {"client_id", "scope", "version"}
    assert claims["sub"] == claims["client_id"] == client.id
    assert (claims["token_use"], claims["scope"], claims["version"]) == ("access", "pets/read pets/write", 2)
    assert read(pool.client_token(client, "pets/read"))["scope"] == "pets/read"


def test_empty_pool_gives_tokens_of_one_user_and_one_client(pool):
    """Without a word of set-up, both tokens belong together."""
    id_claims, access_claims = read(pool.id_token()), read(pool.access_token())

    assert id_claims["sub"] == access_claims["sub"]
    assert id_claims["aud"] == access_claims["client_id"]


def test_first_user_and_client_are_the_default(pool):
    """A token method without a user takes the first one that was added."""
    pool.add_user("ada")
    pool.add_user("bob")
    first = pool.add_client("web")
    pool.add_client("batch")
    claims = read(pool.id_token())

    assert (claims["cognito:username"], claims["aud"]) == ("ada", first.id)


@pytest.mark.parametrize("kind", ["id", "access", "client"])
def test_claims_can_be_changed_and_taken_away(pool, kind):
    """A value replaces or adds a claim of any type, and None takes one away."""
    client = pool.add_client("batch", secret=True, scopes=["pets/read"])
    changes = {"exp": 1.5, "jti": None, "custom:nested": {"a": [1, None]}}
    token = {"id": pool.id_token, "access": pool.access_token, "client": lambda **c: pool.client_token(client, **c)}[kind](**changes)
    claims = read(token)

    assert (claims["exp"], claims["custom:nested"]) == (1.5, {"a": [1, None]})
    assert "jti" not in claims


def test_tokens_of_one_session_share_its_claims(pool, clock):
    """A refreshed token keeps `auth_time`, `origin_jti` and `event_id`, and gets times and a name of its own."""
    session = pool.sign_in()
    first = read(pool.id_token(session=session))
    clock.advance(1_800)
    second, access = read(pool.id_token(session=session)), read(pool.access_token(session=session))

    assert [c["auth_time"] for c in (first, second, access)] == [NOW, NOW, NOW]
    assert len({c["origin_jti"] for c in (first, second, access)}) == len({c["event_id"] for c in (first, second, access)}) == 1
    assert (second["iat"], second["exp"]) == (NOW + 1_800, NOW + 5_400)
    assert len({first["jti"], second["jti"], access["jti"]}) == 3


def test_refresh_token_finds_its_session(pool):
    """Only a session that was signed in to can be found again."""
    session = pool.sign_in()

    assert pool.session(session.refresh_token) is session
    assert pool.session("another") is None


def test_lifetime_is_the_clients(pool):
    """`exp` is as far away as the app client says."""
    claims = read(pool.id_token(client=pool.add_client("web", lifetime=300)))

    assert claims["exp"] - claims["iat"] == 300


@pytest.mark.parametrize("lifetime", [0, 299, 86_401])
def test_lifetime_that_cognito_refuses(pool, lifetime):
    """Token lifetimes go from five minutes to one day."""
    with pytest.raises(ValueError, match="5 minutes"):
        pool.add_client("web", lifetime=lifetime)


def test_custom_attribute_must_be_text(pool):
    """Cognito has no other type of custom attribute in a token."""
    with pytest.raises(ValueError, match="always a string"):
        pool.add_user("ada", attributes={"custom:age": 42})


@pytest.mark.parametrize(
    ("arguments", "arn", "issuer"),
    [
        (
            {},
            "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Local0001",
            "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Local0001",
        ),
        (
            {"pool_id": "us-east-1_Ab1", "account": "444455556666", "region": "us-west-2"},
            "arn:aws:cognito-idp:us-west-2:444455556666:userpool/us-east-1_Ab1",
            "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Ab1",
        ),
        (
            {"pool_id": "us-gov-west-1_Ab1"},
            "arn:aws-us-gov:cognito-idp:us-gov-west-1:111122223333:userpool/us-gov-west-1_Ab1",
            "https://cognito-idp.us-gov-west-1.amazonaws.com/us-gov-west-1_Ab1",
        ),
        (
            {"issuer": "http://127.0.0.1:9229/pool"},
            "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/eu-west-1_Local0001",
            "http://127.0.0.1:9229/pool",
        ),
    ],
)
def test_arn_and_issuer_follow_from_the_pool_id(arguments, arn, issuer):
    """A replica issues under the primary region, and an issuer can be given."""
    pool = UserPool(**arguments)

    assert (pool.arn, pool.issuer, read(pool.id_token())["iss"]) == (arn, issuer, issuer)


@pytest.mark.parametrize("arguments", [{"pool_id": "no-underscore"}, {"pool_id": "eu-west-1_a/b"}, {"account": "12"}])
def test_pool_that_has_no_arn_is_refused(arguments):
    """A pool id that Cognito would not make fails at once."""
    with pytest.raises(ValueError, match="ARN"):
        UserPool(**arguments)


def test_pool_has_two_keys_and_each_signs_its_kind(pool):
    """ID tokens and access tokens name different keys, both in the JWKS, with names in padded base64 of 32 octets."""
    client = pool.add_client("batch", secret=True, scopes=["pets/read"])
    kids = [jwt.get_unverified_header(t)["kid"] for t in (pool.id_token(), pool.access_token(), pool.client_token(client))]

    assert kids == [pool.id_key.kid, pool.access_key.kid, pool.access_key.kid]
    assert [jwk["kid"] for jwk in pool.jwks()["keys"]] == kids[:2]
    assert pool.id_key.kid != pool.access_key.kid
    assert all(kid.endswith("=") and len(base64.b64decode(kid)) == 32 for kid in kids)


def test_pyjwt_verifies_tokens_by_the_jwks(new_key):
    """PyJWT finds the key of either token in the key set and accepts its times, issuer and audience."""
    pool = UserPool(new_key=new_key)
    client = pool.add_client("web")
    keys = jwt.PyJWKSet.from_json(pool.jwks_document().decode())
    id_token, access_token = pool.id_token(client=client), pool.access_token(client=client)

    jwt.decode(id_token, keys[pool.id_key.kid], algorithms=["RS256"], audience=client.id, issuer=pool.issuer)
    jwt.decode(access_token, keys[pool.access_key.kid], algorithms=["RS256"], issuer=pool.issuer)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(access_token, keys[pool.id_key.kid], algorithms=["RS256"], issuer=pool.issuer)


def test_joserfc_verifies_tokens_by_the_jwks(pool):
    """By its `kid`, joserfc finds the key of either token in the key set."""
    keys = joserfc_jwk.KeySet.import_key_set(pool.jwks())

    assert joserfc_jwt.decode(pool.id_token(), keys, algorithms=["RS256"]).claims["token_use"] == "id"
    assert joserfc_jwt.decode(pool.access_token(), keys, algorithms=["RS256"]).claims["token_use"] == "access"


def test_claims_can_be_signed_by_any_key(pool, new_key):
    """What another pool signed under this pool's key name does not verify."""
    other = UserPool("eu-west-1_Other0001", new_key=new_key)
    forged = other.id_key.sign(pool.id_claims(aud=None), header={"kid": pool.id_key.kid})

    assert jwt.get_unverified_header(forged)["kid"] == pool.id_key.kid
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(forged, pool.id_key.public, algorithms=["RS256"], options={"verify_exp": False})


def test_rotation_signs_with_new_keys_and_publishes_the_old_ones(pool):
    """Tokens from before a rotation verify until the old keys are forgotten."""
    old = (pool.id_key, pool.access_key)
    pool.rotate()
    new = (pool.id_key, pool.access_key)

    assert not {key.kid for key in old} & {key.kid for key in new}
    assert pool.published_keys == (*new, *old)
    assert jwt.get_unverified_header(pool.id_token())["kid"] == new[0].kid
    pool.forget()
    assert pool.published_keys == new


def test_keys_are_made_when_they_are_first_needed(new_key):
    """A pool that signs nothing costs no RSA key, and threads that ask at once share two keys."""
    made = []
    pool = UserPool(new_key=lambda: made.append(new_key()) or made[-1])
    assert made == []

    with ThreadPoolExecutor(8) as threads:
        kids = {key.kid for key in threads.map(lambda _: pool.id_key, range(8))}
    assert (len(made), len(kids)) == (2, 1)


def test_forgetting_before_any_use_changes_nothing(pool):
    """A fresh pool has nothing to forget."""
    pool.forget()

    assert len(pool.published_keys) == 2


def test_ids_and_secrets_look_like_cognitos(pool):
    """Client ids have 26 and secrets 52 of Cognito's 32 letters; users are named by UUIDs."""
    client, user = pool.add_client("batch", secret=True), pool.add_user("ada")

    assert re.fullmatch("[0-9a-v]{26}", client.id)
    assert re.fullmatch("[0-9a-v]{52}", client.secret)
    assert UUID.fullmatch(user.sub)
    assert UUID.fullmatch(read(pool.id_token())["jti"])


def test_an_app_client_has_the_id_and_the_secret_that_it_is_given(pool):
    """A configuration that names app clients can be tested with the very ids."""
    client = pool.add_client("web", client_id="1example23456789", secret="9example87654321")

    assert (client.id, client.secret) == ("1example23456789", "9example87654321")
    assert pool.clients["1example23456789"] is client


def test_ids_and_secrets_are_new_in_each_pool(new_key):
    """No client, secret or password is built in."""
    secrets = set()
    for pool in (UserPool(new_key=new_key), UserPool(new_key=new_key)):
        client = pool.add_client("batch", secret=True)
        secrets |= {client.id, client.secret, pool.add_user("ada").password}

    assert len(secrets) == 6


def test_randomness_is_a_parameter(new_key):
    """The same random bytes give the same ids, secrets and token names."""
    pools = [UserPool(random=random.Random(7).randbytes, new_key=new_key, clock=ManualClock()) for _ in range(2)]  # noqa: S311 - no secret

    assert pools[0].add_client("batch", secret=True) == pools[1].add_client("batch", secret=True)
    assert pools[0].id_claims() == pools[1].id_claims()


def test_secret_hash_is_cognitos():
    """The hash is HMAC-SHA256 of user name and client id under the secret, as the guide's formula says."""
    client = AppClient(name="web", id="1example23456789", secret="9example87654321")

    # printf %s 'ada1example23456789' | openssl dgst -sha256 -hmac 9example87654321 -binary | base64
    assert client.secret_hash("ada") == "fpTOR8AQ3z0KlT/a47pe2FFTwCUzHKCxa76hHL42hdA="


def test_public_client_has_no_secret_hash():
    """There is nothing to hash with."""
    with pytest.raises(ValueError, match="no secret"):
        AppClient(name="web", id="1example23456789").secret_hash("ada")


def test_secrets_are_not_shown():
    """A failing test prints no password or secret."""
    shown = repr((User(username="ada", sub="1", password="hunter2"), AppClient(name="web", id="1", secret="hunter2")))

    assert "hunter2" not in shown


def test_pool_is_shown_by_its_id(pool):
    """A failing test names the pool."""
    assert repr(pool) == "UserPool('eu-west-1_Local0001')"
