"""The embeddable gateway."""

import os
import subprocess
import sys
import time
from base64 import urlsafe_b64encode

import pytest

import authz_server
from authz_server import live
from authz_server.testing import Fault, LocalCognito, UserPool
from tests.waiting import PATIENCE

CONFIGURATION = """\
version: 1
authorizers: {users: {type: cognito_user_pools, provider_arns: ["ARN"]}}
apis: {shop: {claim_headers: {x-sub: sub}, routes: {/pets: {GET: {authorizer: users}}}}}
user_pools: {POOL: {jwks_uri: "JWKS"}}
"""


@pytest.fixture(scope="module")
def pool():
    """Make one pool for all tests: keys take time to make."""
    made = UserPool("eu-west-1_Live00001")
    made.jwks_document()
    return made


@pytest.fixture
def cognito(pool):
    """Serve the pool."""
    with LocalCognito(pool) as served:
        yield served


@pytest.fixture
def config(tmp_path, pool, cognito):
    """Write a configuration that takes the pool's keys from this machine."""
    file = tmp_path / "authz.yaml"
    file.write_text(CONFIGURATION.replace("ARN", pool.arn).replace("POOL", pool.id).replace("JWKS", "${KEYS}"))
    return file, {"KEYS": cognito.jwks_uri(pool)}


def get(token):
    """Ask for the protected route."""
    return authz_server.Request("GET", "api.example.com", "/pets", {"authorization": token})


def test_a_gateway_decides_while_its_first_keys_are_on_their_way(config, pool, monkeypatch):
    """The first decision waits for the first fetch; the claims come as headers."""
    monkeypatch.setattr(live, "MAX_WAIT_SECONDS", PATIENCE)
    with authz_server.load(*config) as gateway:
        decision = gateway.decide(get(pool.id_token()))

        assert isinstance(decision, authz_server.Allow)
        assert decision.headers == (("x-sub", next(iter(pool.users.values())).sub),)
        assert gateway.decide(get("")) == authz_server.Deny(reason=authz_server.Reason.TOKEN_MISSING, api="shop", route="GET /pets")


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(delay=600)], ids=["fails", "takes longer than a second"])
def test_keys_that_do_not_come_are_no_fault_of_the_caller(config, pool, cognito, fault):
    """A decision without keys is a denial of its own kind."""
    cognito.faults[pool.id] = fault
    with authz_server.load(*config) as gateway:
        decision = gateway.decide(get(pool.id_token()))

    assert (decision.reason, decision.decision) == (authz_server.Reason.KEYS_UNAVAILABLE, "unavailable")


def test_a_closed_gateway_fetches_no_more(config, pool, monkeypatch):
    """Keys that are there go on deciding, and a token with an unseen one is denied at once for want of keys."""
    monkeypatch.setattr(live, "MAX_WAIT_SECONDS", 5 * PATIENCE)
    with authz_server.load(*config) as gateway:
        known = get(pool.id_token())
        assert isinstance(gateway.decide(known), authz_server.Allow)
    unseen = pool.id_token().split(".")
    unseen[0] = urlsafe_b64encode(b'{"alg":"RS256","kid":"unseen"}').decode().rstrip("=")
    began = time.monotonic()
    decision = gateway.decide(get(".".join(unseen)))

    assert isinstance(gateway.decide(known), authz_server.Allow)
    assert (decision.reason, decision.decision) == (authz_server.Reason.KEYS_UNAVAILABLE, "unavailable")
    assert time.monotonic() - began < PATIENCE


def test_a_gateway_closed_before_its_first_keys_came_denies_at_once(config, pool, cognito, monkeypatch):
    """Nobody waits for a fetch that was cut off."""
    monkeypatch.setattr(live, "MAX_WAIT_SECONDS", 5 * PATIENCE)
    cognito.faults[pool.id] = Fault(delay=600)
    with authz_server.load(*config) as gateway:
        pass
    began = time.monotonic()

    assert gateway.decide(get(pool.id_token())).reason == authz_server.Reason.KEYS_UNAVAILABLE
    assert time.monotonic() - began < PATIENCE


def test_a_gateway_may_be_closed_twice(config):
    """Also by a program that closes it inside its own `with`."""
    with authz_server.load(*config) as gateway:
        gateway.close()
    gateway.close()


def in_child(step):
    """Run a step in a process that is forked off, as gunicorn's --preload does, and give what it returned."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, repr(step()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return told


def test_a_forked_process_keeps_its_own_keys_fresh(config, monkeypatch):
    """A key that was withdrawn before the fork's first decision is refused there, and a new one is fetched; the parent goes on."""
    monkeypatch.setattr(live, "MAX_WAIT_SECONDS", PATIENCE)
    pool = UserPool("eu-west-1_Live00001")
    withdrawn = get(pool.id_token())
    with LocalCognito(pool) as served, authz_server.load(config[0], {"KEYS": served.jwks_uri(pool)}) as gateway:
        assert isinstance(gateway.decide(withdrawn), authz_server.Allow)
        pool.rotate()
        pool.forget()
        new = get(pool.id_token())

        def step():
            told = [getattr(gateway.decide(request), "reason", None) for request in (new, withdrawn)]
            gateway.close()
            return told

        assert in_child(step) == f"[None, {authz_server.Reason.KEY_UNKNOWN!r}]"
        assert isinstance(gateway.decide(new), authz_server.Allow)


def test_a_forked_process_may_close_what_it_never_used(config, pool):
    """It ends, and leaves the parent's fetches alone."""
    with authz_server.load(*config) as gateway:
        assert in_child(gateway.close) == "None"
        assert isinstance(gateway.decide(get(pool.id_token())), authz_server.Allow)


def test_a_bad_configuration_is_an_error_with_its_place(tmp_path):
    """Nothing starts on a bad file."""
    file = tmp_path / "authz.yaml"
    file.write_text("version: 1\nnonsense: 1\n")
    with pytest.raises(authz_server.ConfigurationError, match=r"authz\.yaml:2:1: unknown key 'nonsense'"):
        authz_server.load(file, {})


def test_every_public_name_is_there():
    """`__all__` names what can be imported, and a name that is not there is an AttributeError."""
    assert all(hasattr(authz_server, name) for name in authz_server.__all__)
    assert not hasattr(authz_server, "nonsense")


def test_the_library_brings_neither_grpc_nor_protobuf():
    """A program that embeds the gateway loads no second protobuf beside its own."""
    names = ", ".join(authz_server.__all__)
    script = f"import sys; from authz_server import {names}; print([m for m in sys.modules if m.split('.')[0] in ('grpc', 'google')])"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "[]"


def test_a_proxy_that_cannot_be_used_is_logged(config, caplog, monkeypatch):
    """A program learns by the variable's name why its keys do not come the way that was meant, and not if they never would."""
    monkeypatch.setenv("https_proxy", "socks5://us:hunter2@proxy.test")
    with authz_server.load(*config):
        assert "https_proxy" not in caplog.text
    with authz_server.load(config[0], {"KEYS": "https://keys.invalid/jwks.json"}):
        assert caplog.text.count("https_proxy is not used") == 1
    assert "hunter2" not in caplog.text


def test_warnings_are_logged(config, caplog):
    """A program hears the warnings of its configuration, as a server does."""
    authz_server.load(*config).close()

    assert f"{config[0]}:2:" in caplog.text
    assert "ignore_warnings: [any_app_client]" in caplog.text
