"""What docs/symptoms.md says one sees is what one sees, with a real Envoy that is set up wrongly."""

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from authz_server.demo import envoy
from authz_server.demo.process import START_SECONDS, authz_server, free_port
from authz_server.demo.upstream import Upstream
from authz_server.testing import Fault, UserPool
from tests.e2e.stack import CONFIGURATION, Answer, Edge, Server, configured, ext_authz, manager, patient

PAGE = (Path(__file__).parents[2] / "docs/symptoms.md").read_text()
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


@pytest.fixture(scope="module", params=["asyncio"])
def transport(request) -> str:
    """One is enough: what is seen is Envoy's doing."""
    return request.param


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """Where requests go that may pass."""
    upstream = Upstream()
    yield upstream
    upstream.close()


class Seen(NamedTuple):
    """What a client and an operator see.

    Args:
        answer: to the client.
        details: of Envoy's access log.
        reason: of the decision log, or None when it has no line.
        told: details of the decision log.
        counters: those of Envoy that are not 0.
    """

    answer: Answer
    details: str
    reason: str | None
    told: dict[str, str]
    counters: frozenset[str]


Configuration = dict[str, Any]
See = Callable[..., Seen]


@pytest.fixture
def see(server: Server, upstream: Upstream, tmp_path: Path) -> See:
    """Send one request through an Envoy that was changed, and read both logs."""

    def see(change: Callable[[Configuration], None], path: str, headers: list[tuple[str, str]], method: str = "GET") -> Seen:
        port, admin = free_port(), free_port()
        configuration = envoy.moved(envoy.template(), listener=port, authz=server.port, upstream=upstream.port)
        configuration["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}}
        change(patient(configuration))
        process = envoy.start(configuration, port=port, folder=tmp_path)
        before = len(decisions(server))
        answer = Edge(port=port, variant="").send(method, path, headers)
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/stats?usedonly", timeout=60) as stats:
            counters = frozenset(line.partition(": ")[0] for line in stats.read().decode().splitlines() if not line.endswith(": 0"))
        process.stop()  # which writes its log
        (line,) = (json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{"))
        if line["details"] == "ext_authz_error":
            return Seen(answer, line["details"], None, {}, counters)
        server.process.wait_until(lambda: len(decisions(server)) > before, START_SECONDS)
        decision = decisions(server)[-1]
        return Seen(answer, line["details"], decision.get("reason"), decision.get("details", {}), counters)

    return see


def decisions(server: Server) -> list[dict[str, Any]]:
    """Read the decision log."""
    return [json.loads(line) for line in server.log().splitlines() if '"decision"' in line]


def section(title: str) -> str:
    """Give the text of a section of the page."""
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return found


def cluster(configuration: Configuration, name: str) -> Configuration:
    """Find a cluster of Envoy."""
    return next(entry for entry in configuration["static_resources"]["clusters"] if entry["name"] == name)


def elsewhere(name: str) -> Callable[[Configuration], None]:
    """Let a cluster lead to a port on which nobody listens."""

    def change(configuration: Configuration) -> None:
        (endpoint,) = cluster(configuration, name)["load_assignment"]["endpoints"][0]["lb_endpoints"]
        endpoint["endpoint"]["address"]["socket_address"]["port_value"] = 1

    return change


def without_status(configuration: Configuration) -> None:
    """Leave `status_on_error` out, too."""
    elsewhere("authz")(configuration)
    del ext_authz(configuration)["status_on_error"]


def without_http2(configuration: Configuration) -> None:
    """Forget that gRPC is HTTP/2."""
    del cluster(configuration, "authz")["typed_extension_protocol_options"]
    del cluster(configuration, "authz")["health_checks"]


def without_cluster(configuration: Configuration) -> None:
    """Name a cluster that is not there."""
    ext_authz(configuration)["grpc_service"]["envoy_grpc"]["cluster_name"] = "auth"


def with_tls(configuration: Configuration) -> None:
    """Speak TLS to a plain port."""
    cluster(configuration, "authz")["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": TLS}}


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (elsewhere("authz"), 503, "the server does not run, or listens elsewhere"),
        (without_http2, 503, "the cluster does not speak HTTP/2"),
        (without_cluster, 503, "the filter names a cluster that is not there"),
        (with_tls, 503, "TLS on one side only"),
        (without_status, 403, "With `status_on_error` left out of the filter it is 403"),
    ],
)
def test_an_envoy_without_an_answer(see: See, pool: UserPool, change: Callable[[Configuration], None], status: int, words: str) -> None:
    """Its answer has no body, its log says `ext_authz_error`, and ours has no line."""
    seen = see(change, "/prod/pets", [("authorization", pool.id_token())])

    assert (seen.answer.status, seen.answer.body, seen.details, seen.reason) == (status, "", "ext_authz_error", None)
    assert "x-amzn-errortype" not in seen.answer.headers
    assert words in section("Every request is 503")


@pytest.mark.parametrize(
    ("change", "counter"),
    [
        (elsewhere("authz"), "upstream_cx_connect_fail"),
        (without_http2, "upstream_cx_protocol_error"),
        (with_tls, "ssl.connection_error"),
    ],
)
def test_envoy_counts_why_it_has_no_answer(see: See, pool: UserPool, change: Callable[[Configuration], None], counter: str) -> None:
    """In the counters of the cluster that the page names."""
    seen = see(change, "/prod/pets", [("authorization", pool.id_token())])

    assert f"cluster.authz.{counter}" in seen.counters
    assert f"`{counter}`" in section("Every request is 503")


@pytest.mark.parametrize(("change", "words"), [(without_http2, "speaks HTTP/1.1"), (with_tls, "speaks TLS")])
def test_the_log_warns_of_an_envoy_that_speaks_something_else(
    see: See, server: Server, pool: UserPool, change: Callable[[Configuration], None], words: str
) -> None:
    """The log warns in the words that the page quotes."""
    see(change, "/prod/pets", [("authorization", pool.id_token())])
    server.process.wait_until(lambda: words in server.log())

    assert f"`{words}`" in section("Every request is 503")


def test_an_upstream_that_is_not_there(see: See, pool: UserPool) -> None:
    """It is told from an Envoy without an answer by its body in plain text, and by our line, which is an allow."""
    seen = see(elsewhere("upstream"), "/prod/pets", [("authorization", pool.id_token())])

    assert (seen.answer.status, seen.reason) == (503, None)
    assert seen.answer.body.startswith("upstream connect error")
    assert seen.details.startswith("upstream_reset_before_response_started")
    assert "`upstream connect error…`, the request was allowed" in section("Every request is 503")


def as_it_is(_: Configuration) -> None:
    """Change nothing."""


def without_header(configuration: Configuration) -> None:
    """Keep the token at Envoy."""
    ext_authz(configuration)["allowed_headers"]["patterns"] = [{"exact": "x-request-id"}]


def named(configuration: Configuration) -> None:
    """Name the api in Envoy's route."""
    (host,) = manager(configuration)["route_config"]["virtual_hosts"]
    host["routes"][0]["typed_per_filter_config"] = {
        "envoy.filters.http.ext_authz": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
            "check_settings": {"context_extensions": {"api": "petstore"}},
        }
    }


def id_token(pool: UserPool) -> list[tuple[str, str]]:
    """Send an ID token."""
    return [("authorization", f"Bearer {pool.id_token()}")]


def access_token(pool: UserPool) -> list[tuple[str, str]]:
    """Send an access token."""
    return [("authorization", f"Bearer {pool.access_token(scope='pets/read')}")]


def twice(pool: UserPool) -> list[tuple[str, str]]:
    """Send two lines."""
    return [*id_token(pool), *id_token(pool)]


class Case(NamedTuple):
    """A request that is denied.

    Args:
        change: to Envoy's configuration.
        method: of the request.
        path: of the request.
        headers: of the request, given the pool.
        status: of the answer.
        reason: in the decision log.
        details: there.
    """

    change: Callable[[Configuration], None]
    method: str
    path: str
    headers: Callable[[UserPool], list[tuple[str, str]]]
    status: int
    reason: str
    details: dict[str, str]


CASES = [
    Case(named, "GET", "/pets", id_token, 403, "no_route", {"base_paths_known": "/prod"}),
    Case(as_it_is, "GET", "/prod/nothing", id_token, 403, "no_route", {}),
    Case(as_it_is, "DELETE", "/prod/pets", id_token, 403, "no_method", {}),
    Case(as_it_is, "GET", "/prod/pets;x=1", id_token, 403, "path_refused", {}),
    Case(as_it_is, "GET", "/prod/pets%3Bx", id_token, 403, "escape_refused", {"escape": "%3B"}),
    Case(without_header, "GET", "/prod/pets", id_token, 401, "token_missing", {"identity_source": "authorization"}),
    Case(as_it_is, "GET", "/prod/pets", access_token, 401, "wrong_token_use", {"token_use_wanted": "id", "token_use_found": "access"}),
    Case(as_it_is, "POST", "/prod/pets", access_token, 401, "scope_unmet", {"scopes_wanted": "pets/write"}),
    Case(as_it_is, "GET", "/prod/pets", twice, 401, "token_malformed", {"identity_source": "authorization"}),
    Case(as_it_is, "OPTIONS", "/prod/pets", lambda _: [("origin", "https://a.test")], 403, "no_method", {}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path} {case.reason}")
def test_a_denial_tells_its_reason_in_the_log(see: See, pool: UserPool, case: Case) -> None:
    """Envoy's log says `ext_authz_denied`, the caller gets JSON, and the decision log the reason and its details."""
    seen = see(case.change, case.path, case.headers(pool), case.method)

    assert (seen.answer.status, seen.details, seen.reason, seen.told) == (case.status, "ext_authz_denied", case.reason, case.details)
    assert seen.answer.headers["content-type"] == "application/json"
    assert seen.answer.headers["x-amzn-errortype"]
    assert f"`{case.reason}`" in section("Every request is 403" if case.status == 403 else "401 with a good token")


def test_each_reason_stands_where_one_looks_for_it() -> None:
    """Every reason of a 401 that a good token can meet, and of a 403, is on the page."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", (Path(__file__).parents[2] / "docs/reasons.md").read_text(), re.MULTILINE)
    not_good = {"token_too_large", "algorithm_refused", "time_claim_invalid", "claim_type_invalid"}
    sections = {"403": section("Every request is 403"), "401": section("401 with a good token")}

    assert [
        reason for reason, status in rows if status in sections and reason not in not_good and f"`{reason}`" not in sections[status]
    ] == []


def test_a_server_without_keys_says_why(pool: UserPool, cognito, tmp_path: Path) -> None:
    """It is not ready, and its log names the place and the outcome."""
    config = tmp_path / "authz.yaml"
    config.write_text(configured(CONFIGURATION, pool, cognito))
    admin = free_port()
    cognito.faults[pool.id] = Fault(status=404)
    try:
        command = ("serve", "--config", str(config), "--listen", f"127.0.0.1:{free_port()}", "--admin", str(admin))
        with authz_server(*command, log=tmp_path / "server.log") as process:
            server = Server(process=process, config=config, port=0, admin=admin)
            process.wait_until(
                lambda: "(status)" in server.log() and server.get("/readyz")[0] != 0
            )  # keys may fail before the port is open
            status, body = server.get("/readyz")
            assert (status, pool.id in body) == (503, True)
            assert cognito.jwks_uri(pool) in server.log()
    finally:
        del cognito.faults[pool.id]
    assert "of 404: there is no such pool in this region" in section("Never ready")
