"""`authz-server serve` as an operator meets it."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from authz_server.cli.serve import serve
from authz_server.demo.process import Process, accepts, authz_server, free_port
from authz_server.testing import Fault, LocalCognito, UserPool
from tests.e2e.stack import CONFIGURATION, PATIENTLY, Held, Server, ask, configured
from tests.waiting import PATIENCE, until

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
AUTHORIZATION = "envoy.service.auth.v3.Authorization"


def health(port, service=""):
    """Ask the gRPC health service."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE).status


def run(*arguments):
    """Run a command to its end."""
    return subprocess.run([sys.executable, "-m", "authz_server", *arguments], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("service", ["", AUTHORIZATION, "liveness"])
def test_health_is_serving_once_keys_were_fetched(server, service):
    """Envoy and Kubernetes ask for "", the Authorization service, or `liveness`."""
    assert health(server.port, service) == SERVING


def test_who_hears_that_it_is_ready_can_ask_at_once(tmp_path, pool, cognito, transport):
    """The admin port opens first, and says so only when each address of `--listen` is open, too."""
    config, admin, ports = tmp_path / "authz.yaml", free_port(), [free_port() for _ in range(60)]
    config.write_text(configured(CONFIGURATION, pool, cognito))
    addresses = [flag for port in ports for flag in ("--listen", f"127.0.0.1:{port}")]
    command = ["serve", "--config", str(config), "--admin", str(admin), "--transport", transport, "--drain-seconds", "0", *addresses]
    with authz_server(*command, log=tmp_path / "server.log") as process:
        server = Server(process=process, config=config, port=ports[-1], admin=admin)
        end = time.monotonic() + PATIENCE
        while server.get("/readyz")[0] != 200:  # without a pause
            assert time.monotonic() < end
        assert accepts(server.port)


def test_reflection_shows_the_services(tmp_path, pool, cognito):
    """A client without our protos can list and describe what the port serves; the grpcio door alone does this."""
    server = Server.start(tmp_path, pool, cognito)
    with server.process, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        database = ProtoReflectionDescriptorDatabase(channel)

        assert {AUTHORIZATION, "grpc.health.v1.Health"} <= set(database.get_services())
        assert database.FindFileContainingSymbol(AUTHORIZATION).name == "envoy/service/auth/v3/external_auth.proto"
        assert database.FindFileContainingSymbol("grpc.health.v1.Health").package == "grpc.health.v1"


def test_an_unknown_method_is_a_grpc_error(server):
    """A gRPC error is for gRPC itself: a method that does not exist."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(f"/{AUTHORIZATION}/Chek")(b"", timeout=PATIENCE)

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("data", [b"", b"\xff\xff", b"\x0a\xff", bytes(1000)], ids=["empty", "no protobuf", "cut off", "zeros"])
def test_bytes_that_are_no_check_request_are_denied(server, data):
    """Whatever arrives, the answer is a denial and never a gRPC error, which may fail open."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        answer = channel.unary_unary(f"/{AUTHORIZATION}/Check")(data, timeout=PATIENCE)

    assert answer[:2] == b"\x0a\x02"  # status
    assert answer[3] == 7
    assert "bug" not in server.log()


def test_the_admin_port_tells_health_and_metrics(server, pool):
    """Metrics count each check by api, route, decision and reason, and show the keys."""
    server.check("GET", "/prod/pets", {"authorization": pool.id_token()})
    server.check("GET", "/prod/pets")

    status, text = server.get("/metrics")

    assert (status, server.get("/healthz")[0], server.get("/readyz")[0], server.get("/else")[0]) == (200, 200, 200, 404)
    assert 'authz_checks_total{api="petstore",decision="allow",reason="",route="GET /pets"}' in text
    assert 'authz_checks_total{api="petstore",decision="deny",reason="token_missing",route="GET /pets"}' in text
    assert f'authz_jwks_fetches_total{{outcome="ok",user_pool="{pool.id}"}}' in text
    assert f'authz_jwks_keys{{user_pool="{pool.id}"}} 2.0' in text
    assert "authz_configuration_generation 1.0" in text
    assert "authz_check_duration_seconds_bucket" in text


def test_the_admin_port_is_on_loopback(server):
    """A bare port is bound to 127.0.0.1 alone: another address of this machine does not lead there."""
    assert f"admin port on 127.0.0.1:{server.admin}" in server.log()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.admin), 2).close()


def test_there_is_no_admin_port_unless_one_is_asked_for(tmp_path, pool, cognito, transport):
    """And checks are taken from this machine only, unless told otherwise."""
    config = tmp_path / "authz.yaml"
    config.write_text(configured(CONFIGURATION, pool, cognito))
    options = {option.name: option for option in serve.params}
    command = ("serve", "--config", str(config), "--listen", f"127.0.0.1:{free_port()}", "--transport", transport)
    with authz_server(*command, log=tmp_path / "log") as process:
        process.wait_until(lambda: "listens on" in process.log.read_text())

        assert "admin port" not in process.log.read_text()
    assert options["listen"].default == ("127.0.0.1:9000",)


def test_the_decision_log_has_one_line_per_check_and_no_secret(start_server, pool):
    """A line tells who asked what and why it was denied, and holds no token, path or claim value."""
    server = start_server("--decision-log", "json")
    token = pool.id_token()
    request_id = "6f1c2a34-0b7d-4d53-9a50-0d6c7e8f9a01"
    server.check("GET", "/prod/pets?secret=1", {"authorization": token, "x-request-id": request_id})
    foreign = f"{token.rpartition('.')[0]}.{pool.id_token(exp=1).rpartition('.')[2]}"
    server.check("GET", "/prod/pets", {"authorization": foreign})
    until(lambda: server.log().count('"decision"') == 2)

    allowed, denied = (json.loads(line) for line in server.log().splitlines() if '"decision"' in line)

    assert (allowed["decision"], allowed["route"], allowed["request_id"]) == ("allow", "GET /pets", request_id)
    assert (denied["decision"], denied["status"], denied["reason"]) == ("deny", 401, "signature_invalid")
    secrets = [*token.split("."), "ada@example.com", pool.users["ada"].sub, "secret=1"]
    assert not any(secret in server.log() for secret in secrets)


def test_sigterm_says_not_serving_finishes_and_exits(start_server):
    """Draining: NOT_SERVING while calls are still answered, until the time is up or SIGINT says not to wait, then the end with status 0."""
    server = start_server("--drain-seconds", "300")
    server.process.send(signal.SIGTERM)
    until(lambda: health(server.port) == NOT_SERVING)

    assert server.check("GET", "/prod/status").status.code == 0
    assert server.get("/readyz")[0] == 503
    assert health(server.port, "liveness") == SERVING
    server.process.send(signal.SIGINT)
    assert server.process.wait() == 0


def test_a_drain_ends_when_its_time_is_up(start_server):
    """Nobody has to say so."""
    server = start_server("--drain-seconds", "0.3")
    server.process.send(signal.SIGTERM)

    assert server.process.wait() == 0
    assert "draining: not serving for 0.3 s" in server.log()


def test_no_check_fails_while_the_server_drains(start_server, pool):
    """Calls in flight at SIGTERM are answered."""
    server = start_server("--drain-seconds", "300")
    ended = threading.Event()

    def ask_until_not_serving():
        answers = []
        while not ended.is_set():
            answers.append(server.check("GET", "/prod/pets", {"authorization": pool.id_token()}).status.code)
        return answers

    with ThreadPoolExecutor(2) as clients:
        asked = [clients.submit(ask_until_not_serving) for _ in range(2)]
        server.process.send(signal.SIGTERM)
        until(lambda: health(server.port) == NOT_SERVING)
        ended.set()

    assert all(set(answers.result()) <= {0} for answers in asked)
    server.process.send(signal.SIGINT)
    assert server.process.wait() == 0


@pytest.mark.parametrize("how", ["file", "signal", "symbolic link"])
def test_a_new_configuration_is_swapped_in(start_server, pool, cognito, tmp_path, how):
    """A changed file, SIGHUP, or a swapped symbolic link as Kubernetes does it: the next check sees the new routes."""
    server = start_server()
    assert server.check("GET", "/prod/new").status.code == 7
    text = configured(CONFIGURATION.replace("/status:", "/new:"), pool, cognito)
    if how == "symbolic link":
        (tmp_path / "..data").mkdir()
        (tmp_path / "..data" / "authz.yaml").write_text(text)
        (tmp_path / "next").symlink_to(tmp_path / "..data" / "authz.yaml")
        (tmp_path / "next").replace(server.config)
    else:
        server.config.write_text(text)
        if how == "signal":
            server.process.send(signal.SIGHUP)

    until(lambda: server.check("GET", "/prod/new").status.code == 0)

    assert "authz_configuration_last_reload_successful 1.0" in server.get("/metrics")[1]


def test_a_bad_configuration_keeps_the_old_one(start_server):
    """Every mistake is logged with its place, and the old generation goes on answering."""
    server = start_server()
    server.config.write_text("version: 1\napis: {shop: {routes: {/pets: {GET: {authorizer: nobody}}}}}\n")
    until(lambda: "stays in force" in server.log())

    assert f"{server.config}:2:" in server.log()
    assert server.check("GET", "/prod/status").status.code == 0
    assert "authz_configuration_last_reload_successful 0.0" in server.get("/metrics")[1]
    assert "authz_configuration_generation 1.0" in server.get("/metrics")[1]


def test_a_bad_configuration_does_not_start(tmp_path):
    """The command lists every mistake and exits with status 1."""
    config = tmp_path / "authz.yaml"
    config.write_text("version: 1\napis: {shop: {ruotes: {}}}\n")

    ended = run("serve", "--config", str(config), "--listen", f"127.0.0.1:{free_port()}")

    assert ended.returncode == 1
    assert f"{config}:2:" in ended.stderr
    assert "routes" in ended.stderr


def test_a_taken_port_ends_the_start_with_its_name(server, transport):
    """Two servers never share a port in silence."""
    ended = run("serve", "--config", str(server.config), "--listen", f"127.0.0.1:{server.port}", "--transport", transport)

    assert ended.returncode == 1
    assert f"127.0.0.1:{server.port}" in ended.stderr


@pytest.mark.parametrize(
    ("address", "why"), [("unix:///absent/folder/s.sock", "No such file or directory"), (f"unix:///tmp/{'x' * 120}", "path too long")]
)
def test_why_an_address_can_not_be_listened_on_is_told(server, transport, address, why):
    """In the system's words, whatever the transport itself has to say."""
    ended = run("serve", "--config", str(server.config), "--listen", address, "--transport", transport)

    assert ended.returncode == 1
    assert address in ended.stderr
    assert why in ended.stderr


def test_a_usage_error_is_status_2():
    """An unknown flag, a missing one or a bad address is a usage error."""
    assert run("serve").returncode == 2
    assert run("serve", "--config", "x", "--listen", "nowhere").returncode == 2
    assert run("serve", "--config", "x", "--nope").returncode == 2


def test_flags_come_from_the_environment_too(tmp_path, pool, cognito, transport):
    """AUTHZ_CONFIG and AUTHZ_LISTEN stand for --config and --listen."""
    config, socket_path = tmp_path / "authz.yaml", tmp_path / "authz.sock"
    config.write_text(configured(CONFIGURATION, pool, cognito))
    environment = {"AUTHZ_CONFIG": str(config), "AUTHZ_LISTEN": f"unix://{socket_path}", "AUTHZ_DRAIN_SECONDS": "0"}
    environment["AUTHZ_TRANSPORT"] = transport
    with authz_server("serve", log=tmp_path / "log", environment=environment) as process:
        process.wait_until(socket_path.exists)

        assert ask(f"unix:{socket_path}", "GET", "/prod/status").status.code == 0


def test_a_unix_socket_that_is_in_use_is_not_taken_over(tmp_path, pool, cognito, transport):
    """A second server on one path is refused, and a stale socket is replaced."""
    config, path = tmp_path / "authz.yaml", tmp_path / "authz.sock"
    config.write_text(configured(CONFIGURATION, pool, cognito))
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    command = ("serve", "--config", str(config), "--listen", f"unix://{path}", "--transport", transport)
    with authz_server(*command, log=tmp_path / "log") as process:
        process.wait_until(lambda: "listens on" in process.log.read_text())
        second = run(*command)

        assert second.returncode == 1
        assert "another process" in second.stderr
        assert ask(f"unix:{path}", "GET", "/prod/status").status.code == 0
        assert stat.S_ISSOCK(path.stat().st_mode)
        process.send(signal.SIGINT)
        assert process.wait() == 0


def test_a_rotated_key_works_at_once(start_server):
    """A token with an unseen kid makes one fetch, and the same check is answered with what it brought."""
    pool = UserPool("eu-west-1_Rotated01")
    with LocalCognito(pool) as cognito:
        server = start_server(configuration=configured(CONFIGURATION, pool, cognito), program=PATIENTLY)
        pool.rotate()
        fetches = cognito.fetches(pool)

        assert server.check("GET", "/prod/pets", {"authorization": pool.id_token()}).status.code == 0
        assert cognito.fetches(pool) == fetches + 1


def test_forged_kids_cost_one_fetch(start_server):
    """A flood of unseen kids makes one fetch, and good tokens are answered all the while."""
    pool, stranger = UserPool("eu-west-1_Flooded01"), UserPool("eu-west-1_Flooded01")
    with LocalCognito(pool) as cognito:
        server = start_server(configuration=configured(CONFIGURATION, pool, cognito), program=PATIENTLY)
        fetches = cognito.fetches(pool)
        forged = [server.check("GET", "/prod/pets", {"authorization": stranger.id_token()}) for _ in range(20)]
        good = server.check("GET", "/prod/pets", {"authorization": pool.id_token()})

        assert {answer.denied_response.status.code for answer in forged} == {401}
        assert good.status.code == 0
        assert cognito.fetches(pool) == fetches + 1


def test_a_pool_without_keys_is_503_and_others_go_on(start_server, pool):
    """An outage is not the caller's fault: 503 with Retry-After for that pool, and business as usual for the others."""
    dead = UserPool("eu-west-1_Dead00001")
    text = CONFIGURATION.replace("provider_arns: [ARN]", f"provider_arns: [ARN, '{dead.arn}']") + f'  {dead.id}: {{jwks_uri: "URL"}}\n'
    with LocalCognito(dead) as broken:
        broken.faults[dead.id] = Fault(status=503)
        server = start_server(configuration=text.replace("URL", broken.jwks_uri(dead)))
        refused = server.check("GET", "/prod/pets", {"authorization": dead.id_token()})

        assert refused.denied_response.status.code == 503
        assert "retry-after" in {option.header.key for option in refused.denied_response.headers}
        assert server.check("GET", "/prod/pets", {"authorization": pool.id_token()}).status.code == 0
        assert health(server.port) == SERVING


def test_the_first_fetch_is_waited_for(tmp_path, transport):
    """While the first keys are on their way the server is not ready, and a check that needs them waits."""
    pool = UserPool("eu-west-1_Slow00001")
    pool.jwks_document()  # make the keys before the clock runs
    with LocalCognito(pool) as cognito:
        cognito.faults[pool.id] = held = Held()
        config, port, admin = tmp_path / "authz.yaml", free_port(), free_port()
        config.write_text(configured(CONFIGURATION, pool, cognito))
        command = ("serve", "--config", str(config), "--listen", f"127.0.0.1:{port}", "--admin", str(admin), "--transport", transport)
        with (
            Process([sys.executable, *PATIENTLY, *command, "--drain-seconds", "0"], log=tmp_path / "log") as process,
            ThreadPoolExecutor(1) as client,
        ):
            server = Server(process=process, config=config, port=port, admin=admin)
            process.wait_until(lambda: "listens on" in server.log())
            answer = client.submit(server.check, "GET", "/prod/pets", {"authorization": pool.id_token()})
            until(lambda: f'authz_jwks_waiting_checks{{user_pool="{pool.id}"}} 1.0' in server.get("/metrics")[1])
            assert health(port) == NOT_SERVING
            held.release()

            assert answer.result().status.code == 0
            until(lambda: health(port) == SERVING)


def test_validate_and_schema(tmp_path, server):
    """`validate` says good or lists mistakes; `schema` prints a JSON Schema; `--version` names the version."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 2\n")

    assert run("validate", "--config", str(server.config)).returncode == 0
    assert f"{bad}:1:" in run("validate", "--config", str(bad)).stderr
    assert "properties" in json.loads(run("schema").stdout)
    assert run("--version").stdout.startswith("authz-server ")
    assert os.access(server.config, os.R_OK)


def cpus(server) -> set[str]:
    """On which CPUs the threads of a server may run."""
    tasks = Path(f"/proc/{server.process.pid}/task").glob("*/status")
    return {line.split()[1] for task in tasks for line in task.read_text().splitlines() if line.startswith("Cpus_allowed_list:")}


@pytest.mark.parametrize("flag", ["--pin-cpu", "--no-pin-cpu"])
def test_the_threads_of_grpcio_keep_to_one_cpu_unless_told_otherwise(start_server, transport, flag):
    """The main thread, which loads configurations, stays free, as does all of the other door."""
    server = start_server(flag)
    everywhere = Path("/proc/self/status").read_text().partition("Cpus_allowed_list:")[2].split()[0]
    pinned = cpus(server) - {everywhere}

    assert len(pinned) == (transport == "grpcio" and flag == "--pin-cpu" and len(os.sched_getaffinity(0)) > 1)
    assert all(one.isdigit() for one in pinned)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_start_says_what_is_in_force_and_which_variables_nobody_reads(tmp_path, pool, cognito, transport, workers):
    """Once, however many workers there are; what Kubernetes says of Services is not mentioned, and what the configuration reads is no slip."""
    config, socket_path = tmp_path / "authz.yaml", tmp_path / "authz.sock"
    config.write_text(configured(CONFIGURATION, pool, cognito) + "# ${AUTHZ_TLS_POOL}\n")
    kubernetes = {
        "AUTHZ_PORT": "tcp://10.96.0.7:9000",
        "AUTHZ_SERVER_PORT": "tcp://10.96.0.7:9000",
        "AUTHZ_PORT_9000_TCP_ADDR": "10.96.0.7",
    }
    slips = {"AUTHZ_WORKER": "3", "AUTHZ_TLS_POOL": "x"}
    command = ("serve", "--config", str(config), "--listen", f"unix://{socket_path}", "--transport", transport, "--workers", workers)
    with authz_server(*command, "--drain-seconds", "0", log=tmp_path / "log", environment={**kubernetes, **slips}) as process:
        process.wait_until(lambda: process.log.read_text().count("listens on") == int(workers), PATIENCE)
        log = process.log.read_text()

    parts = f"no revocations; no state directory; transport {transport}; {workers} worker{'s' if workers == '2' else ''}"
    assert re.findall(r"in force: [^\"\n]*", log) == [f"in force: no TLS; any client (socket mode 0660); {parts}"]
    assert re.findall(r"no option reads [^\"\n]*", log) == ["no option reads 'AUTHZ_WORKER' (did you mean 'AUTHZ_WORKERS'?)"]
