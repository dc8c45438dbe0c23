"""Connections that end and servers that are restarted, under load through a real Envoy: no check fails."""

import json
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from signal import Signals

import pytest

from authz_server.demo import envoy
from authz_server.demo.process import Process, free_port
from tests.e2e.stack import CONFIGURATION, Server, configured, crowd, ext_authz, patient
from tests.waiting import PATIENCE, until

ROUNDS = 10  # of each client, with both servers
MAX_STREAMS = 200  # of a connection, so that one ends many times in a few seconds
SHORT_LIVED = f"""
from authz_server.cli import main
from authz_server.transport import connection

connection.MAX_STREAMS = {MAX_STREAMS}
main(prog_name="authz-server")
"""


class Front:
    """An Envoy that answers each request itself once the check has let it pass, without a second try.

    Args:
        folder: for its configuration and log.
        ports: of the servers that it asks.
        health_checks: whether it asks them for their health.
    """

    def __init__(self, folder: Path, *ports: int, health_checks: bool) -> None:
        self.port, self.admin = free_port(), free_port()
        configuration = envoy.moved(envoy.template(), listener=self.port)
        listener = configuration["static_resources"]["listeners"][0]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["route_config"]["virtual_hosts"][0]["routes"] = [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
        del ext_authz(configuration)["grpc_service"]["retry_policy"]  # or it would hide what fails
        (cluster,) = [each for each in configuration["static_resources"]["clusters"] if each["name"] == "authz"]
        addresses = [{"socket_address": {"address": "127.0.0.1", "port_value": port}} for port in ports]
        cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": [{"endpoint": {"address": address}} for address in addresses]}]
        del cluster["outlier_detection"]
        if health_checks:
            cluster["health_checks"][0].update(interval="0.2s", no_traffic_interval="0.2s")
        else:
            del cluster["health_checks"]
        configuration["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": self.admin}}}
        self.process = envoy.start(patient(configuration), port=self.port, folder=folder)

    def counted(self, name: str) -> int:
        """Read one of its counters."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/stats?filter=^{name}$", timeout=PATIENCE) as answer:
            return int(answer.read().decode().rpartition(": ")[2])

    def healthy(self, count: int) -> None:
        """Wait until it sees so many healthy servers."""
        until(lambda: self.counted("cluster.authz.membership_healthy") == count)

    def checks(self, more: int) -> None:
        """Wait until it has asked so many more."""
        asked = "cluster.authz.upstream_rq_total"
        before = self.counted(asked)
        until(lambda: self.counted(asked) - before >= more)

    def failed(self) -> Counter[tuple[str, ...]]:
        """End it, and count the requests that did not get their 200, by what its access log says of them."""
        self.process.stop()
        lines = [json.loads(line) for line in self.process.log.read_text().splitlines() if line.startswith("{")]
        return Counter((line["status"], line["details"], line["flags"]) for line in lines if line["status"] != 200)


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """What ends with the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def front(running, tmp_path) -> Callable[..., Front]:
    """Start an Envoy in front of servers at some ports."""

    def start(*ports: int, health_checks: bool) -> Front:
        started = Front(tmp_path, *ports, health_checks=health_checks)
        running.callback(started.process.stop)
        return started

    return start


@pytest.fixture
def short_lived(running, tmp_path, pool, cognito) -> int:
    """The port of a server whose connections end after few streams."""
    (tmp_path / "authz.yaml").write_text(configured(CONFIGURATION, pool, cognito))
    port, admin = free_port(), free_port()
    addresses = ["--config", str(tmp_path / "authz.yaml"), "--listen", f"127.0.0.1:{port}", "--admin", str(admin)]
    flags = ["--transport", "asyncio", "--decision-log", "off", "--drain-seconds", "0"]
    command = [sys.executable, "-c", SHORT_LIVED, "serve", *addresses, *flags]
    process = Process(command, log=tmp_path / "server.log")
    running.callback(process.stop)
    server = Server(process=process, config=tmp_path / "authz.yaml", port=port, admin=admin)
    process.wait_until(lambda: server.get("/readyz")[0] == 200)
    return port


@pytest.mark.parametrize(("clients", "rounds"), [(24, 200), (250, 60)])
def test_connections_that_end_fail_no_check(front, short_lived, pool, clients, rounds):
    """Not even when all streams of all connections are taken, so that Envoy has checks waiting to take the place of each that is answered."""
    envoy = front(short_lived, health_checks=False)
    turns = iter(range(rounds))

    statuses = crowd(envoy.port, pool.id_token(), clients, lambda: next(turns, None) is not None)

    assert envoy.counted("cluster.authz.upstream_cx_close_notify") >= clients * rounds // (MAX_STREAMS + 3 * 100) > 5
    assert envoy.counted("cluster.authz.http2.rx_reset") == 0
    assert envoy.counted("cluster.authz.upstream_rq_total") == clients * rounds
    assert not envoy.failed()
    assert statuses == {200: clients * rounds}


@pytest.mark.parametrize("clients", [24, 250])
def test_a_rolling_restart_fails_no_check(running, front, tmp_path, pool, cognito, transport, clients):
    """One server after the other drains, ends and comes back at its port while clients go on."""

    def start(name: str, port: int | None = None) -> Server:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        flags = ("--transport", transport, "--drain-seconds", "300", "--decision-log", "off")
        started = Server.start(folder, pool, cognito, *flags, port=port)
        running.callback(started.process.stop, Signals.SIGINT)  # without another drain
        return started

    servers = {name: start(name) for name in ("first", "second")}
    envoy = front(*(server.port for server in servers.values()), health_checks=True)
    envoy.healthy(2)
    over = threading.Event()
    with ThreadPoolExecutor(1) as load:
        loading = load.submit(crowd, envoy.port, pool.id_token(), clients, lambda: not over.is_set())
        running.callback(over.set)
        for name, server in servers.items():
            server.process.send(Signals.SIGTERM)
            envoy.healthy(1)
            envoy.checks(ROUNDS * clients)  # so that each of its threads has heard of it
            server.process.send(Signals.SIGINT)  # the drain has done its work
            assert server.process.wait() == 0
            start(name, server.port)
            envoy.healthy(2)
            envoy.checks(ROUNDS * clients)
        over.set()
        statuses = loading.result()

    assert not envoy.failed()
    assert statuses.keys() == {200}
    assert statuses.total() >= 2 * ROUNDS * clients
