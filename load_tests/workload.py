"""The workload: a user pool, an API of 20 routes, the request that is repeated, and others that must be denied."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from authz_server.envoy import stubs
from authz_server.testing import LocalCognito, UserPool

HOST = "api.example.com"
PATH = "/prod/orders/7f3a"
RESOURCES = ("orders", "customers", "invoices", "products", "carts", "payments", "refunds", "shipments", "reviews", "returns")
CLAIM_HEADERS = {"x-auth-sub": "sub", "x-auth-email": "email", "x-auth-username": "cognito:username"}
DAY = 86_400


class Workload:
    """What every target is given, and how it must answer.

    The request is a GET with an ID token in two header lines: what Envoy sends where `allowed_headers` is as in
    `deploy/envoy/envoy.yaml`.

    Args:
        folder: for the configuration, the key set, and the rules of the reference servers.
    """

    def __init__(self, folder: Path) -> None:
        self.pool = UserPool("eu-west-1_Bench0001")
        self.user = self.pool.add_user("ada", groups=["admins", "staff"], attributes={"email": "ada@example.com", "email_verified": True})
        self.pool.add_client("web", lifetime=DAY)
        self.claims = self.pool.id_claims()
        self.token = self.pool.id_key.sign(self.claims)
        self.expected = {name: self.claims[claim] for name, claim in CLAIM_HEADERS.items()}
        watched = folder / "configuration"  # of its own: our server would be told of each line of a load generator's log
        watched.mkdir()
        self.config, self.jwks, self.rules = watched / "authz.yaml", watched / "jwks.json", watched / "rules.json"
        self.jwks.write_bytes(self.pool.jwks_document())
        self.rules.write_text(json.dumps(rules(self.pool)))
        self._parts = ExitStack()
        cognito = self._parts.enter_context(LocalCognito(self.pool))
        self.config.write_text(yaml.safe_dump(configuration(self.pool, cognito.jwks_uri(self.pool))))

    @property
    def request(self) -> bytes:
        """The CheckRequest that is allowed."""
        return check_request(self.headers(self.token))

    def of_users(self, count: int) -> Iterator[bytes]:
        """Write CheckRequests of many users, each with a token and a path of its own, all of the same length; all are allowed."""
        for number in range(count):
            subject = f"00000000-0000-4000-8000-{number:012}"
            yield check_request(self.headers(self.pool.id_key.sign(self.claims | {"sub": subject})), path=f"/prod/orders/{number:06}")

    @property
    def forged(self) -> Mapping[str, str | None]:
        """Tokens that nobody may accept, by what is wrong with them."""
        header, payload, signature = self.token.split(".")
        stranger = UserPool("eu-west-1_Bench0002")
        return {
            "no token": None,
            "changed": f"{header}.{self.pool.id_key.sign(self.claims | {'sub': 'root'}).split('.')[1]}.{signature}",
            "expired": self.pool.id_key.sign(self.claims | {"exp": self.claims["iat"] - 60}),
            "of another pool": stranger.id_token(),
            "signed by another pool": stranger.id_key.sign(self.claims),
            "not signed": f"{header}.{payload}.",
        }

    def denied(self) -> Mapping[str, bytes]:
        """CheckRequests that a Cognito authorizer denies, by what is wrong with them."""
        wrong = {what: check_request(self.headers(token)) for what, token in self.forged.items()}
        wrong["access token where an ID token is wanted"] = check_request(self.headers(self.pool.access_token()))
        wrong["no such route"] = check_request(self.headers(self.token), path="/prod/nothing/here")
        return wrong

    def headers(self, token: str | None) -> dict[str, str]:
        """Write the header lines of a request."""
        lines = {"x-request-id": "5f0c8b8e-2f1a-4d0e-9b6c-7a8d9e0f1a2b"}
        return lines if token is None else lines | {"authorization": f"Bearer {token}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._parts.close()


def configuration(pool: UserPool, jwks_uri: str) -> dict[str, Any]:
    """Write our server's configuration: 20 resources, to read with an ID token and to write with a scope."""
    reading = {"authorizer": "users"}
    writing = {name: {"authorizer": "users", "authorization_scopes": [f"{name}/write", f"{name}/admin"]} for name in RESOURCES}
    routes = {f"/{name}": {"GET": reading, "POST": writing[name]} for name in RESOURCES}
    routes |= {f"/{name}/{{id}}": {"GET": reading, "PUT": writing[name]} for name in RESOURCES}
    return {
        "version": 1,
        "authorizers": {"users": {"type": "cognito_user_pools", "provider_arns": [pool.arn]}},
        "apis": {"shop": {"hosts": [HOST], "base_path": "/prod", "claim_headers": CLAIM_HEADERS, "routes": routes}},
        "user_pools": {pool.id: {"jwks_uri": jwks_uri}},
    }


def rules(pool: UserPool) -> dict[str, Any]:
    """Write what the reference servers authorize by: the same, without the routes that take a scope."""
    routes = [{"method": "GET", "path": f"/prod/{name}{rest}"} for name in RESOURCES for rest in ("", "/{id}")]
    return {"issuer": pool.issuer, "keys": json.loads(pool.jwks_document()), "routes": routes, "claimHeaders": CLAIM_HEADERS}


def check_request(headers: Mapping[str, str], path: str = PATH, host: str = HOST) -> bytes:
    """Write the CheckRequest that Envoy makes of a GET."""
    request = stubs.CheckRequest()
    http = request.attributes.request.http
    http.id, http.method, http.scheme, http.protocol = "14693412373404321177", "GET", "http", "HTTP/1.1"
    http.host, http.path = host, path
    http.headers.update(headers)
    return bytes(request.SerializeToString())
