"""deploy/envoy/envoy.yaml under a real Envoy: what clients see when servers come and go."""

import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from authz_server.core.decisions import Allow
from authz_server.demo import envoy
from authz_server.demo.process import free_port
from authz_server.demo.upstream import Upstream
from authz_server.envoy import response, stubs
from authz_server.testing import LocalCognito, UserPool
from tests.e2e.stack import Edge, Server, ext_authz, patient
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.e2e

SLOW_SECONDS = 0.3  # many times the back-off between two tries


@dataclass(frozen=True, kw_only=True)
class Door(Edge):
    """An Envoy that says what it thinks of the servers.

    Args:
        admin: port that tells.
    """

    admin: int

    def healthy(self) -> int:
        """Count the servers that it asks."""
        stats = f"http://127.0.0.1:{self.admin}/stats?filter=^cluster.authz.membership_healthy$"
        with urllib.request.urlopen(stats, timeout=PATIENCE) as answer:
            return int(answer.read().decode().rpartition(": ")[2])


def hasty(configuration: dict[str, Any]) -> dict[str, Any]:
    """Let Envoy give a try up ten times as late as deployed, which is soon enough for a test, and late for a machine that stands still."""
    asks = ext_authz(patient(configuration))["grpc_service"]
    asks["timeout"], asks["retry_policy"]["retry_back_off"]["max_interval"] = "60s", "5s"
    return configuration


@pytest.fixture(scope="module")
def pool() -> UserPool:
    """A user pool of the present day."""
    return UserPool()


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """What ends with the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def edge(running, tmp_path) -> Callable[..., Door]:
    """Start an Envoy, as deployed but for its timeouts, in front of servers at some ports."""

    def start(*ports: int, timeouts: Callable[[dict[str, Any]], dict[str, Any]] = patient) -> Edge:
        upstream, port = Upstream(), free_port()
        running.callback(upstream.close)
        configuration = envoy.moved(envoy.template(), listener=port, upstream=upstream.port)
        (cluster,) = [each for each in configuration["static_resources"]["clusters"] if each["name"] == "authz"]
        addresses = [{"socket_address": {"address": "127.0.0.1", "port_value": each}} for each in ports]
        cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": [{"endpoint": {"address": each}} for each in addresses]}]
        configuration["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": (admin := free_port())}}}
        running.callback(envoy.start(timeouts(configuration), port=port, folder=tmp_path).stop)
        return Door(port=port, variant="as deployed", admin=admin)

    return start


@pytest.fixture(params=["grpcio", "asyncio"])
def servers(request, running, tmp_path, pool) -> tuple[Server, Server]:
    """Two servers with the same configuration, behind the same kind of door."""
    cognito = running.enter_context(LocalCognito(pool))

    def start(folder: Path) -> Server:
        folder.mkdir()
        server = Server.start(folder, pool, cognito, "--transport", request.param, "--drain-seconds", "300")
        running.callback(server.process.stop, signal.SIGKILL)
        return server

    return start(tmp_path / "first"), start(tmp_path / "second")


@pytest.mark.parametrize("path", ["/prod/pets", "/prod/status", "/anything"])
def test_nobody_enters_while_no_server_answers(edge, path):
    """Without a server every request is 503, also one that would be public, and the upstream sees none."""
    answer = edge(free_port()).send("GET", path, [("x-auth-sub", "root"), ("x-envoy-auth-failure-mode-allowed", "true")])

    assert answer.status == 503
    assert answer.upstream is None


def test_a_slow_check_is_waited_for(edge, running):
    """A server that fetches keys or is busy has the time of a try, not only the back-off between two tries."""
    calls = []

    def answer(data: bytes, _: grpc.ServicerContext) -> bytes:
        calls.append(data)
        time.sleep(SLOW_SECONDS)
        return response.allow(Allow(api="", route=""))

    server = grpc.server(ThreadPoolExecutor(2))
    check = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(stubs.SERVICE, {"Check": check}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    running.callback(lambda: server.stop(None).wait())

    assert edge(port).send("GET", "/anything").status == 200
    assert len(calls) == 1


def test_a_rolling_restart_fails_no_request(edge, servers, pool):
    """While one of two servers drains and ends, every request is answered as before."""
    door = edge(*(server.port for server in servers))
    token = [("authorization", f"Bearer {pool.id_token()}")]
    statuses: Counter[int] = Counter()

    def asked_until(condition: Callable[[], bool]) -> None:
        def ask() -> bool:
            statuses[door.send("GET", "/prod/pets", token).status] += 1
            return condition()

        until(ask)

    asked_until(lambda: door.healthy() == 2)
    servers[0].process.send(signal.SIGTERM)
    asked_until(lambda: door.healthy() == 1)
    before = statuses.total()
    asked_until(lambda: statuses.total() == before + 50)  # so that each of its threads has heard of it
    servers[0].process.send(signal.SIGINT)  # the drain has done its work
    asked_until(lambda: not servers[0].process.running())
    before = statuses.total()
    asked_until(lambda: statuses.total() == before + 50)

    assert statuses.keys() == {200}


def test_a_hung_server_is_stepped_around(edge, servers, pool):
    """When one of two servers hangs, each check that waits for it in vain is tried again at the other."""
    door = edge(*(server.port for server in servers), timeouts=hasty)
    token = [("authorization", f"Bearer {pool.id_token()}")]
    assert door.send("GET", "/prod/pets", token).status == 200

    servers[0].process.send(signal.SIGSTOP)
    statuses = Counter(door.send("GET", "/prod/pets", token).status for _ in range(6))

    assert statuses == {200: 6}


def test_a_killed_server_is_stepped_around(edge, servers, pool):
    """When one of two servers dies in the middle of its work, checks are tried again at the other."""
    door = edge(*(server.port for server in servers))
    token = [("authorization", f"Bearer {pool.id_token()}")]
    assert door.send("GET", "/prod/pets", token).status == 200

    servers[0].process.stop(signal.SIGKILL)
    statuses = Counter(door.send("GET", "/prod/pets", token).status for _ in range(200))

    assert statuses == {200: 200}
