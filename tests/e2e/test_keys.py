"""The life of keys as an operator meets it: restarts during an outage, and directories that are not what they should be."""

import json
import re
import shutil
import signal
import stat
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from authz_server.demo.process import Process, accepts, free_port
from authz_server.envoy.stubs import CheckRequest, CheckResponse
from authz_server.testing import Fault, LocalCognito, UserPool
from tests.e2e.stack import CONFIGURATION, PATIENTLY, PROGRAM, Held, Server, ask, configured
from tests.waiting import PATIENCE, until

DAY = 86_400.0
FLOOD = 600  # checks


@pytest.fixture(scope="module")
def pool() -> UserPool:
    """A user pool of this module's own, since its endpoint comes and goes."""
    pool = UserPool("eu-west-1_Keys00001")
    pool.jwks_document()
    return pool


@pytest.fixture
def cognito(pool) -> Iterator[LocalCognito]:
    """The pool, served."""
    with LocalCognito(pool) as served:
        yield served


@pytest.fixture
def state(tmp_path) -> Path:
    """A state directory that is not there yet."""
    return tmp_path / "state"


@pytest.fixture
def start(tmp_path, pool, cognito, state, transport) -> Iterator[Callable[..., Server]]:
    """Start servers with that state directory, whether they have keys or not."""
    with ExitStack() as running:

        def start(*arguments: str, configuration: str = CONFIGURATION, program: Sequence[str] = PROGRAM) -> Server:
            config, admin = tmp_path / "authz.yaml", free_port()
            while accepts((port := free_port()) + 1):  # a second worker's
                pass
            config.write_text(configured(configuration, pool, cognito))
            command = ["serve", "--config", str(config), "--listen", f"127.0.0.1:{port}", "--admin", str(admin), "--drain-seconds", "0"]
            command += ["--transport", transport, "--state-dir", str(state), *arguments]
            process = Process([sys.executable, "-P", *program, *command], log=tmp_path / "server.log")
            running.callback(process.stop)
            process.wait_until(lambda: accepts(port) and accepts(admin))
            return Server(process=process, config=config, port=port, admin=admin)

        yield start


@pytest.fixture
def record(start, state) -> Path:
    """What a server has left that was stopped."""
    server = start()
    until(lambda: state.is_dir() and list(state.glob("*.json")))
    server.process.stop()
    (file,) = state.iterdir()
    return file


def metric(server, name):
    """Read one sample of the metrics, or None."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", server.get("/metrics")[1], re.MULTILINE)
    return found and float(found[1])


def status_of(answer):
    """Tell the HTTP status of an answer, 200 for an allow."""
    return answer.denied_response.status.code if answer.status.code else 200


def status(server, token):
    """Ask a check; its HTTP status, 200 for an allow."""
    return status_of(server.check("GET", "/prod/pets", {"authorization": token}))


def age(record, seconds):
    """Let a record be older."""
    members = json.loads(record.read_bytes())
    record.write_text(json.dumps({**members, "fetched_at": members["fetched_at"] - seconds}))


def test_a_restart_in_an_outage_serves_at_once(start, record, pool, cognito):
    """Before its first fetch has ended the server is ready and verifies tokens; while it fails, unseen kids are 503 and not 401."""
    cognito.faults[pool.id] = held = Held(status=503)
    server = start(program=PATIENTLY)

    assert status(server, pool.id_token()) == 200
    assert server.get("/readyz")[0] == 200
    held.release()
    until(lambda: metric(server, f'authz_jwks_fetches_total{{outcome="status",user_pool="{pool.id}"}}'))
    assert status(server, pool.id_token()) == 200
    assert status(server, UserPool(pool.id).id_token()) == 503
    assert (server.get("/readyz")[0], server.get("/healthz")[0]) == (200, 200)
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert stat.S_IMODE(record.parent.stat().st_mode) == 0o700


def test_a_forged_kid_at_the_start_is_401(start, pool, cognito):
    """A check that came before the first keys waits for them, and then the token is wrong and not the server."""
    cognito.faults[pool.id] = held = Held()
    server = start(program=PATIENTLY)
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(status, server, UserPool(pool.id).id_token())
        until(lambda: metric(server, f'authz_jwks_waiting_checks{{user_pool="{pool.id}"}}') == 1)
        held.release()

    assert answer.result() == 401
    until(lambda: metric(server, f'authz_jwks_unseen_kids_total{{outcome="fetch",user_pool="{pool.id}"}}') == 1)


def test_keys_past_their_refresh_are_told(start, record, pool, cognito):
    """A check that old keys answer is counted, and their age counts from their real fetch."""
    cognito.faults[pool.id] = Fault(hang_up=True)
    age(record, 3_600)
    server = start()

    assert status(server, pool.id_token()) == 200
    assert metric(server, f'authz_jwks_stale_uses_total{{user_pool="{pool.id}"}}') >= 1
    assert 3_600 <= metric(server, f'authz_jwks_age_seconds{{user_pool="{pool.id}"}}') < 3_600 + PATIENCE


@pytest.mark.parametrize(
    ("spoil", "outcome"),
    [
        pytest.param(lambda record: age(record, DAY), "stale", id="too old"),
        pytest.param(lambda record: age(record, -3_600), "future", id="the clock has gone back"),
        pytest.param(lambda record: record.write_bytes(record.read_bytes()[:-1]), "malformed", id="cut off"),
        pytest.param(lambda record: record.chmod(0o666), "foreign", id="others may write to it"),
    ],
)
def test_a_record_that_can_not_be_trusted_is_not_used(start, record, pool, cognito, spoil, outcome):
    """The server starts, says so, is 503 while it has no keys, and serves once they come."""
    spoil(record)
    cognito.faults[pool.id] = Fault(status=500)
    server = start()

    assert status(server, pool.id_token()) == 503
    assert server.get("/readyz")[0] == 503
    name = f'authz_jwks_state_files_total{{operation="read",outcome="{outcome}",user_pool="{pool.id}"}}'
    assert metric(server, name) == 1
    assert str(record) in server.log()
    cognito.faults.clear()
    until(lambda: status(server, pool.id_token()) == 200)
    until(lambda: metric(server, name.replace("read", "write").replace(outcome, "ok")))
    assert json.loads(record.read_bytes())["fetched_at"] > time.time() - PATIENCE
    assert stat.S_IMODE(record.stat().st_mode) == 0o600


@pytest.mark.usefixtures("record")
def test_keys_from_another_url_are_never_used(start, pool):
    """A pool that is pointed elsewhere does not take its old keys with it."""
    elsewhere = CONFIGURATION.replace("JWKS", f'"http://127.0.0.1:{free_port()}/jwks.json"')

    assert status(start(configuration=elsewhere), pool.id_token()) == 503


def test_a_ceiling_of_the_configuration_holds_across_restarts(start, record, pool, cognito):
    """Keys that were fetched longer ago than `stale_ceiling_in_seconds` are gone, also for the next process."""
    age(record, 61)
    cognito.faults[pool.id] = Fault(status=500)
    server = start(configuration=CONFIGURATION + "keys: {stale_ceiling_in_seconds: 60}\n")

    assert status(server, pool.id_token()) == 503
    assert metric(server, f'authz_jwks_keys{{user_pool="{pool.id}"}}') == 0


def test_a_reload_that_raises_the_ceiling_saves_the_keys_in_an_outage(start, record, pool, cognito):
    """A lower ceiling ends keys at once, and a higher one brings them back, though they can not be fetched; liveness does not follow."""
    age(record, 3_600)
    cognito.faults[pool.id] = Fault(status=500)
    server = start()
    assert status(server, pool.id_token()) == 200
    text = server.config.read_text()

    server.config.write_text(text + "keys: {stale_ceiling_in_seconds: 60}\n")
    until(lambda: status(server, pool.id_token()) == 503)
    until(lambda: server.get("/readyz")[0] == 503)
    assert server.get("/healthz")[0] == 200
    server.config.write_text(text)
    until(lambda: status(server, pool.id_token()) == 200)


def test_a_reload_that_leaves_only_pools_without_keys_is_told_at_once(start, pool):
    """Readiness is about the pools of the running configuration; it does not wait for their next fetch, which may be minutes away."""
    dead = UserPool("eu-west-1_Keys00002")
    arns = f"provider_arns: [{pool.arn}, {dead.arn}]"
    failures = f'authz_jwks_fetches_total{{outcome="status",user_pool="{dead.id}"}}'
    with LocalCognito(dead) as broken:
        broken.faults[dead.id] = Fault(status=500)
        there = f"  {dead.id}: {{jwks_uri: {broken.jwks_uri(dead)}}}\n"
        server = start(configuration=CONFIGURATION.replace("provider_arns: [ARN]", arns) + there, program=PATIENTLY)
        until(lambda: metric(server, failures))
        broken.faults[dead.id] = held = Held(status=500)
        assert held.reached.wait(PATIENCE)
        fetches = broken.fetches(dead)
        assert server.get("/readyz")[0] == 200

        text = re.sub(rf"^  {pool.id}: .*\n", "", server.config.read_text(), flags=re.MULTILINE)
        server.config.write_text(text.replace(f"[{pool.arn}, ", "["))
        until(lambda: server.get("/readyz")[0] == 503)
        assert broken.fetches(dead) == fetches  # the one that has not ended
        held.release()


def test_a_directory_that_is_none_any_more_stops_nothing(start, state, pool):
    """A server whose directory goes while it runs serves on, and says that it cannot keep keys."""
    server = start()
    until(lambda: metric(server, f'authz_jwks_state_files_total{{operation="write",outcome="ok",user_pool="{pool.id}"}}'))
    shutil.rmtree(state)
    state.write_text("mine")
    server.process.send(signal.SIGHUP)
    until(lambda: metric(server, f'authz_jwks_state_files_total{{operation="write",outcome="failed",user_pool="{pool.id}"}}'))

    assert status(server, pool.id_token()) == 200
    assert f"state directory: write of the keys of {pool.id}" in server.log()
    assert state.read_text() == "mine"


def test_workers_share_a_directory(start, state, pool, cognito):
    """Each worker writes, each finds the keys after a restart, and one file is left."""
    server = start("--workers", "2")
    until(lambda: metric(server, f'authz_jwks_state_files_total{{operation="write",outcome="ok",user_pool="{pool.id}"}}') == 2)
    server.process.send(signal.SIGTERM)
    assert server.process.wait() == 0
    cognito.faults[pool.id] = Fault(hang_up=True)
    server = start("--workers", "2")
    until(lambda: server.get("/readyz")[0] == 200)

    for port in (server.port, server.port + 1):
        assert ask(f"127.0.0.1:{port}", "GET", "/prod/pets", {"authorization": pool.id_token()}).status.code == 0
    assert len(list(state.iterdir())) == 1


def test_an_unchanged_document_is_not_sent_again(start, pool, cognito, state):
    """The ETag outlives a restart: a 304 renews the keys of the process before."""
    cognito.faults[pool.id] = Fault(headers={"ETag": '"v1"'})
    server = start()
    until(lambda: list(state.glob("*.json")) if state.is_dir() else None)
    server.process.stop()
    cognito.faults[pool.id] = Fault(status=304, body=b"")
    server = start()
    until(lambda: metric(server, f'authz_jwks_fetches_total{{outcome="unchanged",user_pool="{pool.id}"}}'))

    assert status(server, pool.id_token()) == 200
    until(lambda: metric(server, "authz_check_duration_seconds_count") == 1)
    assert metric(server, f'authz_jwks_stale_uses_total{{user_pool="{pool.id}"}}') == 0


def check(token: str) -> bytes:
    """Write a check."""
    request = CheckRequest()
    http = request.attributes.request.http
    http.method, http.path, http.host = "GET", "/prod/pets", "api.example.com"
    http.headers["authorization"] = token
    return request.SerializeToString()


def forged(token: str, number: int) -> str:
    """Name a key in a token that nobody has."""
    _, *rest = token.split(".")
    header = urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": f"forged {number}"}).encode()).decode().rstrip("=")
    return ".".join([header, *rest])


def test_a_flood_of_kids_that_nobody_knows_keeps_nobody_waiting(start, pool, cognito):
    """While each of them would be worth a fetch, and the endpoint is silent, there is one, and good tokens are answered, on one connection.

    The forged ones are 401 after the fetch, or 503 where too many wait for it, and none is an allow.
    """
    server, good = start(program=PATIENTLY), pool.id_token()
    until(lambda: metric(server, f'authz_jwks_fetches_total{{outcome="ok",user_pool="{pool.id}"}}'))
    cognito.faults[pool.id] = held = Held()
    fetches = cognito.fetches(pool)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.unary_unary("/envoy.service.auth.v3.Authorization/Check", response_deserializer=CheckResponse.FromString)
        flood = []
        for number in range(FLOOD):
            flood.append(call.future(check(forged(good, number)), timeout=PATIENCE))
            if number % 4 == 0:
                assert status_of(call(check(good), timeout=PATIENCE)) == 200
        until(lambda: metric(server, f'authz_jwks_waiting_checks{{user_pool="{pool.id}"}}'))
        assert status_of(call(check(good), timeout=PATIENCE)) == 200
        assert cognito.fetches(pool) - fetches == 1
        held.release()

        assert {status_of(each.result()) for each in flood} == {401, 503}
