"""`authz-server serve --workers`: several processes that look like one server."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc

from authz_server.cli import main
from authz_server.demo import envoy
from authz_server.demo.process import accepts, authz_server, free_port
from authz_server.server import supervisor
from tests.e2e.stack import CONFIGURATION, Server, ask, configured, crowd, patient, two_ports
from tests.waiting import PATIENCE, until

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass(frozen=True, kw_only=True)
class Workers(Server):
    """A running supervisor with two workers."""

    @property
    def ports(self):
        """Where each listens."""
        return [self.port, self.port + 1]

    @property
    def pids(self):
        """Every process that was started, newest last, by worker."""
        started = re.findall(r"worker (\d) is process (\d+)", self.log())
        return {number: [int(pid) for other, pid in started if other == number] for number, _ in started}

    def sample(self, name):
        """Read one sample of the metrics, or None."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return found and float(found[1])


def health(port):
    """Ask the gRPC health service."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE).status


def runs(pid):
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def run(*arguments):
    """Run a command to its end."""
    return subprocess.run([sys.executable, "-m", "authz_server", *arguments], capture_output=True, text=True, timeout=120, check=False)


def start(folder, pool, cognito, *arguments):
    """Start two workers."""
    config, port, admin = folder / "authz.yaml", two_ports(), free_port()
    config.write_text(configured(CONFIGURATION, pool, cognito))
    command = ["serve", "--config", str(config), "--listen", f"127.0.0.1:{port}", "--admin", str(admin), "--drain-seconds", "0"]
    process = authz_server(*command, *arguments, log=folder / "server.log", environment={"AUTHZ_WORKERS": "2"})
    server = Workers(process=process, config=config, port=port, admin=admin)
    process.wait_until(lambda: server.get("/readyz")[0] == 200)
    until(lambda: all(health(port) == SERVING for port in server.ports))
    return server


@pytest.fixture(scope="module")
def workers(tmp_path_factory, pool, cognito, transport):
    """Two workers for all tests that do not change them."""
    server = start(tmp_path_factory.mktemp("workers"), pool, cognito, "--transport", transport)
    yield server
    server.process.stop()


@pytest.fixture
def start_workers(tmp_path, pool, cognito, transport):
    """Start workers that end with the test."""
    with ExitStack() as running:

        def begin(*arguments):
            server = start(tmp_path, pool, cognito, "--transport", transport, *arguments)
            running.callback(server.process.stop)
            return server

        yield begin


def test_each_worker_answers_at_an_endpoint_of_its_own(workers, pool):
    """Worker n listens on port + n, with health and all the rest."""
    for port in workers.ports:
        assert health(port) == SERVING
        assert ask(f"127.0.0.1:{port}", "GET", "/prod/pets", {"authorization": pool.id_token()}).status.code == 0


def test_one_admin_port_speaks_for_all(workers):
    """Counts are sums, everything else stands beside its worker."""
    counted = 'authz_checks_total{api="petstore",decision="allow",reason="",route="GET /status"}'
    for port, checks in zip(workers.ports, (2, 3), strict=True):
        for _ in range(checks):
            ask(f"127.0.0.1:{port}", "GET", "/prod/status")

    assert workers.sample(counted) == 5
    assert workers.sample("authz_check_duration_seconds_count") == workers.sample('authz_check_duration_seconds_bucket{le="+Inf"}') >= 5
    assert [workers.sample(f'authz_configuration_generation{{worker="{number}"}}') for number in (0, 1)] == [1, 1]
    assert workers.sample("authz_workers") == 2
    assert workers.sample('authz_worker_restarts_total{worker="0"}') == 0
    assert (workers.get("/healthz")[0], workers.get("/readyz")[0], workers.get("/else")[0]) == (200, 200, 404)


def test_a_warning_about_the_configuration_is_logged_by_one_worker(start_workers):
    """All load the same file, at the start and at each reload; the first one logs the warnings."""
    server = start_workers()
    line = "takes the tokens of every app client"

    def warned():
        return [entry for entry in map(json.loads, server.log().splitlines()) if line in entry["message"]]

    assert [(entry["worker"], entry["level"]) for entry in warned()] == [(0, "warning")]
    server.process.send(signal.SIGHUP)
    until(lambda: [server.sample(f'authz_configuration_generation{{worker="{number}"}}') for number in (0, 1)] == [2, 2])
    assert [entry["worker"] for entry in warned()] == [0, 0]
    assert f"{server.config}:" in warned()[1]["message"]


def test_logs_say_which_worker(workers):
    """All write to the same stream, whole lines."""
    assert '"worker":1,"message":"authz-server' in workers.log()
    assert f"listens on 127.0.0.1:{workers.port + 1}" in workers.log()


def test_a_worker_that_dies_is_replaced(start_workers):
    """The other one goes on, the dead one is back after a pause, and no count is lost that was shown."""
    server, restarts, counted = start_workers(), 'authz_worker_restarts_total{worker="1"}', "authz_check_duration_seconds_count"
    for port in server.ports:
        ask(f"127.0.0.1:{port}", "GET", "/prod/status")
    until(lambda: server.sample(counted) == 2)
    began = time.monotonic()
    os.kill(server.pids["1"][0], signal.SIGKILL)
    until(lambda: "worker 1 has ended with status -9" in server.log())

    until(lambda: server.sample("authz_workers") == 1 or server.sample(restarts) == 1)
    assert ask(f"127.0.0.1:{server.port}", "GET", "/prod/status").status.code == 0
    until(lambda: server.get("/readyz")[0] == 200)
    until(lambda: server.sample(counted) == 3)
    until(lambda: server.sample(restarts) == 1)
    assert time.monotonic() - began >= 1
    until(lambda: server.sample("authz_workers") == 2)
    assert ask(f"127.0.0.1:{server.port + 1}", "GET", "/prod/status").status.code == 0
    until(lambda: server.sample(counted) == 4)
    os.kill(server.pids["1"][1], signal.SIGTERM)
    until(lambda: "worker 1 is started again in 2 s" in server.log())


class Front:
    """An Envoy in front of workers, as deployed, that answers itself what a check has let pass."""

    def __init__(self, folder, ports):
        self.port, self.admin = free_port(), free_port()
        configuration = envoy.moved(envoy.template(), listener=self.port)
        manager = configuration["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        manager["route_config"]["virtual_hosts"][0]["routes"] = [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
        (cluster,) = [each for each in configuration["static_resources"]["clusters"] if each["name"] == "authz"]
        addresses = [{"socket_address": {"address": "127.0.0.1", "port_value": port}} for port in ports]
        cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": [{"endpoint": {"address": address}} for address in addresses]}]
        configuration["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": self.admin}}}
        self.process = envoy.start(patient(configuration), port=self.port, folder=folder)

    def healthy(self):
        """Count the workers that it sends checks to."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.admin}/stats?filter=^cluster.authz.membership_healthy$", timeout=PATIENCE
        ) as answer:
            return int(answer.read().decode().rpartition(": ")[2])

    def sends(self, port, checks):
        """Wait until it has sent more checks to a port."""
        before = self.asked(port)
        until(lambda: self.asked(port) > before + checks)

    def asked(self, port):
        """Count the checks that it has sent to a port."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/clusters", timeout=PATIENCE) as answer:
            return int(re.search(rf"::127\.0\.0\.1:{port}::rq_total::(\d+)", answer.read().decode())[1])


def test_workers_that_are_killed_under_load_fail_no_request(start_workers, tmp_path, pool):
    """Envoy asks the other one, and shares its checks out again once the dead one is back, with the keys that it had."""
    server = start_workers("--decision-log", "off", "--state-dir", str(tmp_path / "state"))  # a fetch may take longer than a check waits
    front, over = Front(tmp_path, server.ports), threading.Event()
    with front.process, ThreadPoolExecutor(1) as load:
        until(lambda: front.healthy() == 2)
        loading = load.submit(crowd, front.port, pool.id_token(), 24, lambda: not over.is_set())
        try:
            for number in ("1", "0"):
                port = server.ports[int(number)]
                front.sends(port, 100)
                killed = server.pids[number][-1]
                os.kill(killed, signal.SIGKILL)
                until(lambda number=number: server.sample(f'authz_worker_restarts_total{{worker="{number}"}}') == 1)
                until(lambda: server.sample("authz_workers") == 2)
                until(lambda: front.healthy() == 2)  # Envoy keeps away from it for ten seconds
                assert server.pids[number][-1] != killed
                front.sends(port, 100)
        finally:
            over.set()
        statuses = loading.result()

    assert statuses.keys() == {200}, re.findall("authz_checks_total.*", server.get("/metrics")[1])
    assert statuses.total() >= 400


@pytest.mark.parametrize("how", ["file", "signal"])
def test_a_reload_reaches_every_worker(start_workers, pool, cognito, how):
    """Each worker watches the file, and SIGHUP to the supervisor is handed on."""
    server = start_workers()
    if how == "file":
        server.config.write_text(configured(CONFIGURATION.replace("/status:", "/new:"), pool, cognito))
    else:
        server.process.send(signal.SIGHUP)

    until(lambda: [server.sample(f'authz_configuration_generation{{worker="{number}"}}') for number in (0, 1)] == [2, 2])

    if how == "file":
        assert [ask(f"127.0.0.1:{port}", "GET", "/prod/new").status.code for port in server.ports] == [0, 0]


def test_the_supervisor_says_whether_each_worker_took_a_reload(start_workers, pool, cognito):
    """One line for each worker and reload, good or bad, with the generation that is in force there."""
    server = start_workers()
    server.config.write_text(configured(CONFIGURATION.replace("/status:", "/new:"), pool, cognito))
    for number in (0, 1):
        until(lambda number=number: f"worker {number} took the reload, generation 2 is in force there" in server.log())
    server.config.write_text("version: 1\nnonsense: 1\n")
    for number in (0, 1):
        until(lambda number=number: f"worker {number} did not take the reload, generation 2 stays in force there" in server.log())


def test_sigterm_drains_all_and_a_second_one_kills(start_workers):
    """Every endpoint says NOT_SERVING and still answers. Who signals twice does not want to wait; the status tells that calls may be cut off."""
    server = start_workers("--drain-seconds", "300")
    server.process.send(signal.SIGTERM)
    until(lambda: [health(port) for port in server.ports] == [NOT_SERVING, NOT_SERVING])

    assert [ask(f"127.0.0.1:{port}", "GET", "/prod/status").status.code for port in server.ports] == [0, 0]
    assert (server.get("/readyz")[0], server.get("/healthz")[0]) == (503, 200)
    server.process.send(signal.SIGTERM)

    assert server.process.wait() == 1
    assert not any(runs(pid) for (pid,) in server.pids.values())


def test_sigterm_to_all_processes_drains_as_long(start_workers):
    """Systemd signals a whole control group: a worker that is told twice does not hurry, and all end with status 0."""
    server = start_workers("--drain-seconds", "2")
    began = time.monotonic()
    for (pid,) in server.pids.values():
        os.kill(pid, signal.SIGTERM)
    server.process.send(signal.SIGTERM)

    assert server.process.wait() == 0
    assert time.monotonic() - began >= 2
    assert not any(accepts(port) for port in server.ports)
    assert "started again" not in server.log()


def test_sigint_stops_at_once(start_workers):
    """A person at a terminal does not wait for a drain."""
    server = start_workers("--drain-seconds", "300")
    server.process.send(signal.SIGINT)

    assert server.process.wait() == 0
    assert "killing" not in server.log()


def test_no_worker_outlives_a_supervisor_that_is_killed(start_workers):
    """Workers that are left alone drain and end, so that the next start finds its ports."""
    server = start_workers("--drain-seconds", "1")
    server.process.send(signal.SIGKILL)
    until(lambda: not any(runs(pid) for (pid,) in server.pids.values()))

    assert server.log().count("draining: not serving for 1 s") == 2
    assert not any(accepts(port) for port in server.ports)


def test_a_worker_that_hangs_holds_nobody_up(start_workers):
    """The admin port waits for it for less than a second, and answers with what it had counted, and without what it can not tell now."""
    server = start_workers()
    (pid,) = server.pids["1"]
    ask(f"127.0.0.1:{server.port + 1}", "GET", "/prod/status")
    until(lambda: server.sample("authz_check_duration_seconds_count") == 1)
    os.kill(pid, signal.SIGSTOP)
    until(lambda: server.sample('authz_configuration_generation{worker="1"}') is None)
    with ThreadPoolExecutor(8) as scrapers:
        counts = set(scrapers.map(lambda _: server.sample("authz_check_duration_seconds_count"), range(24)))

    assert counts == {1}
    until(lambda: server.get("/readyz")[0] == 200)
    assert supervisor.ANSWER_SECONDS < 1
    os.kill(pid, signal.SIGCONT)
    until(lambda: server.sample('authz_configuration_generation{worker="1"}') == 1)


def test_a_taken_port_ends_the_whole_start_with_its_name(tmp_path, pool, cognito, transport):
    """No worker is left behind."""
    config, port = tmp_path / "authz.yaml", two_ports()
    config.write_text(configured(CONFIGURATION, pool, cognito))
    with socket.create_server(("127.0.0.1", port + 1)):
        ended = run("serve", "--config", str(config), "--listen", f"127.0.0.1:{port}", "--workers", "2", "--transport", transport)

    assert ended.returncode == 1
    assert f"127.0.0.1:{port + 1}" in ended.stderr
    assert "worker 1 did not come up" in ended.stderr
    assert not accepts(port)


def test_a_bad_configuration_is_told_once(tmp_path):
    """The first worker starts alone, so that each mistake stands there once."""
    config = tmp_path / "authz.yaml"
    config.write_text("version: 1\napis: {shop: {ruotes: {}}}\n")

    ended = run("serve", "--config", str(config), "--listen", f"127.0.0.1:{two_ports()}", "--workers", "2")

    assert ended.returncode == 1
    assert ended.stderr.count("ruotes") == 1


def test_a_taken_admin_port_ends_the_start(workers):
    """Before any worker runs."""
    ended = run(
        "serve", "--config", str(workers.config), "--listen", f"127.0.0.1:{two_ports()}", "--workers", "2", "--admin", f"{workers.admin}"
    )

    assert ended.returncode == 1
    assert f"127.0.0.1:{workers.admin}" in ended.stderr
    assert "is process" not in ended.stderr


def test_workers_on_unix_sockets(tmp_path, pool, cognito, transport):
    """Worker n listens on the path with `.n` after it."""
    config, path = tmp_path / "authz.yaml", tmp_path / "authz.sock"
    config.write_text(configured(CONFIGURATION, pool, cognito))
    command = ["serve", "--config", str(config), "--listen", f"unix://{path}", "--workers", "2", "--transport", transport]
    with authz_server(*command, "--drain-seconds", "0", log=tmp_path / "log") as process:
        process.wait_until(lambda: process.log.read_text().count("listens on") == 2)

        assert [ask(f"unix:{path}.{number}", "GET", "/prod/status").status.code for number in (0, 1)] == [0, 0]
        assert not path.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--workers", "0"),
        ("--workers", "many"),
        ("--workers", "2", "--listen", "127.0.0.1:0"),
        ("--workers", "2", "--listen", "127.0.0.1:65535"),
        ("--worker", "0"),
    ],
    ids=" ".join,
)
def test_flags_that_make_no_sense_are_a_usage_error(arguments):
    """They end the start before anything is started; `--worker` is the supervisor's own."""
    assert CliRunner().invoke(main, ["serve", "--config", "absent.yaml", *arguments]).exit_code == 2
