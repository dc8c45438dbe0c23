"""The embeddable gateway."""

import itertools
import os
import subprocess
import sys
import time
import tracemalloc
from base64 import urlsafe_b64encode

import pytest

import authz_server
from authz_server import live
from authz_server.testing import Fault, LocalCognito, UserPool
from tests.waiting import PATIENCE, until

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


def test_the_library_refuses_a_revoked_token_as_the_server_does(config, pool, tmp_path, monkeypatch):
    """The list is read at the start and followed, and a decision that is remembered falls with it."""
    monkeypatch.setattr(live, "MAX_WAIT_SECONDS", PATIENCE)
    listed = tmp_path / "revocations.txt"
    listed.write_text("sub=somebody-else\n")
    request = get(pool.id_token(jti="gone"))
    with authz_server.load(*config, revocations=listed) as gateway:
        assert [type(gateway.decide(request)) for _ in range(2)] == [authz_server.Allow] * 2
        listed.write_text("jti=gone\n")
        until(lambda: isinstance(gateway.decide(request), authz_server.Deny))
        assert gateway.decide(request) == authz_server.Deny(reason=authz_server.Reason.TOKEN_REVOKED, api="shop", route="GET /pets")


def test_a_bad_list_is_an_error_with_its_place(config, tmp_path):
    """Nothing starts on a list that is half right."""
    listed = tmp_path / "revocations.txt"
    listed.write_text("jti=a\nnonsense\n")
    with pytest.raises(authz_server.RevocationsError, match=r"revocations\.txt:2"):
        authz_server.load(*config, revocations=listed)


def test_a_forked_process_follows_the_list_on_its_own(config, pool, tmp_path, monkeypatch):
    """It reads the list itself, and while it can not, every decision is a denial of its own kind."""
    monkeypatch.setattr(live, "MAX_WAIT_SECONDS", PATIENCE)
    listed = tmp_path / "revocations.txt"
    listed.write_text("")
    request = get(pool.id_token(jti="gone"))
    with authz_server.load(*config, revocations=listed) as gateway:
        assert isinstance(gateway.decide(request), authz_server.Allow)

        def step():
            listed.write_text("nonsense\n")
            first = gateway.decide(request).reason
            listed.write_text("jti=gone\n")
            told = first, gateway.decide(request).reason
            gateway.close()
            return told

        assert in_child(step) == repr((authz_server.Reason.REVOCATIONS_UNKNOWN, authz_server.Reason.TOKEN_REVOKED))


def test_a_decision_is_remembered_and_cannot_be_changed_by_a_caller(config, pool, monkeypatch):
    """The second answer is the first one, and what one caller does to it no other one sees."""
    monkeypatch.setattr(live, "MAX_WAIT_SECONDS", PATIENCE)
    request = get(pool.id_token())
    with authz_server.load(*config) as gateway, authz_server.load(*config, cache_bytes=0) as anew:
        first, second = gateway.decide(request), gateway.decide(request)
        assert first is second
        assert first == anew.decide(request) == anew.decide(request)
        with pytest.raises(TypeError):
            first.metadata["sub"] = "root"


def test_a_reload_decides_with_the_new_file(config, pool, monkeypatch):
    """Keys that are here are kept, also those of a pool whose endpoint is down meanwhile; a bad file changes nothing."""
    monkeypatch.setattr(live, "MAX_WAIT_SECONDS", PATIENCE)
    file, environment = config
    request = get(pool.id_token())
    with authz_server.load(file, environment) as gateway:
        assert isinstance(gateway.decide(request), authz_server.Allow)
        text = file.read_text()
        file.write_text(text.replace("/pets", "/dogs"))
        gateway.reload()
        assert gateway.decide(request).reason == authz_server.Reason.NO_ROUTE
        file.write_text("version: 1\nnonsense: 1\n")
        with pytest.raises(authz_server.ConfigurationError, match="nonsense"):
            gateway.reload()
        assert gateway.decide(request).reason == authz_server.Reason.NO_ROUTE
        file.write_text(text)
        gateway.reload()
        assert isinstance(gateway.decide(request), authz_server.Allow)


def test_a_forked_process_decides_with_what_was_reloaded(config, pool, monkeypatch):
    """A reload before the child's first decision counts there, too."""
    monkeypatch.setattr(live, "MAX_WAIT_SECONDS", PATIENCE)
    file, environment = config
    with authz_server.load(file, environment) as gateway:

        def step():
            file.write_text(file.read_text().replace("/pets", "/dogs"))
            gateway.reload()
            told = gateway.decide(get(pool.id_token())).reason
            gateway.close()
            return told

        assert in_child(step) == repr(authz_server.Reason.NO_ROUTE)


def test_observers_see_each_decision(config, pool, monkeypatch):
    """A program can log and count what was decided."""
    monkeypatch.setattr(live, "MAX_WAIT_SECONDS", PATIENCE)
    seen = []
    with authz_server.load(*config, observers=[seen.append]) as gateway:
        token = pool.id_token()
        for each in (token, token, ""):
            gateway.decide(get(each))

    assert all(isinstance(observation, authz_server.Observation) for observation in seen)
    assert [(each.decision.decision, each.repeated) for each in seen] == [("allow", False), ("allow", True), ("deny", False)]


def test_what_is_remembered_stays_in_its_budget():
    """An allow counts for at least what it takes in memory, and not for much more."""
    fresh = map(str, itertools.count(10**12))  # texts that nothing else holds

    def made():
        texts = {f"claim{next(fresh)}": next(fresh) * number for number in range(30)}
        headers = tuple((f"x-{name}", f"{value}.") for name, value in texts.items())
        metadata = {**texts, "groups": tuple(next(fresh) for _ in range(20))}
        return live._Decisions().allow(
            authz_server.Allow(api="shop", route="GET /pets", headers=headers, metadata=metadata, logged=dict(texts))
        )

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [made() for _ in range(100)]
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert taken <= sum(live._Decisions().size(each) for each in kept) <= 3 * taken


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
