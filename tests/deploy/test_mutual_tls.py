"""deploy/envoy/mutual-tls: a real Envoy asks over mutual TLS, through both doors."""

import subprocess
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz_server.demo import envoy
from authz_server.demo.process import free_port
from authz_server.demo.upstream import Upstream
from authz_server.testing import LocalCognito, UserPool
from tests.authority import ENVOY, Authority, Pair, mount
from tests.deploy.samples import DEPLOY, documents
from tests.e2e.stack import Edge, Server, patient
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.e2e

SAMPLES = DEPLOY / "envoy" / "mutual-tls"
FOLDER = "/etc/envoy/authz-tls"
SERVER = "spiffe://example.com/ns/authz/sa/authz-server"


def written(folder: Path) -> dict[str, Any]:
    """Write the samples' secrets, moved to a folder, and give the whole configuration."""
    for name in ("client-certificate.yaml", "server-ca.yaml"):
        (folder / name).write_text((SAMPLES / name).read_text().replace(FOLDER, str(folder)))
    configuration = envoy.template()
    (cluster,) = [each for each in configuration["static_resources"]["clusters"] if each["name"] == "authz"]
    parts = yaml.safe_load((SAMPLES / "cluster.yaml").read_text().replace(FOLDER, str(folder)))
    cluster["transport_socket"] = parts["transport_socket"]
    (options,) = cluster["typed_extension_protocol_options"].values()
    options["common_http_protocol_options"] = {"max_connection_duration": "0.3s"}  # so that tests see new connections
    return configuration | {"node": parts["node"]}


@pytest.fixture(scope="module")
def servers() -> Authority:
    """The CA of servers."""
    return Authority("servers")


@pytest.fixture(scope="module")
def clients() -> Authority:
    """The CA of clients."""
    return Authority("clients")


@pytest.fixture(scope="module")
def pool() -> UserPool:
    """A user pool of the present day."""
    return UserPool()


@dataclass(frozen=True, kw_only=True)
class Door(Edge):
    """An Envoy that tells how often it has taken up secrets.

    Args:
        admin: port that tells.
    """

    admin: int

    def renewals(self) -> int:
        """Count the secrets that it has taken up: its certificate and the CA, at the start and whenever one is another."""
        stats = f"http://127.0.0.1:{self.admin}/stats?filter=^cluster.authz.client_ssl_socket_factory.ssl_context_update_by_sds$"
        with urllib.request.urlopen(stats, timeout=PATIENCE) as answer:
            return int(answer.read().decode().rpartition(": ")[2])


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """What ends with the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["grpcio", "asyncio"])
def server(request, running, tmp_path, pool, servers, clients) -> Server:
    """A server for one Envoy, behind both doors."""
    cognito, secret = running.enter_context(LocalCognito(pool)), tmp_path / "server"
    mount(secret, servers.issue(uris=[SERVER]), clients.certificate)
    files = ["--tls-cert", f"{secret}/tls.crt", "--tls-key", f"{secret}/tls.key", "--tls-client-ca", f"{secret}/ca.crt"]
    started = Server.start(tmp_path, pool, cognito, "--transport", request.param, *files, "--tls-allow-san", ENVOY)
    running.callback(started.process.stop)
    return started


@pytest.fixture
def edge(running, tmp_path) -> Callable[..., Door]:
    """Start an Envoy with a certificate, which believes servers of a CA."""

    def start(server: Server, client: Pair, ca: bytes) -> Edge:
        mount(tmp_path / "secret", client, ca)
        upstream, port = Upstream(), free_port()
        running.callback(upstream.close)
        configuration = envoy.moved(written(tmp_path), listener=port, authz=server.port, upstream=upstream.port)
        configuration["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": (admin := free_port())}}}
        running.callback(envoy.start(patient(configuration), port=port, folder=tmp_path).stop)
        return Door(port=port, variant="mutual TLS", admin=admin)

    return start


def test_envoy_accepts_it(tmp_path, servers, clients):
    """The real Envoy finds no mistake in the samples."""
    mount(tmp_path / "secret", clients.envoy(), servers.certificate)
    (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(written(tmp_path)))
    command = [envoy.binary(), "--mode", "validate", "--log-level", "warning", "-c", tmp_path / "envoy.yaml"]

    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert run.returncode == 0, run.stderr
    assert "deprecated" not in run.stderr.lower()


def test_the_samples_name_each_other():
    """A secret that nobody asks for is ignored in silence."""
    context = documents(SAMPLES / "cluster.yaml")[0]["transport_socket"]["typed_config"]["common_tls_context"]
    validation = context["combined_validation_context"]
    asked = [*context["tls_certificate_sds_secret_configs"], validation["validation_context_sds_secret_config"]]

    for secret, name in zip(asked, ("client-certificate.yaml", "server-ca.yaml"), strict=True):
        (found,) = documents(SAMPLES / name)[0]["resources"]
        assert secret["sds_config"]["path_config_source"]["path"] == f"{FOLDER}/{name}"
        assert secret["name"] == found["name"]
    assert validation["default_validation_context"]["match_typed_subject_alt_names"][0]["san_type"] == "URI"


def test_envoy_asks_over_mutual_tls(server, edge, pool, servers, clients):
    """A token is let through, and no token is a 401 of this server."""
    door = edge(server, clients.envoy(), servers.certificate)
    allowed = door.send("GET", "/prod/pets", [("authorization", f"Bearer {pool.id_token()}")])
    denied = door.send("GET", "/prod/pets")

    assert (allowed.status, allowed.upstream is not None) == (200, True)
    assert (denied.status, denied.headers["x-amzn-errortype"]) == (401, "UnauthorizedException")


@pytest.mark.parametrize("stranger", ["another CA", "another name"])
def test_an_envoy_that_is_none_of_ours_lets_nobody_in(server, edge, pool, servers, clients, stranger):
    """It gets no answer, and fails closed."""
    pair = Authority("clients").envoy() if stranger == "another CA" else clients.issue(uris=[ENVOY + "/else"])
    door = edge(server, pair, servers.certificate)
    token = [("authorization", f"Bearer {pool.id_token()}")]

    assert Counter(door.send("GET", "/prod/pets", token).status for _ in range(5)) == {503: 5}
    assert "GET /pets" not in server.log()


@pytest.mark.parametrize("impostor", ["another CA", "another name"])
def test_envoy_does_not_ask_an_impostor(server, edge, pool, servers, clients, tmp_path, impostor):
    """A server whose certificate has another SPIFFE id, or comes from another CA, could let everybody in."""
    certificate = servers.certificate if impostor == "another name" else Authority("servers").certificate
    if impostor == "another name":
        mount(tmp_path / "server", servers.issue(uris=[SERVER + "/else"]), clients.certificate)
        until(lambda: server.log().count("is in use") == 2)
    door = edge(server, clients.envoy(), certificate)

    assert door.send("GET", "/prod/pets", [("authorization", f"Bearer {pool.id_token()}")]).status == 503
    assert "GET /pets" not in server.log()


def test_both_sides_rotate_under_load(server, edge, pool, servers, clients, tmp_path):
    """The server gets a certificate of a new CA and Envoy one of a new CA, in the steps that the documents name, and no request fails."""
    door = edge(server, clients.envoy(), servers.certificate)
    token = [("authorization", f"Bearer {pool.id_token()}")]
    statuses: Counter[int] = Counter()
    new_servers, new_clients = Authority("new servers"), Authority("new clients")

    def ask_until(condition: Callable[[], bool]) -> None:
        def ask() -> bool:
            statuses[door.send("GET", "/prod/pets", token).status] += 1
            return condition()

        until(ask)

    def ask_a_few() -> None:
        goal = statuses.total() + 10
        ask_until(lambda: statuses.total() >= goal)

    old, new = servers.issue(uris=[SERVER]), new_servers.issue(uris=[SERVER])
    both_clients, both_servers = clients.certificate + new_clients.certificate, servers.certificate + new_servers.certificate
    ask_a_few()
    for place, pair, ca, taken_up in (
        ("server", old, both_clients, lambda: server.log().count("is in use") == 2),
        ("secret", clients.envoy(), both_servers, lambda: door.renewals() == 4),
        ("server", new, both_clients, lambda: server.log().count("is in use") == 3),
        ("secret", new_clients.envoy(), both_servers, lambda: door.renewals() == 5),
        ("server", new, new_clients.certificate, lambda: server.log().count("is in use") == 4),
        ("secret", new_clients.envoy(), new_servers.certificate, lambda: door.renewals() == 7),
    ):
        mount(tmp_path / place, pair, ca)
        ask_until(taken_up)
        ask_a_few()

    assert statuses.keys() == {200}
    assert server.log().count("is in use") == 4
