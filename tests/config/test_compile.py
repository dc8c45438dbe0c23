"""Compiling: a configuration becomes a gateway."""

import pickle
from pathlib import Path

import pytest

from authz_server.config import compile_gateway, load, user_pools
from authz_server.config.assemble import Assembly
from authz_server.config.compile import parts
from authz_server.core.gateway import Claims
from authz_server.core.user_pools import KeySettings, UserPool
from tests import judging

FULL = Path(__file__).with_name("full.yaml")
ENVIRONMENT = {"KEYS": "https://keys.example.com", "TTL": "60", "CEILING": "7200"}
STAFF = UserPool(id="eu-west-1_Staff0001", issuer="https://idp.example.com/staff", jwks="https://keys.example.com/eu-west-1_Staff0001.json")
PARTNER = UserPool(
    id="us-east-1_Partner01",
    issuer="https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Partner01",
    jwks=str(FULL.parent / "keys" / "partner.json"),
)
POOL = "eu-west-1_Home00001"
ISSUER = f"https://cognito-idp.eu-west-1.amazonaws.com/{POOL}"
HOME = f"{{type: cognito_user_pools, provider_arns: ['arn:aws:cognito-idp:eu-west-1:111122223333:userpool/{POOL}']}}"


class FakeKeys:
    """Stands for the keys of a user pool."""

    def __init__(self, pool: UserPool) -> None:
        self.pool = pool


@pytest.fixture(scope="module")
def gateway():
    """The full example, compiled."""
    return compile_gateway(load(FULL, ENVIRONMENT), FakeKeys)


def test_user_pools_are_listed_once_in_file_order():
    """Each user pool that a token may come from is listed once, with its issuer and the place of its keys."""
    assert user_pools(load(FULL, ENVIRONMENT)) == (STAFF, PARTNER)


def test_a_pool_says_how_its_keys_are_kept():
    """A pool's own ceiling and CA file come before those of all pools; files are found beside the configuration."""
    staff, partner = user_pools(load(FULL, ENVIRONMENT))

    assert staff.settings == KeySettings(stale_ceiling=43_200, ca_file=str(FULL.parent / "keys" / "ca.pem"))
    assert partner.settings == KeySettings(stale_ceiling=7_200, ca_file="/etc/partner.pem")


def test_keys_are_kept_for_a_day(configure):
    """Without a word the ceiling is 24 hours, and the system's certificates are trusted."""
    (pool,) = user_pools(configure(f"version: 1\nauthorizers: {{home: {HOME}}}\napis: {{a: {{}}}}"))

    assert pool.settings == KeySettings(stale_ceiling=86_400, ca_file=None)


def test_keys_are_asked_for_once():
    """The keys of a pool are asked for once, however many authorizers and apis accept it."""
    asked = []

    compile_gateway(load(FULL, ENVIRONMENT), lambda pool: asked.append(pool) or FakeKeys(pool))

    assert asked == [STAFF, PARTNER]


def test_an_authorizer_is_compiled(gateway):
    """Header name in lower case, pools by issuer, expression and app clients are what the file says."""
    web = gateway.apis["shop"].authorizers["web"]

    assert (web.name, web.identity_source) == ("web", "x-api-token")
    assert {issuer: keys.pool for issuer, keys in web.issuers.items()} == {STAFF.issuer: STAFF}
    rules = {rule.name: rule for rule in web.rules}
    for client, audience, app_client in (("webclient01", True, True), ("mobile", False, False), ("webclient03", True, False)):
        evaluation = judging.of_claims({"token_use": "id", "aud": client})
        assert (rules["audience"].met(evaluation), rules["app_client"].met(evaluation)) == (audience, app_client)


def test_an_authorizer_without_restrictions_has_none(gateway):
    """An expression or list of app clients that is left out is no restriction."""
    staff = gateway.apis["shop"].authorizers["staff"]

    assert staff.identity_source == "authorization"
    assert not {"audience", "app_client"} & {rule.name for rule in staff.rules}


def test_the_updated_issuer_has_the_same_keys(gateway):
    """`accept_updated_issuer` accepts a second issuer of each pool, with the keys of the first."""
    pools = gateway.apis["shop"].authorizers["staff-and-partners"].issuers

    assert list(pools) == [
        STAFF.issuer,
        "https://issuer-cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Staff0001",
        PARTNER.issuer,
        "https://issuer-cognito-idp.us-east-1.amazonaws.com/us-east-1_Partner01",
    ]
    first, first_updated, second, second_updated = pools.values()
    assert first is first_updated
    assert second is second_updated
    assert (first.pool, second.pool) == (STAFF, PARTNER)


def test_a_replicas_authorizer_accepts_the_issuers_of_both_regions(configure):
    """Tokens that name the primary region and older ones that name the replica's are of one pool, whose keys the ARN's region gives."""
    replica = "{type: cognito_user_pools, provider_arns: ['arn:aws:cognito-idp:us-west-2:111122223333:userpool/us-east-1_Pool00001']}"
    loaded = configure(f"version: 1\nauthorizers: {{home: {replica}}}\napis: {{a: {{}}}}")
    (pool,) = user_pools(loaded)
    pools = compile_gateway(loaded, FakeKeys).apis["a"].authorizers["home"].issuers

    assert pool.issuer == "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Pool00001"
    assert pool.jwks == "https://cognito-idp.us-west-2.amazonaws.com/us-east-1_Pool00001/.well-known/jwks.json"
    assert {issuer: keys.pool for issuer, keys in pools.items()} == {
        "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Pool00001": pool,
        "https://cognito-idp.us-west-2.amazonaws.com/us-east-1_Pool00001": pool,
    }


def test_an_issuer_of_its_own_is_the_only_one(configure):
    """`user_pools.<id>.issuer` takes the place of all that follow from the ARN."""
    replica = "{type: cognito_user_pools, provider_arns: ['arn:aws:cognito-idp:us-west-2:111122223333:userpool/us-east-1_Pool00001']}"
    text = f"version: 1\nauthorizers: {{home: {replica}}}\napis: {{a: {{}}}}\nuser_pools: {{us-east-1_Pool00001: {{issuer: 'https://id.test/p'}}}}"

    assert list(compile_gateway(configure(text), FakeKeys).apis["a"].authorizers["home"].issuers) == ["https://id.test/p"]


def test_every_api_has_the_authorizers_that_it_can_complete(gateway):
    """Envoy may name any authorizer, so an api has all but those that want a stage variable which it lacks."""
    assert list(gateway.apis["shop"].authorizers) == ["staff", "staff-and-partners", "web", "per-stage"]
    assert list(gateway.apis["partners"].authorizers) == ["staff", "staff-and-partners", "web"]
    assert {keys.pool for keys in gateway.apis["shop"].authorizers["per-stage"].issuers.values()} == {PARTNER}


def test_equal_authorizers_are_one_object(gateway):
    """Apis share the authorizers that mean the same in both."""
    assert gateway.apis["shop"].authorizers["web"] is gateway.apis["fallback"].authorizers["web"]


def test_a_stage_has_its_own_pool(configure):
    """One authorizer accepts another pool in another stage."""
    arn = "arn:aws:cognito-idp:eu-west-1:111122223333:userpool/${stageVariables.Pool}"
    loaded = configure(
        f"""version: 1
authorizers: {{staged: {{type: cognito_user_pools, provider_arns: ['{arn}']}}}}
apis:
  a: {{base_path: /a, stage_variables: {{Pool: eu-west-1_A}}}}
  b: {{base_path: /b, stage_variables: {{Pool: eu-west-1_B}}}}
"""
    )

    apis = compile_gateway(loaded, FakeKeys).apis

    assert [keys.pool.id for api in apis.values() for keys in api.authorizers["staged"].issuers.values()] == ["eu-west-1_A", "eu-west-1_B"]


def test_expressions_are_shared(configure):
    """Equal expressions are compiled once, also in a process that gets them from another one."""
    home = HOME.replace("}", ", identity_validation_expression: a+}")
    loaded = configure(f"version: 1\nauthorizers: {{a: {home}, b: {home}}}\napis: {{a: {{}}}}")
    (api,) = parts(loaded)
    sent = pickle.loads(pickle.dumps(api))

    assert len({id(dict(part.settings)["expression"]) for part in (*api.authorizers, *sent.authorizers)}) == 1
    assert set(compile_gateway(loaded, FakeKeys).apis["a"].authorizers) == {"a", "b"}


def test_routes_are_compiled(gateway):
    """A route has its label, authorizer and scopes; a method that is public has no authorizer, an empty list is no list."""
    shop = gateway.apis["shop"]
    read, write = shop.route(["pets"], "GET"), shop.route(["pets"], "POST")
    pet, health = shop.route(["pets", "7"], "DELETE"), shop.route(["health"], "GET")

    assert (read.label, read.authorizer, read.scopes) == ("GET /pets", shop.authorizers["staff"], {"pets/read", "pets/admin"})
    assert write.scopes == {"pets/write"}
    assert (pet.label, pet.authorizer, pet.scopes) == ("ANY /pets/{petId}", shop.authorizers["per-stage"], frozenset())
    assert (health.label, health.authorizer, health.scopes) == ("GET /health", None, frozenset())


def test_addresses_are_compiled(gateway):
    """Each host leads to its api and what is behind the base path; an api without hosts serves all others."""
    assert gateway.hosts.find("api.example.com", ["prod", "v1", "pets"]) == (gateway.apis["shop"], ["pets"])
    assert gateway.hosts.find("a.shop.example.com", ["prod", "v1"]) == (gateway.apis["shop"], [])
    assert gateway.hosts.find("partners.example.com", ["x"]) == (gateway.apis["partners"], ["x"])
    assert gateway.hosts.find("elsewhere.example.com", ["ping"]) == (gateway.apis["fallback"], ["ping"])
    assert gateway.apis["shop"].base_path == ("prod", "v1")


def test_claims_are_compiled(gateway):
    """What an api does with claims is what the file says: an empty set of metadata stands for all, None for none."""
    assert gateway.apis["shop"].claims == Claims(
        headers=(("x-auth-sub", "sub"), ("x-auth-groups", "cognito:groups")),
        metadata=frozenset({"sub", "email"}),
        logged=frozenset({"sub"}),
        drop=False,
        forward_token=False,
    )
    assert gateway.apis["partners"].claims.metadata == frozenset()
    assert gateway.apis["fallback"].claims == Claims()


def test_identity_headers_are_those_of_all_apis(gateway):
    """A claim header of one api can not be spoofed at another."""
    for api in gateway.apis.values():
        assert api.identity_headers == ("x-auth-email", "x-auth-groups", "x-auth-sub")


@pytest.mark.parametrize(
    ("override", "endpoint", "issuer", "jwks"),
    [
        ("", "", ISSUER, f"{ISSUER}/.well-known/jwks.json"),
        ("", "http://127.0.0.1:9229/", ISSUER, f"http://127.0.0.1:9229/{POOL}/.well-known/jwks.json"),
        ("jwks_uri: https://a/b", "http://127.0.0.1:9229", ISSUER, "https://a/b"),
        ("issuer: https://a", "", "https://a", f"{ISSUER}/.well-known/jwks.json"),
        ("jwks_file: /a/b.json", "http://127.0.0.1:9229", ISSUER, "/a/b.json"),
    ],
)
def test_the_place_of_keys(configure, override, endpoint, issuer, jwks):
    """The file decides where keys come from, then the environment, then AWS; an issuer of one's own does not move them."""
    loaded = configure(
        f"version: 1\nauthorizers: {{home: {HOME}}}\napis: {{a: {{}}}}\nuser_pools: {{{POOL}: {{{override}}}}}",
        AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER=endpoint,
    )

    assert user_pools(loaded) == (UserPool(id=POOL, issuer=issuer, jwks=jwks),)


def test_key_files_stand_beside_the_configuration(tmp_path, monkeypatch):
    """A relative jwks_file is found from the configuration's folder, wherever the process runs."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.yaml").write_text(
        f"version: 1\nauthorizers: {{home: {HOME}}}\napis: {{a: {{}}}}\nuser_pools: {{{POOL}: {{jwks_file: keys.json}}}}"
    )
    monkeypatch.chdir(tmp_path)

    [pool] = user_pools(load(Path("conf/a.yaml"), {}))

    assert pool.jwks == str(tmp_path / "conf" / "keys.json")


def test_a_replica_is_a_pool_with_an_issuer_of_its_own(configure):
    """Two ARNs of one pool id in two regions are two issuers, and share the updated issuer of the primary region."""
    replica = f"arn:aws:cognito-idp:us-west-2:111122223333:userpool/{POOL}"
    both = HOME.replace("']", f"', '{replica}']").replace("}", ", accept_updated_issuer: true}")
    loaded = configure(f"version: 1\nauthorizers: {{home: {both}}}\napis: {{a: {{}}}}")

    pools = compile_gateway(loaded, FakeKeys).apis["a"].authorizers["home"].issuers

    assert list(pools) == [
        ISSUER,
        f"https://issuer-cognito-idp.eu-west-1.amazonaws.com/{POOL}",
        f"https://cognito-idp.us-west-2.amazonaws.com/{POOL}",
    ]


def test_an_assembly_knows_its_user_pools():
    """The pools whose keys were asked for are those that the configuration can accept tokens of."""
    loaded = load(FULL, ENVIRONMENT)

    assert set(Assembly(FakeKeys).add(parts(loaded)).user_pools) == set(user_pools(loaded))
