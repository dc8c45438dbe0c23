"""What docs/recipes.md promises, through a real Envoy that was set up as it says."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
import yaml

from authz_server.demo import envoy
from authz_server.demo.process import Process, free_port
from authz_server.demo.upstream import Upstream
from authz_server.testing import LocalCognito, UserPool
from authz_server.testing.loopback import LoopbackServer
from authz_server.testing.reply import Reply, json_reply
from tests.e2e.recipes import PLACES, Recipe, blocks, sections
from tests.e2e.stack import Answer, Edge, Server, ext_authz, manager, patient

Change = Callable[[Recipe], None]


class Cooked(NamedTuple):
    """A recipe that runs.

    Args:
        edge: Envoy.
        server: this server.
        envoy: its process.
    """

    edge: Edge
    server: Server
    envoy: Process


def as_it_is(_: Recipe) -> None:
    """Change nothing."""


class Kitchen:
    """Starts this server and Envoy with a recipe; what ran before ends.

    Args:
        folder: for configurations and logs.
        pool: of users.
        cognito: serves the pool.
    """

    def __init__(self, folder: Path, pool: UserPool, cognito: LocalCognito) -> None:
        self._folder = folder
        self._pool = pool
        self._cognito = cognito
        self._upstream = Upstream()
        self._running: dict[tuple[str, Change], Cooked] = {}

    def __call__(self, title: str, change: Change = as_it_is, **clusters: int) -> Cooked:
        """Start a recipe, unless it runs.

        Args:
            title: of its section.
            change: what is in the way of running it here.
            clusters: ports of more clusters, by name.
        """
        if (title, change) not in self._running:
            self.end()
            recipe = Recipe.of(title)
            change(recipe)
            server = Server.start(
                self._folder, self._pool, self._cognito, "--transport", "asyncio", configuration=yaml.safe_dump(recipe.server)
            )
            port = free_port()
            moved = envoy.moved(recipe.envoy, listener=port, authz=server.port, upstream=self._upstream.port, **clusters)
            process = envoy.start(patient(moved), port=port, folder=self._folder)
            self._running[title, change] = Cooked(Edge(port=port, variant=title), server, process)
        return self._running[title, change]

    def end(self) -> list[dict[str, str]]:
        """End what runs.

        Returns:
            The lines of Envoy's access log, which it writes at its end.
        """
        lines: list[dict[str, str]] = []
        while self._running:
            _, cooked = self._running.popitem()
            cooked.envoy.stop()
            cooked.server.process.stop()
            log = cooked.envoy.log.read_text()
            cooked.envoy.log.unlink()
            assert "deprecated" not in log.lower()
            lines += [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        return lines

    def close(self) -> None:
        """End all of it."""
        self.end()
        self._upstream.close()


@pytest.fixture(scope="module")
def cook(tmp_path_factory, pool: UserPool, cognito: LocalCognito) -> Iterator[Kitchen]:
    """Run recipes."""
    kitchen = Kitchen(tmp_path_factory.mktemp("recipes"), pool, cognito)
    yield kitchen
    kitchen.close()


def bearer(token: str) -> tuple[str, str]:
    """Write the header that holds a token."""
    return "authorization", f"Bearer {token}"


def test_every_block_says_where_it_belongs() -> None:
    """A block of a recipe that no test puts anywhere would be text that nobody has tried."""
    for title, text in sections().items():
        assert text.count("```yaml") == len(blocks(text)), title
        assert {place for place, _ in blocks(text)} <= PLACES.keys(), title


@pytest.mark.parametrize(
    ("groups", "status"),
    [(["admins"], 200), (["staging", "admins"], 200), (["a,admins"], 403), (["admin"], 403), ([], 403), (None, 403)],
    ids=str,
)
def test_rbac_matches_one_of_several_groups(cook: Kitchen, pool: UserPool, groups: list[str] | None, status: int) -> None:
    """Envoy's RBAC lets in who is in a group, whatever else they are in, and takes a group's name with a comma for one name."""
    edge = cook("Groups in Envoy's RBAC").edge
    answer = edge.send("GET", "/prod/pets", [bearer(pool.id_token(**{"cognito:groups": groups}))])

    assert answer.status == status
    assert (answer.body == "RBAC: access denied") == (status == 403)


FORGED = [(f"x-forwarded-{name}", "root") for name in ("user", "email", "groups", "preferred-username")]


def test_the_headers_of_oauth2_proxy_carry_claims(cook: Kitchen, pool: UserPool) -> None:
    """Each holds the claim of the token, and nothing of what the client sent by that name."""
    ada = pool.users["ada"]
    seen = cook("Headers of oauth2-proxy").edge.send("GET", "/prod/pets", [bearer(pool.id_token()), *FORGED]).upstream

    assert {name: seen["headers"][name] for name, _ in FORGED} == {
        "x-forwarded-user": ada.sub,
        "x-forwarded-email": "ada@example.com",
        "x-forwarded-groups": "admins,staging",
        "x-forwarded-preferred-username": "ada",
    }


def test_the_headers_of_oauth2_proxy_are_stripped(cook: Kitchen) -> None:
    """A public route has nothing to put in their place, and passes none of a client's: this server sees to it, and so does the edge."""
    cooked = cook("Headers of oauth2-proxy")
    seen = cooked.edge.send("GET", "/prod/status", FORGED).upstream
    answer = cooked.server.check("GET", "/prod/status", dict(FORGED))

    assert not any(name in seen["headers"] for name, _ in FORGED)
    assert "x-forwarded-for" in seen["headers"]
    assert {name for name, _ in FORGED} <= set(answer.ok_response.headers_to_remove)


ORIGIN = ("origin", "https://app.example.com")
PREFLIGHT = [("access-control-request-method", "GET"), ("access-control-request-headers", "authorization")]


def test_a_preflight_needs_no_token(cook: Kitchen) -> None:
    """Envoy's filter answers it before anything is asked here."""
    answer = cook("CORS").edge.send("OPTIONS", "/prod/pets", [ORIGIN, *PREFLIGHT])

    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN[1])
    assert "authorization" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize(("path", "status"), [("/prod/pets", 401), ("/prod/nothing", 403)])
def test_a_denial_has_the_headers_of_cors(cook: Kitchen, path: str, status: int) -> None:
    """So that the page learns that it was one, and of which request; other origins get none."""
    edge = cook("CORS").edge
    answer = edge.send("GET", path, [ORIGIN])
    other = edge.send("GET", path, [("origin", "https://evil.test")])

    assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, ORIGIN[1])
    assert "x-amzn-requestid" in answer.headers["access-control-expose-headers"]
    assert (other.status, "access-control-allow-origin" in other.headers) == (status, False)


def test_a_preflight_of_another_origin_is_asked_about(cook: Kitchen) -> None:
    """And refused, as on API Gateway, unless the resource declares OPTIONS."""
    answer = cook("CORS").edge.send("OPTIONS", "/prod/pets", [("origin", "https://evil.test"), *PREFLIGHT])

    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "MissingAuthenticationTokenException")


@pytest.mark.parametrize(
    ("path", "headers", "status", "challenge"),
    [
        ("/prod/pets", [], 401, "Bearer"),
        ("/prod/pets", [("authorization", "Bearer x")], 401, 'Bearer error="invalid_token"'),
        ("/prod/nothing", [], 403, None),
        ("/prod/status", [], 200, None),
    ],
)
def test_a_401_challenges(cook: Kitchen, path: str, headers: list[tuple[str, str]], status: int, challenge: str | None) -> None:
    """RFC 9110 section 15.5.2 and RFC 6750 section 3; the rest of the denial stays as it is."""
    answer = cook("WWW-Authenticate").edge.send("GET", path, headers)

    assert (answer.status, answer.headers.get("www-authenticate")) == (status, challenge)
    if status == 401:
        assert answer.body == '{"message":"Unauthorized"}'
        assert (answer.headers["content-type"], answer.headers["x-amzn-errortype"]) == ("application/json", "UnauthorizedException")


def test_claims_with_a_colon_are_found_by_cel(cook: Kitchen, pool: UserPool) -> None:
    """As text, element by element and by `in`; null where there is none."""
    edge = cook("Claims with a colon").edge
    edge.send("GET", "/prod/pets", [bearer(pool.id_token())])
    edge.send("GET", "/prod/pets", [bearer(pool.id_token(**{"cognito:groups": None}))])
    edge.send("GET", "/prod/pets")
    names = ("user", "first_group", "is_admin", "sub")
    lines = [tuple(line[name] for name in names) for line in sorted(cook.end(), key=lambda line: line["time"])]

    sub = pool.users["ada"].sub
    assert lines == [("ada", "admins", "true", sub), ("ada", None, None, sub), (None, None, None, None)]


NGINX = "7ce8f8e8c3f9b26f60e3ba3ac0b0a8b6"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "value"), [("traceparent", f"00-{TRACE}-{SPAN}-01"), ("b3", f"{TRACE}-{SPAN}-1"), ("x-b3-traceid", TRACE)]
)
def test_ids_of_others_are_in_the_decision_log(cook: Kitchen, header: str, value: str) -> None:
    """That of nginx as it came, and the trace; the client gets it back, beside API Gateway's own."""
    cooked = cook("Ids of requests and traces")
    answer = cooked.edge.send("GET", "/prod/pets", [("x-request-id", NGINX), (header, value)])
    own = answer.headers["x-amzn-requestid"]
    cooked.server.process.wait_until(lambda: own in cooked.server.log())
    (line,) = (json.loads(line) for line in cooked.server.log().splitlines() if own in line)

    assert (line["request_id"], line["x_request_id"], line["trace_id"]) == (own, NGINX, TRACE)
    assert answer.headers["x-request-id"] == NGINX


FORGERY = ("x-auth-sub", "root")


def test_shadow_mode_lets_everything_pass(cook: Kitchen, pool: UserPool) -> None:
    """What would have been denied reaches the upstream without a forged header; what would have passed has the claim."""
    cooked = cook("Shadow mode")
    good = cooked.edge.send("GET", "/prod/pets", [bearer(pool.id_token()), FORGERY]).upstream
    denied = cooked.edge.send("GET", "/prod/pets", [FORGERY]).upstream

    assert good["headers"]["x-auth-sub"] == pool.users["ada"].sub
    assert "x-auth-sub" not in denied["headers"]
    cooked.server.process.wait_until(lambda: '"reason":"token_missing"' in cooked.server.log())


def without_mutation(recipe: Recipe) -> None:
    """Leave out what the page says to keep."""
    del manager(recipe.envoy)["early_header_mutation_extensions"]


def test_shadow_mode_without_the_early_mutation_believes_clients(cook: Kitchen) -> None:
    """The reason for the warning: a header that nobody strips."""
    seen = cook("Shadow mode", without_mutation).edge.send("GET", "/prod/pets", [FORGERY]).upstream

    assert seen["headers"]["x-auth-sub"] == "root"


@pytest.mark.parametrize(("path", "status", "grpc"), [("/pets.v1.Pets/List", 401, "16"), ("/pets.v1.Pets/Drop", 403, "7")])
def test_a_grpc_web_client_gets_a_status_of_grpc(cook: Kitchen, path: str, status: int, grpc: str) -> None:
    """16 is UNAUTHENTICATED and 7 is PERMISSION_DENIED; a browser is allowed to see it."""
    answer = cook("gRPC-Web").edge.send("POST", path, [("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1"), ORIGIN])

    assert (answer.status, answer.headers["grpc-status"]) == (status, grpc)
    assert answer.headers["access-control-allow-origin"] == ORIGIN[1]
    assert "grpc-status" in answer.headers["access-control-expose-headers"]


def without_filter(recipe: Recipe) -> None:
    """Leave the filter of gRPC-Web out."""
    recipe.filters()[:] = [entry for entry in recipe.filters() if not entry["name"].endswith("grpc_web")]


def test_without_its_filter_a_grpc_web_client_gets_http(cook: Kitchen) -> None:
    """As the page says."""
    answer = cook("gRPC-Web", without_filter).edge.send("POST", "/pets.v1.Pets/List", [("content-type", "application/grpc-web+proto")])

    assert (answer.status, "grpc-status" in answer.headers) == (401, False)


class TokenEndpoint:
    """Cognito's token endpoint, as far as the authorization code grant needs it.

    Args:
        pool: whose tokens it gives out for any code.
    """

    def __init__(self, pool: UserPool) -> None:
        self._pool = pool
        self._server = LoopbackServer(self._answer)
        self.port = int(self._server.url.rpartition(":")[2])

    def _answer(self, *_: object) -> Reply:
        tokens = {"access_token": self._pool.access_token(scope="openid pets/write"), "id_token": self._pool.id_token()}
        return json_reply({**tokens, "token_type": "Bearer", "expires_in": 3_600})

    def close(self) -> None:
        """Stop serving."""
        self._server.close()


@pytest.fixture(scope="module")
def endpoint(pool: UserPool) -> Iterator[TokenEndpoint]:
    """Where Envoy gets tokens."""
    endpoint = TokenEndpoint(pool)
    yield endpoint
    endpoint.close()


def on_this_machine(recipe: Recipe) -> None:
    """Speak plain HTTP to the token endpoint, and need no environment."""
    (cluster,) = (entry for entry in recipe.envoy["static_resources"]["clusters"] if entry["name"] == "cognito")
    del cluster["transport_socket"]
    for secret in recipe.envoy["static_resources"]["secrets"]:
        secret["generic_secret"]["secret"] = {"inline_string": "x" * 32}


def cookies(answer: Answer) -> dict[str, str]:
    """Read the cookies that an answer sets; the last of several with one name counts."""
    return dict(line.partition(";")[0].split("=", 1) for line in answer.lines("set-cookie"))


def jar(held: dict[str, str]) -> tuple[str, str]:
    """Write cookies."""
    return "cookie", "; ".join(f"{name}={value}" for name, value in held.items())


def test_a_sign_in_at_envoy_ends_with_a_verified_token(cook: Kitchen, pool: UserPool, endpoint: TokenEndpoint) -> None:
    """Who has no session is sent to the sign-in page, comes back with a code, and then reaches the upstream with claims."""
    edge = cook("Envoy's OAuth2 filter in front", on_this_machine, cognito=endpoint.port).edge
    asked = edge.send("GET", "/prod/pets")
    page = urlsplit(asked.headers["location"])
    query = dict(parse_qsl(page.query))
    held = cookies(asked)
    back = edge.send("GET", f"/callback?code=1&state={quote(query['state'])}", [jar(held)])
    held |= cookies(back)
    seen = edge.send("POST", "/prod/pets", [jar(held), FORGERY])
    without_scopes = edge.send("GET", "/prod/pets", [jar(held)])

    assert (asked.status, page.netloc, page.path) == (302, "auth.example.com", "/oauth2/authorize")
    assert query["scope"] == "openid pets/read"
    assert edge.send("GET", "/prod/status").status == 302
    assert back.status == 302
    assert seen.upstream["headers"]["x-auth-sub"] == pool.users["ada"].sub
    assert without_scopes.status == 401


@pytest.mark.parametrize(("good", "status"), [(True, 200), (False, 401)])
def test_who_brings_a_token_needs_no_sign_in(cook: Kitchen, pool: UserPool, endpoint: TokenEndpoint, *, good: bool, status: int) -> None:
    """Envoy's filter lets it pass, and this server verifies it."""
    edge = cook("Envoy's OAuth2 filter in front", on_this_machine, cognito=endpoint.port).edge

    assert edge.send("GET", "/prod/pets", [bearer(pool.id_token() if good else "x.y.z")]).status == status


def test_an_albs_access_token_is_taken(cook: Kitchen, pool: UserPool) -> None:
    """It is Cognito's; what the ALB has signed itself is not, and what it has not signed is not looked at."""
    edge = cook("Headers of an ALB").edge
    good = edge.send("GET", "/prod/pets", [("x-amzn-oidc-accesstoken", pool.access_token(scope="openid"))])
    other = edge.send("GET", "/prod/pets", [("x-amzn-oidc-accesstoken", albs_own()), ("x-amzn-oidc-identity", pool.users["ada"].sub)])

    assert (good.status, good.upstream["headers"]["x-auth-sub"]) == (200, pool.users["ada"].sub)
    assert other.status == 401


def albs_own() -> str:
    """Write what an ALB puts into `x-amzn-oidc-data`: ES256, and base64 with padding."""
    parts = ({"alg": "ES256", "kid": "k", "signer": "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/app/a/1"}, {"sub": "ada"})
    return ".".join([*(urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts), urlsafe_b64encode(bytes(64)).decode()])


@pytest.mark.parametrize(("key", "status"), [("4f2k9example1", 200), ("wrong", 401), (None, 401)])
def test_envoy_asks_for_an_api_key_beside_the_token(cook: Kitchen, pool: UserPool, key: str | None, status: int) -> None:
    """The upstream learns whose it was; without a good one nothing is asked here."""
    headers = [bearer(pool.id_token()), *([] if key is None else [("x-api-key", key)])]
    answer = cook("API keys").edge.send("GET", "/prod/pets", headers)

    assert (answer.status, "x-amzn-errortype" in answer.headers) == (status, False)
    if status == 200:
        assert answer.upstream["headers"]["x-client"] == "mobile"
        assert "x-api-key" not in answer.upstream["headers"]


def test_an_api_key_is_not_looked_at_here(cook: Kitchen) -> None:
    """It opens nothing, and goes on as it came."""
    edge = cook("Shadow mode", without_shadow).edge
    refused = edge.send("GET", "/prod/pets", [("x-api-key", "k")])
    public = edge.send("GET", "/prod/status", [("x-api-key", "k")])

    assert (refused.status, public.upstream["headers"]["x-api-key"]) == (401, "k")


def without_shadow(recipe: Recipe) -> None:
    """Leave Envoy as the sample has it."""
    del ext_authz(recipe.envoy)["shadow_mode"]


def test_a_signed_request_is_no_token(cook: Kitchen) -> None:
    """IAM authorization is not carried over: Signature Version 4 is refused as a malformed token."""
    cooked = cook("Shadow mode", without_shadow)
    signature = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261201/eu-west-1/execute-api/aws4_request, SignedHeaders=host, Signature=ab"
    answer = cooked.edge.send("GET", "/prod/pets", [("authorization", signature)])

    assert answer.status == 401
    cooked.server.process.wait_until(lambda: '"reason":"token_malformed"' in cooked.server.log())


def few(recipe: Recipe) -> None:
    """Let pass what one can count, and nothing more for a long time."""
    (limit,) = (entry["typed_config"] for entry in recipe.filters() if entry["name"].endswith("local_ratelimit"))
    limit["token_bucket"] = {"max_tokens": 2, "tokens_per_fill": 1, "fill_interval": "3600s"}


def test_envoy_throttles(cook: Kitchen) -> None:
    """What is beyond the burst is 429, without a question here."""
    edge = cook("Throttling", few).edge

    assert [edge.send("GET", "/prod/status").status for _ in range(4)] == [200, 200, 429, 429]


def elsewhere(recipe: Recipe) -> None:
    """Let nobody ask from this machine."""
    (rbac,) = (entry["typed_config"] for entry in recipe.filters() if entry["name"].endswith("rbac"))
    del rbac["rules"]["policies"]["office"]["principals"][1]


@pytest.mark.parametrize(("change", "status"), [(as_it_is, 200), (elsewhere, 403)])
def test_envoy_knows_addresses(cook: Kitchen, change: Change, status: int) -> None:
    """An address that no principal names is refused before anything is asked here, whatever `x-forwarded-for` says."""
    answer = cook("Addresses that may ask", change).edge.send("GET", "/prod/status", [("x-forwarded-for", "203.0.113.1")])

    assert (answer.status, "x-amzn-errortype" in answer.headers) == (status, False)
