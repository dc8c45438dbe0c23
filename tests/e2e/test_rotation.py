"""Connections that end and servers that are restarted, under load through a real Envoy: no check fails."""

import re
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from signal import Signals

import pytest

from authz_server.demo import envoy
from authz_server.demo.process import free_port
from authz_server.transport.connection import MAX_STREAMS
from tests.e2e.stack import Server, ext_authz

DRAIN_SECONDS = 1.5  # more than Envoy's health check needs here
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")


class Front:
    """An Envoy that answers each request itself once the check has let it pass, without a second try.

    Args:
        folder: for its configuration and log.
        ports: of the servers that it asks.
    """

    def __init__(self, folder: Path, *ports: int) -> None:
        self.port, self.admin = free_port(), free_port()
        configuration = envoy.moved(envoy.template(), listener=self.port)
        listener = configuration["static_resources"]["listeners"][0]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["route_config"]["virtual_hosts"][0]["routes"] = [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
        del manager["access_log"]
        asks = ext_authz(configuration)["grpc_service"]
        del asks["retry_policy"]  # or it would hide what fails
        asks["timeout"] = "10s"
        (cluster,) = [each for each in configuration["static_resources"]["clusters"] if each["name"] == "authz"]
        addresses = [{"socket_address": {"address": "127.0.0.1", "port_value": port}} for port in ports]
        cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": [{"endpoint": {"address": address}} for address in addresses]}]
        cluster["health_checks"][0].update(interval="0.2s", no_traffic_interval="0.2s")
        configuration["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": self.admin}}}
        self.process = envoy.start(configuration, port=self.port, folder=folder)

    def counted(self, name: str) -> int:
        """Read one of its counters."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/stats?filter=^{name}$", timeout=5) as answer:
            return int(answer.read().decode().rpartition(": ")[2])


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """What ends with the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def front(running, tmp_path) -> Callable[..., Front]:
    """Start an Envoy in front of servers at some ports."""

    def start(*ports: int) -> Front:
        started = Front(tmp_path, *ports)
        running.callback(started.process.stop)
        return started

    return start


def ask(port: int, token: str, clients: int, going_on: Callable[[], bool]) -> Counter[int]:
    """Let many clients ask at the same moment, again and again; count the statuses."""
    line = f"GET /prod/pets HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    statuses: Counter[int] = Counter()
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(clients)]
        while going_on():
            for each in sockets:
                each.sendall(line)
            for each in sockets:
                received = b""
                while b"\r\n\r\n" not in received:
                    received += each.recv(65_536) or b"\r\n\r\n"
                statuses[int(found.group(1)) if (found := STATUS.match(received)) else 0] += 1
    return statuses


@pytest.mark.parametrize(("clients", "rotations"), [(24, 3), (250, 2)])
def test_rotations_fail_no_check(running, front, tmp_path, pool, cognito, clients, rotations):
    """Connections end before their streams run out, several times over, also when one can not take all clients."""
    server = Server.start(tmp_path, pool, cognito, "--transport", "asyncio", "--decision-log", "off")
    running.callback(server.process.stop)
    envoy = front(server.port)
    rounds = iter(range(3 * (MAX_STREAMS + 200) // clients))

    statuses = ask(envoy.port, pool.id_token(), clients, lambda: next(rounds, None) is not None)

    assert statuses.keys() == {200}
    assert envoy.counted("cluster.authz.upstream_rq_total") == statuses.total()
    assert envoy.counted("cluster.authz.upstream_cx_close_notify") >= rotations
    assert envoy.counted("cluster.authz.http2.rx_reset") == 0


def test_a_rolling_restart_fails_no_check(running, front, tmp_path, pool, cognito, transport):
    """One server after the other drains, ends and comes back at its port while clients go on."""

    def start(name: str, port: int | None = None) -> Server:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        flags = ("--transport", transport, "--drain-seconds", str(DRAIN_SECONDS), "--decision-log", "off")
        started = Server.start(folder, pool, cognito, *flags, port=port)
        running.callback(started.process.stop)
        return started

    servers = {name: start(name) for name in ("first", "second")}
    envoy = front(*(server.port for server in servers.values()))

    def healthy(count: int) -> None:
        until = time.monotonic() + 10
        while envoy.counted("cluster.authz.membership_healthy") != count:
            assert time.monotonic() < until
            time.sleep(0.05)

    healthy(2)
    over = threading.Event()
    with ThreadPoolExecutor(1) as load:
        loading = load.submit(ask, envoy.port, pool.id_token(), 16, lambda: not over.is_set())
        running.callback(over.set)
        for name, server in servers.items():
            server.process.send(Signals.SIGTERM)
            assert server.process.wait() == 0
            start(name, server.port)
            healthy(2)
        over.set()
        statuses = loading.result()

    assert statuses.keys() == {200}
    assert statuses.total() > 500
