"""The details of a denial: what was expected and which kind was found, never what a token or a path holds."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import re2

from authz_server.core.cognito_user_pools import cognito_user_pools
from authz_server.core.decisions import MAX_LISTED, Deny, Details, listed
from authz_server.core.gateway import Api, Claims, Gateway, Route
from authz_server.core.hosts import Hosts
from authz_server.core.reasons import Reason
from authz_server.core.request import Request
from authz_server.core.routes import Routes
from authz_server.testing import AppClient, StaticKeys, UserPool

CLIENT = AppClient(name="app", id="1h57kf5cpq17m0eml12EXAMPLE")
Denials = Callable[..., Deny]


@pytest.fixture(scope="module")
def denial(pool: UserPool, now: float) -> Denials:
    """Decide a request that is denied."""
    pools = {pool.issuer: StaticKeys(pool)}
    authorizers = {
        "users": cognito_user_pools(name="users", identity_source="authorization", issuers=pools),
        "strict": cognito_user_pools(name="strict", identity_source="x-token", issuers=pools, expression=re2.compile("x")),
        "clients": cognito_user_pools(name="clients", identity_source="authorization", issuers=pools, app_clients=frozenset({CLIENT.id})),
    }
    routes: Routes[Route] = Routes()
    routes.add("/users", {"GET": Route(label="GET /users", authorizer=authorizers["users"])})
    routes.add("/scopes", {"GET": Route(label="GET /scopes", authorizer=authorizers["users"], scopes=frozenset({"b/c", "a/b"}))})
    routes.add("/strict", {"GET": Route(label="GET /strict", authorizer=authorizers["strict"])})
    routes.add("/clients", {"GET": Route(label="GET /clients", authorizer=authorizers["clients"])})
    api = Api(name="shop", base_path=("prod",), routes=routes, authorizers=authorizers, claims=Claims(), identity_headers=())
    gateway = Gateway(
        apis={"shop": api}, hosts=Hosts([("api.test", ("prod",), api), ("api.test", ("v2", "x"), api), ("*.b.test", (), api)])
    )

    def decide(
        path: str, headers: Mapping[str, str] | None = None, host: str = "api.test", context: Mapping[str, str] | None = None
    ) -> Deny:
        decision = gateway.decide(Request("GET", host, path, headers or {}, context or {}), now)
        assert isinstance(decision, Deny)
        return decision

    return decide


def signed(pool: UserPool, **claims: Any) -> dict[str, str]:
    """Write a header with an ID token."""
    return {"authorization": pool.id_token(client=AppClient(name="o", id="other"), **claims)}


@pytest.mark.parametrize(
    ("path", "use", "details"),
    [
        ("/prod/users", "access", (("token_use_wanted", "id"), ("token_use_found", "access"))),
        ("/prod/scopes", "id", (("token_use_wanted", "access"), ("token_use_found", "id"))),
        ("/prod/users", "private", (("token_use_wanted", "id"), ("token_use_found", "other"))),
        ("/prod/users", None, (("token_use_wanted", "id"), ("token_use_found", "other"))),
        ("/prod/users", "", (("token_use_wanted", "id"), ("token_use_found", "other"))),
    ],
)
def test_both_kinds_of_token_are_told(path: str, use: str | None, details: Details, denial: Denials, pool: UserPool) -> None:
    """The kind that the route takes, and the one that came: `id`, `access`, or `other` for whatever else stands there."""
    denied = denial(path, signed(pool, token_use=use))

    assert (denied.reason, denied.details) == (Reason.WRONG_TOKEN_USE, details)


def test_the_scopes_of_the_route_are_told(denial: Denials, pool: UserPool) -> None:
    """In order, as configured; those of the token are not."""
    denied = denial("/prod/scopes", {"authorization": pool.access_token(scope="secret/scope")})

    assert (denied.reason, denied.details) == (Reason.SCOPE_UNMET, (("scopes_wanted", "a/b b/c"),))


@pytest.mark.parametrize(("aud", "kind"), [(None, "none"), ("secret", "text"), (["x"], "list")])
def test_the_kind_of_aud_is_told(aud: Any, kind: str, denial: Denials, pool: UserPool) -> None:
    """Most access tokens have none, which no expression can match."""
    denied = denial("/prod/strict", {"x-token": pool.id_token(aud=aud)})

    assert (denied.reason, denied.details) == (Reason.AUDIENCE_REFUSED, (("aud_found", kind),))


def test_the_claim_that_names_the_app_client_is_told(denial: Denials, pool: UserPool) -> None:
    """It is another one in an access token."""
    denied = denial("/prod/clients", signed(pool))

    assert (denied.reason, denied.details) == (Reason.APP_CLIENT_REFUSED, (("claim_compared", "aud"),))


def test_the_header_that_should_hold_the_token_is_told(denial: Denials) -> None:
    """A proxy that does not send it along looks like clients without tokens."""
    for headers in ({}, {"x-token": "secret"}):
        assert denial("/prod/strict", headers).details == (("identity_source", "x-token"),)


def test_the_issuers_of_the_authorizer_are_told(denial: Denials, pool: UserPool, other_pool: UserPool) -> None:
    """Not the one of the token, which nobody has verified."""
    denied = denial("/prod/users", {"authorization": other_pool.id_token()})

    assert (denied.reason, denied.details) == (Reason.ISSUER_UNKNOWN, (("issuers_known", pool.issuer),))


@pytest.mark.parametrize(
    ("host", "context", "reason", "details"),
    [
        ("api.test", {}, Reason.NO_API, (("base_paths_known", "/prod /v2/x"),)),
        ("other.test", {}, Reason.NO_API, (("hosts_known", "api.test *.b.test"),)),
        ("api.test", {"api": "shop"}, Reason.NO_ROUTE, (("base_paths_known", "/prod"),)),
        ("api.test", {"api": "secret"}, Reason.API_UNKNOWN, (("apis_known", "shop"),)),
        ("api.test", {"api": "shop", "authorizer": "x"}, Reason.AUTHORIZER_UNKNOWN, (("authorizers_known", "users strict clients"),)),
    ],
)
def test_what_could_have_been_found_is_told(host: str, context: dict[str, str], reason: Reason, details: Details, denial: Denials) -> None:
    """Base paths of the host, hosts where none fits, apis and authorizers; not what was asked for, which may be a secret."""
    denied = denial("/secret", host=host, context=context)

    assert (denied.reason, denied.details) == (reason, details)


def test_a_gateway_without_apis_has_nothing_to_tell(now: float) -> None:
    """There is no list of nothing."""
    denied = Gateway(apis={}, hosts=Hosts(())).decide(Request("GET", "api.test", "/"), now)

    assert isinstance(denied, Deny)
    assert denied.details == ()


@pytest.mark.parametrize(("count", "more"), [(0, ""), (MAX_LISTED, ""), (MAX_LISTED + 1, " and 1 more"), (1_000, " and 990 more")])
def test_lists_are_short(count: int, more: str) -> None:
    """Ten names at most: the log is no copy of the configuration."""
    names = [f"n{number}" for number in range(count)]

    assert listed(names) == " ".join(names[:MAX_LISTED]) + more


@pytest.mark.parametrize(
    ("lengths", "kept"), [([999], 1), ([1_000], 0), ([498, 500], 2), ([498, 501], 1), ([256] * 5, 3), ([2_000, 1], 0)], ids=str
)
def test_lists_of_long_names_are_short(lengths: list[int], kept: int) -> None:
    """A line of the log has to fit into what a pipe takes whole."""
    names = ["x" * length for length in lengths]
    more = [f"and {len(names) - kept} more"] if kept < len(names) else []

    assert listed(names) == " ".join([*names[:kept], *more])
