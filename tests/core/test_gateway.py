"""One generation decides: the way from a request to allow, deny or wait."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.core import gateway as gateway_module
from authz_server.core.authorizers import Authorizer, KeysPending
from authz_server.core.cognito_user_pools import cognito_user_pools
from authz_server.core.decisions import Allow, Deny
from authz_server.core.gateway import NAMED_BY_ENVOY, Api, Claims, Gateway, Pending, Route, protected
from authz_server.core.hosts import Hosts
from authz_server.core.proofs import proof_of, repeatable_until
from authz_server.core.reasons import Reason, ResponseType
from authz_server.core.request import Request
from authz_server.core.responses import BUILT_IN
from authz_server.core.routes import METHODS, Routes
from authz_server.core.tokens import Key
from authz_server.testing import StaticKeys, UserPool

READ: Final = "pets/read"
IDENTITY: Final = ("x-auth-sub", "x-auth-email", "x-other-api")
CLAIMS: Final = Claims(headers=(("x-auth-sub", "sub"), ("x-auth-email", "email")))


class Fetching:
    """Keys that are being fetched."""

    def find(self, kid: str) -> Key:
        """Say what to wait for."""
        raise KeysPending(("fetch for", kid))

    def holds(self, key: Key) -> bool:
        """Hold nothing yet."""
        raise AssertionError(key)


Make = Callable[..., Gateway]


def routes_of(table: Mapping[str, Mapping[str, tuple[Authorizer | None, tuple[str, ...]]]]) -> Routes[Route]:
    """Build an index of routes: template, method, authorizer and scopes."""
    made: Routes[Route] = Routes()
    for template, methods in table.items():
        made.add(
            template,
            {
                method: Route(label=f"{method} {template}", authorizer=authorizer, scopes=frozenset(scopes))
                for method, (authorizer, scopes) in methods.items()
            },
        )
    return made


@pytest.fixture(scope="session")
def gateway(pool: UserPool) -> Make:
    """Make a gateway of an api `pets` below /prod, and an api `plain` without base path for the host plain.test."""

    def make(claims: Claims = CLAIMS, *, keys: Any = None, source: str = "authorization") -> Gateway:
        authorizer = cognito_user_pools(name="users", identity_source=source, issuers={pool.issuer: keys or StaticKeys(pool)})
        pets = Api(
            name="pets",
            base_path=("prod",),
            routes=routes_of(
                {
                    "/": {"GET": (None, ())},
                    "/pets": {"GET": (authorizer, ()), "POST": (authorizer, (READ,)), "OPTIONS": (None, ())},
                    "/pets/{petId}": {"GET": (authorizer, ()), "ANY": (None, ())},
                    "/{proxy+}": {"ANY": (None, ())},
                }
            ),
            authorizers={"users": authorizer},
            claims=claims,
            identity_headers=IDENTITY,
        )
        plain = Api(
            name="plain",
            base_path=(),
            routes=routes_of({"/": {"GET": (None, ())}, "/pkg.Svc/M": {"POST": (None, ())}}),
            authorizers={},
            claims=Claims(),
            identity_headers=IDENTITY,
        )
        return Gateway(apis={"pets": pets, "plain": plain}, hosts=Hosts([("", ("prod",), pets), ("plain.test", (), plain)]))

    return make


def get(path: str, token: str | None = None, *, method: str = "GET", host: str = "api.test", **context: str) -> Request:
    """Make a request."""
    return Request(method, host, path, {} if token is None else {"authorization": token}, context)


@pytest.mark.parametrize(
    ("request_", "route"),
    [
        pytest.param(get("/prod"), "GET /", id="the base path alone"),
        pytest.param(get("/prod/"), "GET /", id="the base path and a slash"),
        pytest.param(get("/prod?x"), "GET /", id="query"),
        pytest.param(get("/prod/pets", method="OPTIONS"), "OPTIONS /pets", id="public method of a guarded resource"),
        pytest.param(get("/prod/pets", method="DELETE"), "ANY /{proxy+}", id="a specific resource without the method gives way"),
        pytest.param(get("/prod/a/"), "ANY /{proxy+}", id="slash at the end, greedy"),
        pytest.param(get("/prod/pets/", method="OPTIONS"), "OPTIONS /pets", id="slash at the end of a preflight"),
        pytest.param(get("/prod/a%3Ab/c%2Cd"), "ANY /{proxy+}", id="escapes of clients that escape always"),
        pytest.param(get("/prod/pets/1", method="DELETE"), "ANY /pets/{petId}", id="ANY takes methods that are not named"),
        pytest.param(get("/prod/a/b/c"), "ANY /{proxy+}", id="greedy"),
        pytest.param(get("/prod/pets/1/toys"), "ANY /{proxy+}", id="greedy where nothing better fits"),
    ],
)
def test_public_routes_need_no_token(request_: Request, route: str, gateway: Make, now: float) -> None:
    """A public route is allowed; nothing of the client's identity headers passes, and nothing is added."""
    assert gateway().decide(request_, now) == Allow(api="pets", route=route, remove=IDENTITY)


@pytest.mark.parametrize("method", ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"])
def test_any_stands_for_the_methods_of_api_gateway(method: str, gateway: Make, now: float) -> None:
    """ANY takes each of the seven."""
    assert gateway().decide(get("/prod/x", method=method), now) == Allow(api="pets", route="ANY /{proxy+}", remove=IDENTITY)


@pytest.mark.parametrize("method", ["get", "Get", "GET ", " GET", "GET\0", "FOO", "TRACE", "CONNECT", "ANY", "any", ""])
@pytest.mark.parametrize("path", ["/prod/pets/1", "/prod/x"], ids=["beside a guarded GET", "alone"])
def test_any_stands_for_nothing_else(method: str, path: str, gateway: Make, now: float) -> None:
    """What an upstream may read as a method that is guarded, and the word ANY itself, reach no route."""
    made = gateway()

    for _ in range(2):
        assert made.decide(get(path, method=method), now) == Deny(reason=Reason.NO_METHOD, api="pets")


@pytest.mark.parametrize("token", ["Bearer nonsense", "Basic dXNlcjpwYXNz", ""])
def test_a_public_route_does_not_read_the_token(token: str, gateway: Make, now: float) -> None:
    """What stands in the identity source of a public route is nobody's business."""
    assert gateway().decide(get("/prod/x", token), now) == Allow(api="pets", route="ANY /{proxy+}", remove=IDENTITY)


@pytest.mark.parametrize(
    ("request_", "deny"),
    [
        pytest.param(get("/prod/../x"), Deny(reason=Reason.PATH_REFUSED), id="path"),
        pytest.param(get("/prod/..", host="a,b"), Deny(reason=Reason.PATH_REFUSED), id="path and host"),
        pytest.param(get(""), Deny(reason=Reason.PATH_REFUSED), id="no path"),
        pytest.param(get("/prod", host="a,b"), Deny(reason=Reason.HOST_REFUSED), id="host"),
        pytest.param(get("/prod", host=""), Deny(reason=Reason.HOST_REFUSED), id="no host"),
        pytest.param(get("/test/pets"), Deny(reason=Reason.NO_API), id="no such base path"),
        pytest.param(get("/"), Deny(reason=Reason.NO_API), id="above the base path"),
        pytest.param(get("/production"), Deny(reason=Reason.NO_API), id="half a segment"),
        pytest.param(get("/prod", host="plain.test"), Deny(reason=Reason.NO_ROUTE, api="plain"), id="base path of another host's api"),
        pytest.param(get("/pkg.Svc/", host="plain.test"), Deny(reason=Reason.NO_ROUTE, api="plain"), id="a slash is no value"),
        pytest.param(get("/pkg.Svc/M", host="plain.test"), Deny(reason=Reason.NO_METHOD, api="plain"), id="no resource has the method"),
        pytest.param(get("/prod/%2e"), Deny(reason=Reason.ESCAPE_REFUSED), id="escaped dot"),
        pytest.param(get("/pro%64/pets"), Deny(reason=Reason.NO_API), id="escaped base path, which is none"),
        pytest.param(get("/prod/pets", method="ANY"), Deny(reason=Reason.NO_METHOD, api="pets"), id="a method named ANY"),
        pytest.param(get("/prod", method="POST"), Deny(reason=Reason.NO_METHOD, api="pets"), id="the root lacks the method"),
        pytest.param(get("/prod", method=""), Deny(reason=Reason.NO_METHOD, api="pets"), id="no method"),
        pytest.param(get("/prod/pets"), Deny(reason=Reason.TOKEN_MISSING, api="pets", route="GET /pets"), id="no token"),
        pytest.param(get("/prod/pets", "x"), Deny(reason=Reason.TOKEN_MALFORMED, api="pets", route="GET /pets"), id="no JWS"),
        pytest.param(
            get("/prod/pets/1"), Deny(reason=Reason.TOKEN_MISSING, api="pets", route="GET /pets/{petId}"), id="named method beats ANY"
        ),
    ],
)
def test_denials_say_how_far_the_request_came(request_: Request, deny: Deny, gateway: Make, now: float) -> None:
    """Path, host, api, resource, method and token are checked in turn; a denial names the api and route that were found."""
    assert gateway().decide(request_, now) == deny


def test_no_route_is_403_with_a_token_too(pool: UserPool, gateway: Make, now: float) -> None:
    """A token does not change the answer to a path that leads nowhere."""
    with_token, without = (gateway().decide(get("/nowhere", token), now) for token in (pool.id_token(), None))

    assert with_token == without
    assert with_token.response.status == 403


def test_claims_go_on_as_headers(pool: UserPool, gateway: Make, now: float) -> None:
    """A verified token's claims are set, and every other identity header of the generation is stripped."""
    token = pool.id_token(sub="ada", email=None)

    assert gateway().decide(get("/prod/pets", f"Bearer {token}"), now) == Allow(
        api="pets", route="GET /pets", headers=(("x-auth-sub", "ada"),), remove=("x-auth-email", "x-other-api")
    )


def test_scopes_of_the_route_count(pool: UserPool, gateway: Make, now: float) -> None:
    """The same resource takes an access token for one method and an ID token for another."""
    access = pool.access_token(scope=READ)

    assert gateway().decide(get("/prod/pets", access, method="POST"), now).decision == "allow"
    assert gateway().decide(get("/prod/pets", access), now) == Deny(reason=Reason.WRONG_TOKEN_USE, api="pets", route="GET /pets")


def test_the_identity_source_is_the_authorizers(pool: UserPool, gateway: Make, now: float) -> None:
    """Only the header that the authorizer names is read."""
    made = gateway(source="x-token")
    asked = get("/prod/pets", pool.id_token())

    assert made.decide(asked, now).reason is Reason.TOKEN_MISSING
    assert made.decide(asked._replace(headers={"x-token": pool.id_token()}), now).decision == "allow"


USERS: Final = {"api": "pets", "authorizer": "users"}
READERS: Final = {**USERS, "authorization_scopes": "x pets/read"}


@pytest.mark.parametrize(
    ("context", "path", "kind", "expected"),
    [
        pytest.param({}, "/prod/pets", "id", "GET /pets", id="nothing: by host and path"),
        pytest.param({"policy": "x", "zone": "y"}, "/prod/pets", "id", "GET /pets", id="other keys are ignored"),
        pytest.param({"scopes": READ, "my-api": "x"}, "/prod/x", None, "ANY /{proxy+}", id="a key that begins otherwise is ignored"),
        *(
            pytest.param({**named, key: "users"}, "/prod/x", "id", Reason.CONTEXT_REFUSED, id=f"{key} is a slip, with {len(named)} others")
            for key in (
                "authorizers",
                "authorizer_name",
                "authorisation_scopes",
                "authorization_scope",
                "authorization-scopes",
                "Authorizer",
                "API",
                "apis",
                "api_name",
            )
            for named in ({}, {"api": "pets"}, USERS)
        ),
        pytest.param({"api": "pets"}, "/prod/pets", "id", "GET /pets", id="api: by path in that api"),
        pytest.param({"api": "pets"}, "/prod", "id", "GET /", id="api: the base path alone"),
        pytest.param({"api": "pets"}, "/prod/", "id", "GET /", id="api: the base path and a slash"),
        pytest.param({"api": "pets"}, "/pets", "id", Reason.NO_ROUTE, id="api: above its base path"),
        pytest.param({"api": "pets"}, "/", "id", Reason.NO_ROUTE, id="api: path shorter than its base path"),
        pytest.param({"api": "pets"}, "/prod2/pets", "id", Reason.NO_ROUTE, id="api: half a segment of its base path"),
        pytest.param({"api": "plain"}, "/prod/pets", "id", Reason.NO_ROUTE, id="api: the path is another api's"),
        pytest.param({"api": "pets"}, "/prod/..", "id", Reason.PATH_REFUSED, id="api: refused path"),
        pytest.param({"api": "pets"}, "/prod/%2e%2e", "id", Reason.ESCAPE_REFUSED, id="api: refused escape"),
        pytest.param({"api": "pets"}, "/prod/%70ets", "id", Reason.ESCAPE_REFUSED, id="api: an escape that changes the route"),
        pytest.param(USERS, "/%70ets", "id", NAMED_BY_ENVOY, id="authorizer: an escape leads nowhere else, paths are not matched"),
        pytest.param(USERS, "/%2Fpets", "id", Reason.ESCAPE_REFUSED, id="authorizer: an escaped slash is refused all the same"),
        pytest.param(USERS, "/any/where", "id", NAMED_BY_ENVOY, id="authorizer: no path match"),
        pytest.param(USERS, "/", "id", NAMED_BY_ENVOY, id="authorizer: any path"),
        pytest.param(USERS, "/a//b", "id", Reason.PATH_REFUSED, id="authorizer: the path must be safe all the same"),
        pytest.param(USERS, "*", "id", Reason.PATH_REFUSED, id="authorizer: asterisk"),
        pytest.param(USERS, "/", None, Reason.TOKEN_MISSING, id="authorizer: no token"),
        pytest.param(USERS, "/prod/x", None, Reason.TOKEN_MISSING, id="authorizer: no token on what would be a public route"),
        pytest.param(USERS, "/", "access", Reason.WRONG_TOKEN_USE, id="authorizer without scopes: ID tokens only"),
        pytest.param(
            {**USERS, "authorization_scopes": ""}, "/", "id", Reason.CONTEXT_REFUSED, id="scopes: empty, as where a value is missing"
        ),
        pytest.param({**USERS, "authorization_scopes": "  "}, "/", "id", Reason.CONTEXT_REFUSED, id="scopes: blank"),
        pytest.param(READERS, "/", "access", NAMED_BY_ENVOY, id="scopes: any one"),
        pytest.param(READERS, "/", "id", Reason.WRONG_TOKEN_USE, id="scopes: access tokens only"),
        pytest.param(READERS, "/", None, Reason.TOKEN_MISSING, id="scopes: no token"),
        pytest.param({**USERS, "authorization_scopes": "  x  "}, "/", "access", Reason.SCOPE_UNMET, id="scopes: spaces are none"),
        pytest.param({"authorizer": "users"}, "/prod/pets", "id", Reason.CONTEXT_REFUSED, id="authorizer without api"),
        pytest.param({"authorization_scopes": READ}, "/prod/pets", "id", Reason.CONTEXT_REFUSED, id="scopes without api"),
        pytest.param({**READERS, "api": None}, "/prod/pets", "access", Reason.CONTEXT_REFUSED, id="authorizer and scopes without api"),
        pytest.param({**READERS, "authorizer": None}, "/prod/pets", "id", Reason.CONTEXT_REFUSED, id="scopes without authorizer"),
        pytest.param({"authorizer": "users"}, "/prod/x", None, Reason.CONTEXT_REFUSED, id="what is wrong makes nothing public"),
        pytest.param({"api": "dogs"}, "/prod/pets", "id", Reason.API_UNKNOWN, id="unknown api"),
        pytest.param({"api": ""}, "/prod/pets", "id", Reason.API_UNKNOWN, id="empty api"),
        pytest.param({"api": "Pets"}, "/prod/pets", "id", Reason.API_UNKNOWN, id="api in capitals"),
        pytest.param({"api": "dogs"}, "/prod/x", None, Reason.API_UNKNOWN, id="an unknown api makes nothing public"),
        pytest.param({**USERS, "api": "dogs"}, "/", "id", Reason.API_UNKNOWN, id="unknown api with an authorizer"),
        pytest.param({**USERS, "authorizer": "nobody"}, "/", "id", Reason.AUTHORIZER_UNKNOWN, id="unknown authorizer"),
        pytest.param({**USERS, "authorizer": ""}, "/", "id", Reason.AUTHORIZER_UNKNOWN, id="empty authorizer"),
        pytest.param({**USERS, "api": "plain"}, "/", "id", Reason.AUTHORIZER_UNKNOWN, id="authorizer of another api"),
    ],
)
def test_envoy_may_name_the_api_and_the_authorizer(
    context: dict[str, str | None], path: str, kind: str | None, expected: str | Reason, pool: UserPool, gateway: Make, now: float
) -> None:
    """What Envoy's route says is taken whole or answered with an error: the route that is taken, or the reason of the denial."""
    token = {"id": pool.id_token(), "access": pool.access_token(scope=READ), None: None}[kind]
    named = {key: value for key, value in context.items() if value is not None}
    decision = gateway().decide(get(path, token, **named), now)

    assert (decision.reason if isinstance(decision, Deny) else decision.route) == expected


@pytest.mark.parametrize("reason", [Reason.CONTEXT_REFUSED, Reason.API_UNKNOWN, Reason.AUTHORIZER_UNKNOWN])
def test_mistakes_in_envoys_configuration_are_500(reason: Reason) -> None:
    """A route that names what does not exist is our operator's mistake, not the caller's."""
    assert (BUILT_IN[reason].status, reason.value.type) == (500, ResponseType.AUTHORIZER_CONFIGURATION_ERROR)


def test_the_host_does_not_matter_where_envoy_names_the_api(gateway: Make, now: float) -> None:
    """Envoy has matched the host already."""
    for host in ("", "a,b", "plain.test"):
        assert gateway().decide(get("/prod", host=host, api="pets"), now) == Allow(api="pets", route="GET /", remove=IDENTITY)


def test_the_token_goes_on_unless_the_api_says_no(pool: UserPool, gateway: Make, now: float) -> None:
    """`forward_token: false` strips the identity source, whatever its name."""
    for source in ("authorization", "x-token"):
        request = get("/prod/pets")._replace(headers={source: pool.id_token(sub="ada", email="a@b.test")})
        kept = gateway(source=source).decide(request, now)
        stripped = gateway(Claims(headers=CLAIMS.headers, forward_token=False), source=source).decide(request, now)

        assert kept.remove == ("x-other-api",)
        assert stripped.remove == ("x-other-api", source)


def test_a_claim_in_place_of_the_token_survives(pool: UserPool, gateway: Make, now: float) -> None:
    """A header that is set is never removed, also when it is the identity source that shall not go on: removals run last."""
    claims = Claims(headers=(("authorization", "sub"),), forward_token=False)
    decision = gateway(claims).decide(get("/prod/pets", pool.id_token(sub="ada")), now)

    assert decision.headers == (("authorization", "ada"),)
    assert decision.remove == IDENTITY


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        pytest.param(None, {}, id="off"),
        pytest.param(
            frozenset({"sub", "cognito:groups", "email", "nothing"}), {"sub": "ada", "cognito:groups": ("a,c", "b")}, id="listed claims"
        ),
        pytest.param(
            frozenset(),
            {
                "sub": "ada",
                "cognito:groups": ("a,c", "b"),
                "exp": "Tue Sep 09 15:07:14 UTC 2025",
                "iss": "iss",
                "token_use": "id",
                "name": "é %",
            },
            id="all claims that are not empty",
        ),
    ],
)
def test_metadata_holds_texts_and_arrays_of_texts(
    metadata: frozenset[str] | None, expected: dict[str, str | tuple[str, ...]], pool: UserPool, gateway: Make, now: float
) -> None:
    """Dynamic metadata is off, all or some claims, as API Gateway's strings or arrays of them, without those that are null or empty."""
    claims = {
        "iss": pool.issuer,
        "exp": int(now) + 1,
        "token_use": "id",
        "sub": "ada",
        "cognito:groups": ["a,c", "b"],
        "email": "",
        "name": "é %",
        "x": None,
    }
    decision = gateway(Claims(metadata=metadata)).decide(get("/prod/pets", pool.id_key.sign(claims)), now)

    assert decision.metadata == {name: pool.issuer if value == "iss" else value for name, value in expected.items()}


@pytest.mark.parametrize("depth", [127, 128, 900, 985])
def test_a_claim_that_can_be_read_can_be_written(depth: int, pool: UserPool, gateway: Make, now: float) -> None:
    """However deep a claim is nested, the token is malformed or the claim goes on."""
    deep = "[" * depth + "]" * depth
    payload = f'{{"iss":"{pool.issuer}","exp":{int(now) + 1},"token_use":"id","email":{deep},"x":{deep}}}'
    made = gateway(Claims(headers=CLAIMS.headers, metadata=frozenset(), logged=frozenset({"x"})))
    decision = made.decide(get("/prod/pets", pool.id_key.sign(payload.encode())), now)

    if depth == 127:
        assert decision.headers == (("x-auth-email", deep[1:-1]),)
        assert decision.metadata["x"] == (deep[1:-1],)
        assert decision.logged["x"] == deep[1:-1]
    else:
        assert decision.reason is Reason.TOKEN_MALFORMED


def test_only_listed_claims_are_logged(pool: UserPool, gateway: Make, now: float) -> None:
    """The decision log gets the claims that the api names, and none by default."""
    token = pool.id_token(sub="ada", email="a@b.test")

    assert gateway().decide(get("/prod/pets", token), now).logged == {}
    assert gateway(Claims(logged=frozenset({"sub", "absent"}))).decide(get("/prod/pets", token), now).logged == {"sub": "ada"}


@pytest.mark.parametrize("drop", [True, False], ids=["drop", "deny"])
def test_too_many_claim_headers_are_dropped_or_denied(*, drop: bool, pool: UserPool, gateway: Make, now: float) -> None:
    """Beyond 8 KiB whole headers are left out, named and stripped from the client's request, or the check is denied."""
    request = get("/prod/pets", pool.id_token(sub="a" * 8_000, email="b" * 200))
    decision = gateway(Claims(headers=CLAIMS.headers, drop=drop)).decide(request, now)

    if drop:
        assert [name for name, _ in decision.headers] == ["x-auth-sub"]
        assert decision.dropped == ("x-auth-email",)
        assert decision.remove == ("x-auth-email", "x-other-api")
    else:
        assert decision == Deny(reason=Reason.CLAIM_HEADERS_TOO_LARGE, api="pets", route="GET /pets")
        assert decision.details == (("dropped_headers", "x-auth-email"),)


def test_headers_that_fit_are_not_denied(pool: UserPool, gateway: Make, now: float) -> None:
    """`claim_headers_overflow: deny` denies nothing as long as everything fits."""
    decision = gateway(Claims(headers=CLAIMS.headers, drop=False)).decide(get("/prod/pets", pool.id_token(sub="ada")), now)

    assert (decision.decision, decision.dropped) == ("allow", ())


def test_a_fetch_under_way_makes_the_check_wait(pool: UserPool, gateway: Make, now: float) -> None:
    """When the key is being fetched there is no decision yet, but what to wait for, and the 503 if it is in vain."""
    decision = gateway(keys=Fetching()).decide(get("/prod/pets", pool.id_token()), now)

    assert decision == Pending(
        fetch=("fetch for", pool.id_key.kid), unavailable=Deny(reason=Reason.KEYS_UNAVAILABLE, api="pets", route="GET /pets")
    )


@pytest.mark.parametrize(("ttl", "exp", "until"), [(300, 3_600, 300), (300, 60, 60), (3_600, 3_600, 3_600), (0, 60, 0)])
def test_an_allow_is_good_for_the_ttl_and_never_beyond_exp(ttl: int, exp: int, until: int, pool: UserPool, now: float) -> None:
    """What may be repeated ends with the authorizer's time to live or with the token, whichever is sooner."""
    authorizer = cognito_user_pools(name="users", identity_source="authorization", issuers={pool.issuer: StaticKeys(pool)}, result_ttl=ttl)
    api = Api(
        name="pets",
        base_path=(),
        routes=routes_of({"/pets": {"GET": (authorizer, ())}}),
        authorizers={},
        claims=Claims(),
        identity_headers=(),
    )
    decision = Gateway(apis={}, hosts=Hosts([("", (), api)])).decide(get("/pets", pool.id_token(exp=now + exp)), now)

    assert repeatable_until(decision.evaluation) == now + until
    assert proof_of(decision.evaluation).stands()


def test_a_decision_without_a_key_has_no_proof(gateway: Make, now: float) -> None:
    """Public routes and requests that lead nowhere rest on nothing that could fall."""
    for request in (get("/prod/x"), get("/prod/pets"), get("/nowhere")):
        evaluation = gateway().decide(request, now).evaluation
        assert evaluation is None or proof_of(evaluation) is None


def test_a_denial_that_took_a_key_says_which(pool: UserPool, gateway: Make, now: float) -> None:
    """The proof of a denied token is handed on."""
    assert proof_of(gateway().decide(get("/prod/pets", pool.id_token(exp=1)), now).evaluation).stands()


def test_matching_and_judging_are_deciding(pool: UserPool, gateway: Make, now: float) -> None:
    """The two halves of a decision can be asked for one after the other."""
    made, request = gateway(), get("/prod/pets", pool.id_token())
    match = api, route = made.match(request)

    assert (api.name, route.label) == ("pets", "GET /pets")
    assert made.judge(match, request, now) == made.decide(request, now)
    assert made.match(get("/nowhere")) == made.decide(get("/nowhere"), now) == Deny(reason=Reason.NO_API)


def test_a_request_seen_before_is_matched_as_the_first_time(gateway: Make) -> None:
    """What is remembered is told apart by method, host and path; the query is no part of it, but a fragment in it still is refused."""
    made = gateway()
    requests = [
        get("/prod/pets"),
        get("/prod/pets", method="OPTIONS"),
        get("/prod/pets", host="plain.test"),
        get("/prod/pets/1"),
        get("/prod/pets?x=1"),
        get("/prod/pets?x#y"),
        get("/prod/pets#y"),
        get("/prod/pets", api="pets"),
        get("/nowhere"),
    ]
    first = [made.match(request) for request in requests]

    assert [made.match(request) for request in requests] == first
    assert [match.reason if isinstance(match, Deny) else match[1].label for match in first] == [
        "GET /pets",
        "OPTIONS /pets",
        Reason.NO_ROUTE,
        "GET /pets/{petId}",
        "GET /pets",
        Reason.PATH_REFUSED,
        Reason.PATH_REFUSED,
        "GET /pets",
        Reason.NO_API,
    ]
    assert list(made.seen) == [
        ("GET", "api.test", "/prod/pets"),
        ("OPTIONS", "api.test", "/prod/pets"),
        ("GET", "api.test", "/prod/pets/1"),
    ]


def test_what_was_seen_is_bounded(gateway: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many paths clients ask for, and however long, few are remembered, and those asked for now."""
    monkeypatch.setattr(gateway_module, "MAX_SEEN", 2)
    made = gateway()
    for name in ("a", "b", "c", "d" * 500):
        assert not isinstance(made.match(get(f"/prod/pets/{name}")), Deny)

    assert list(made.seen) == [("GET", "api.test", "/prod/pets/c")]


def routes_named(made: Gateway, *scopes: str) -> list[Route]:
    """Find the routes that Envoy names with these scopes."""
    return [made.match(get("/", api="pets", authorizer="users", authorization_scopes=each))[1] for each in scopes]


def test_a_route_that_envoy_names_is_made_once(gateway: Make) -> None:
    """The same authorizer and scopes give the same object, other scopes another one."""
    one, again, other = routes_named(gateway(), "a b", "a b", "a")

    assert one is again
    assert other is not one
    assert (one.scopes, other.scopes) == ({"a", "b"}, {"a"})


def test_named_routes_are_bounded(gateway: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many scopes Envoy's routes name, few are kept, and all of them work."""
    monkeypatch.setattr(gateway_module, "MAX_NAMED_ROUTES", 2)
    made = gateway()
    found = routes_named(made, "a", "b", "c", "c")

    assert len(made.apis["pets"].named_routes) == 1
    assert [route.scopes for route in found] == [{"a"}, {"b"}, {"c"}, {"c"}]
    assert found[2] is found[3]


def tag(api: str = "pets", name: str = "users", scopes: tuple[str, ...] = (), ttl: int = 300) -> bytes:
    """Tag a route."""
    authorizer = cognito_user_pools(name=name, identity_source="authorization", issuers={}, result_ttl=ttl)
    return protected("GET /any", api, authorizer, frozenset(scopes)).tag


def test_routes_that_decide_alike_share_a_tag() -> None:
    """Api, authorizer and the set of scopes make a tag; the template and the order of scopes do not."""
    assert tag(scopes=("a", "b")) == tag(scopes=("b", "a"))
    different = [
        tag(),
        tag(api="dogs"),
        tag(name="admins"),
        tag(scopes=("a",)),
        tag(scopes=("a", "b")),
        tag(scopes=("ab",)),
        tag("pet", "susers"),
    ]
    assert len(set(different)) == len(different)
    assert all(different)


def test_decisions_that_are_not_repeated_have_no_tag() -> None:
    """A time to live of zero has each token judged anew."""
    assert tag(ttl=0) == b""
    assert protected("GET /any", "pets", cognito_user_pools(name="users", identity_source="a", issuers={}), frozenset()).tag == b""
    assert Route(label="public", authorizer=None).tag == b""


header_names = st.sampled_from(["x-auth-sub", "x-auth-email", "x-other-api", "authorization", "x-a", "x-b"])
claim_values = st.none() | st.text(max_size=5) | st.integers() | st.lists(st.text(max_size=3), max_size=2) | st.just("a" * 3_500)


@given(
    mapping=st.lists(
        st.tuples(header_names, st.sampled_from(["nickname", "email", "name", "absent"])), max_size=5, unique_by=lambda pair: pair[0]
    ),
    nickname=claim_values,
    email=claim_values,
    name=claim_values,
    forward_token=st.booleans(),
    more=st.lists(header_names, max_size=3, unique=True),
    path=st.sampled_from(["/prod/pets", "/prod/x"]),
)
def test_no_header_is_both_set_and_removed(
    *,
    mapping: list[tuple[str, str]],
    nickname: Any,
    email: Any,
    name: Any,
    forward_token: bool,
    more: list[str],
    path: str,
    pool: UserPool,
    now: float,
) -> None:
    """Each identity header is either set by us or stripped, never both and never neither, on guarded and public routes."""
    authorizer = cognito_user_pools(name="users", identity_source="authorization", issuers={pool.issuer: StaticKeys(pool)})
    identity = tuple(dict.fromkeys([*(header for header, _ in mapping), *more]))
    api = Api(
        name="pets",
        base_path=("prod",),
        routes=routes_of({"/pets": {"GET": (authorizer, ())}, "/x": {"GET": (None, ())}}),
        authorizers={},
        claims=Claims(headers=tuple(mapping), forward_token=forward_token),
        identity_headers=identity,
    )
    token = pool.id_token(nickname=nickname, email=email, name=name)
    decision = Gateway(apis={}, hosts=Hosts([("", ("prod",), api)])).decide(get(path, token), now)

    written = [header for header, _ in decision.headers]
    assert len(set(written)) == len(written)
    assert not set(written) & set(decision.remove)
    assert set(identity) <= set(written) | set(decision.remove)
    assert all(value for _, value in decision.headers)
    if path == "/prod/pets" and not forward_token:
        assert "authorization" in {*written, *decision.remove}


contexts = st.dictionaries(
    st.sampled_from(["api", "authorizer", "authorization_scopes", "other"]),
    st.sampled_from(["pets", "plain", "users", "", "x pets/read"]),
    max_size=4,
)
requests = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST", "ANY", "", "get", "FOO"]) | st.text(max_size=5),
    host=st.sampled_from(["api.test", "plain.test", "a,b", ""]) | st.text(max_size=8),
    path=st.sampled_from(["/prod", "/prod/pets", "/prod/pets/1", "/prod/x", "/", "*", "/prod//pets"]) | st.text(max_size=8),
    headers=st.dictionaries(st.sampled_from(["authorization", "x-auth-sub"]), st.text(max_size=12), max_size=2),
    context=contexts,
)


def a_pet(method: str) -> Request:
    """Ask for a resource whose GET is guarded and whose ANY is public."""
    return get("/prod/pets/1", method=method)


@given(method=st.sampled_from(sorted(METHODS)) | st.text(max_size=7), case=st.sampled_from([str, str.lower, str.title]))
def test_a_method_is_found_as_a_naive_search_finds_it(method: str, case: Callable[[str], str], gateway: Make, now: float) -> None:
    """The method's own entry, or else ANY's for the methods of API Gateway, or else none."""
    sent = case(method)
    decision = gateway().decide(a_pet(sent), now)
    known = sent in ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")

    assert decision.route == ("GET /pets/{petId}" if sent == "GET" else "ANY /pets/{petId}" if known else "")
    assert known or decision.reason is Reason.NO_METHOD


@given(request=requests)
def test_without_a_genuine_token_only_public_routes_are_allowed(request: Request, gateway: Make, now: float) -> None:
    """Whatever a client and a careless Envoy configuration send, a check ends in a decision, and an allow names a public route."""
    decision = gateway().decide(request, now)

    if isinstance(decision, Allow):
        assert decision.headers == ()
        assert decision.remove == IDENTITY
        assert decision.route in {"GET /", "OPTIONS /pets", "ANY /pets/{petId}", "ANY /{proxy+}", "POST /pkg.Svc/M"}
        assert request.method in METHODS
    else:
        assert isinstance(decision, Deny)
