"""Twice as many checks as a server can answer: it answers what it can, and refuses the rest. `make test-load` tells how fast."""

import itertools
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Lock, Semaphore

import grpc
import pytest

from authz_server.demo import envoy
from authz_server.demo.process import Process, free_port
from authz_server.envoy.stubs import CheckRequest, CheckResponse
from authz_server.transport.door import EXPECTED_TIMEOUT
from tests.e2e.stack import CONFIGURATION, Server, configured, ext_authz
from tests.waiting import PATIENCE

pytestmark = pytest.mark.load

CONNECTIONS = 24
AT_ONCE = 64
SECONDS = 8.0
SLOWER_SECONDS = 0.001  # of processor time for each check, so that one Python client can ask twice what the server can answer
SLOW = f"""
import time
from authz_server.cli import main
from authz_server.server.check import Check

answer = Check.__call__

def slowly(check, data):
    until = time.perf_counter() + {SLOWER_SECONDS}
    while time.perf_counter() < until:
        pass
    return answer(check, data)

Check.__call__ = slowly
main(prog_name="authz-server")
"""


def duration(text: str) -> float:
    """Read a duration of Envoy's, in seconds."""
    return float(text.removesuffix("s"))


@dataclass
class Tally:
    """How calls ended."""

    allowed: list[float] = field(default_factory=list)  # seconds that each took
    refused: list[float] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)  # statuses that are neither
    failed: list[str] = field(default_factory=list)
    kept: int = 0  # too many were under way
    lock: Lock = field(default_factory=Lock)

    def note(self, call: Future, seconds: float) -> None:
        """Take note of a call."""
        with self.lock:
            if error := call.exception():
                self.failed.append(str(error))
                return
            response = CheckResponse.FromString(call.result())
            status = response.denied_response.status.code if response.status.code else 200
            if status in {200, 503}:
                (self.refused if status == 503 else self.allowed).append(seconds)
            else:
                self.wrong.append(status)


class Clients:
    """Clients that ask as our Envoy does, over many connections.

    Args:
        port: of the server.
        data: the check.
        opened: closes them.
    """

    def __init__(self, port: int, data: bytes, opened: ExitStack) -> None:
        configuration = envoy.template()
        asks = ext_authz(configuration)["grpc_service"]
        (cluster,) = [each for each in configuration["static_resources"]["clusters"] if each["name"] == "authz"]
        self.patience = duration(asks["retry_policy"]["retry_back_off"]["max_interval"])  # of one try
        self._most = cluster["circuit_breakers"]["thresholds"][0]["max_requests"]
        self._metadata = [(EXPECTED_TIMEOUT, str(int(1000 * self.patience)))]
        self._data = data
        apart = [("grpc.use_local_subchannel_pool", 1)]
        channels = [opened.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}", apart)) for _ in range(CONNECTIONS)]
        for channel in channels:
            grpc.channel_ready_future(channel).result(PATIENCE)
        self._calls = itertools.cycle([channel.unary_unary("/envoy.service.auth.v3.Authorization/Check") for channel in channels])

    def _ask(self, tally: Tally, places: Semaphore) -> None:
        began = time.monotonic()

        def end(call: Future) -> None:
            tally.note(call, time.monotonic() - began)
            places.release()

        next(self._calls).future(self._data, timeout=PATIENCE, metadata=self._metadata).add_done_callback(end)

    def capacity(self, seconds: float) -> float:
        """Ask whenever there is an answer, so that there always is something to do; count answers per second."""
        tally, places = Tally(), Semaphore(AT_ONCE)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            places.acquire()
            self._ask(tally, places)
        answered = len(tally.allowed)
        for _ in range(AT_ONCE):
            places.acquire()
        assert not tally.failed
        return answered / seconds

    def flood(self, rate: float, seconds: float) -> Tally:
        """Ask at a rate, whatever comes of it."""
        tally, places = Tally(), Semaphore(self._most)
        began, asked = time.monotonic(), 0
        while (now := time.monotonic() - began) < seconds:
            while asked < now * rate:
                asked += 1
                if places.acquire(blocking=False):
                    self._ask(tally, places)
                else:
                    tally.kept += 1
            time.sleep(0.002)
        for _ in range(self._most):
            assert places.acquire(timeout=PATIENCE)
        return tally


@pytest.fixture
def slow_server(tmp_path, pool, cognito, transport) -> Iterator[Server]:
    """A server that can answer less than a thousand checks a second."""
    config, port, admin = tmp_path / "authz.yaml", free_port(), free_port()
    config.write_text(configured(CONFIGURATION, pool, cognito))
    addresses = ["--config", str(config), "--listen", f"127.0.0.1:{port}", "--admin", str(admin)]
    flags = ["--transport", transport, "--decision-log", "off", "--drain-seconds", "0"]
    with Process([sys.executable, "-c", SLOW, "serve", *addresses, *flags], log=tmp_path / "server.log") as process:
        server = Server(process=process, config=config, port=port, admin=admin)
        process.wait_until(lambda: server.get("/readyz")[0] == 200)
        yield server


def counted(server: Server, name: str) -> int:
    """Read one of its counters."""
    found = re.search(rf"^authz_checks_total{{[^}}]*{name}[^}}]*}} (\S+)$", server.get("/metrics")[1], re.MULTILINE)
    return int(float(found[1])) if found else 0


@dataclass(frozen=True, kw_only=True)
class Flood:
    """What came of asking twice as much as a server can answer.

    Args:
        capacity: checks that it answers per second when nobody asks for more.
        tally: how calls ended.
        patience: seconds after which Envoy ends a try.
        counted: checks that the server says it refused.
    """

    capacity: float
    tally: Tally
    patience: float
    counted: int

    @property
    def answered(self) -> float:
        """Checks that were answered per second."""
        return len(self.tally.allowed) / SECONDS

    def milliseconds(self, share: float) -> float:
        """The time in which a share of the answers came."""
        return 1000 * sorted(self.tally.allowed)[int(share * len(self.tally.allowed))]

    def complaints(self) -> list[str]:
        """Say what is not as promised, whatever the time that it took."""
        tally = self.tally
        wrong = {
            f"calls failed: {set(tally.failed)}": bool(tally.failed),
            f"answers are wrong: {set(tally.wrong)}": bool(tally.wrong),
            "none was answered": not tally.allowed,
            f"{len(tally.refused)} were refused, {self.counted} counted": self.counted != len(tally.refused),
        }
        return [complaint for complaint, is_so in wrong.items() if is_so]

    def __str__(self) -> str:
        return (
            f"{self.capacity:.0f} checks/s alone; asked twice that, {self.answered:.0f} answered "
            f"(p50 {self.milliseconds(0.5):.0f} ms, p99 {self.milliseconds(0.99):.0f} ms), {len(self.tally.refused) / SECONDS:.0f} refused, "
            f"{self.tally.kept / SECONDS:.0f} not even sent; a try ends after {1000 * self.patience:.0f} ms"
        )


def flood(server: Server, request: bytes) -> Flood:
    """Ask twice as much as a server can answer."""
    with ExitStack() as opened:
        clients = Clients(server.port, request, opened)
        clients.capacity(1.0)
        capacity = clients.capacity(3.0)
        before = counted(server, 'reason="overloaded"')
        tally = clients.flood(2 * capacity, SECONDS)
    refused = counted(server, 'reason="overloaded"') - before
    return Flood(capacity=capacity, tally=tally, patience=clients.patience, counted=refused)


def test_at_twice_its_capacity_a_server_answers_or_refuses(slow_server, pool, transport, capsys):
    """What it takes, it allows; the rest is told that it is too much and counted, and nothing ends in a gRPC error.

    How many it answers, and in which time, is told and fails nothing: a machine that has other work sees late answers, too.
    """
    request = CheckRequest()
    http = request.attributes.request.http
    http.method, http.path, http.host = "GET", "/prod/pets", "api.example.com"
    http.headers["authorization"] = pool.id_token()
    measured = flood(slow_server, request.SerializeToString())
    with capsys.disabled():
        sys.stdout.write(f"\n{transport}: {measured}\n")

    assert not measured.complaints()
