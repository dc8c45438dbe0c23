"""The check: bytes in, bytes out, and a denial whatever goes wrong."""

import logging
from concurrent.futures import Future

import pytest

from authz_server.core.authorizers import CognitoUserPools, KeysPending
from authz_server.core.gateway import Api, Claims, Gateway, Route
from authz_server.core.hosts import Hosts
from authz_server.core.routes import Routes
from authz_server.envoy.stubs import CheckRequest, CheckResponse
from authz_server.observe.metrics import Metrics
from authz_server.server.check import Check
from authz_server.testing import StaticKeys, UserPool

REQUEST_ID = "6f1c2a34-0b7d-4d53-9a50-0d6c7e8f9a01"
FRESH_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def pool():
    """Make one pool for all tests: keys take time to make."""
    return UserPool("eu-west-1_Check0001")


def gateway(keys, issuer):
    """Build a gateway with one route."""
    authorizer = CognitoUserPools(name="users", identity_source="authorization", pools={issuer: keys})
    routes = Routes()
    routes.add("/pets", {"GET": Route(label="GET /pets", authorizer=authorizer)})
    api = Api(name="shop", base_path=(), routes=routes, authorizers={}, claims=Claims(), identity_headers=())
    return Gateway(apis={"shop": api}, hosts=Hosts([("", (), api)]))


class Harness:
    """A check with everything around it under control."""

    def __init__(self, running):
        self.metrics = Metrics("test")
        self.entries = []
        self.time = 0.0
        self.check = Check(
            running,
            now=lambda: 1_800_000_000.0,
            timer=self.tick,
            new_id=lambda: FRESH_ID,
            metrics=self.metrics,
            log=self.entries.append,
        )

    def tick(self):
        """Let a quarter of a second pass at each look at the clock."""
        self.time += 0.25
        return self.time

    def counted(self, **labels):
        """Read the counter of checks."""
        return self.metrics.registry.get_sample_value("authz_checks_total", labels)


def ask(token=None, path="/pets", request_id=None):
    """Write a CheckRequest."""
    request = CheckRequest()
    http = request.attributes.request.http
    http.method, http.path, http.host = "GET", path, "api.example.com"
    if token:
        http.headers["authorization"] = token
    if request_id:
        http.headers["x-request-id"] = request_id
    return request.SerializeToString()


def answered(data):
    """Read a denial: HTTP status and headers."""
    response = CheckResponse.FromString(data)
    denied = response.denied_response
    return denied.status.code, {option.header.key: option.header.value for option in denied.headers}


class Broken:
    """A key source, or a gateway, with a bug."""

    def find(self, kid):
        """Fail with a value in the message."""
        raise RuntimeError(f"a secret: {kid}")

    decide = find


class Fetching:
    """A key source that waits for a fetch."""

    def __init__(self, keys):
        self.keys = keys
        self.fetch = Future()

    def find(self, kid):
        """Find a key once the fetch has ended."""
        if not self.fetch.done():
            raise KeysPending(self.fetch)
        return self.keys.find(kid)


def test_an_allowed_check_is_counted_and_logged(pool):
    """A check leaves one sample, one duration and one line behind."""
    harness = Harness(gateway(StaticKeys(pool), pool.issuer))
    harness.check(ask(pool.id_token(exp=1_800_000_001), request_id=REQUEST_ID))

    assert harness.counted(api="shop", route="GET /pets", decision="allow", reason="") == 1
    assert harness.metrics.registry.get_sample_value("authz_check_duration_seconds_sum") == 0.25
    assert [(entry.request_id, entry.seconds, entry.decision.route) for entry in harness.entries] == [(REQUEST_ID, 0.25, "GET /pets")]


@pytest.mark.parametrize(
    ("sent", "told"),
    [(REQUEST_ID, REQUEST_ID), (REQUEST_ID.upper(), REQUEST_ID.upper()), (None, FRESH_ID), ("1", FRESH_ID), (REQUEST_ID + "\n", FRESH_ID)],
)
def test_the_request_id_of_a_denial(pool, sent, told):
    """The incoming x-request-id is told back when it is a UUID; otherwise a fresh one."""
    harness = Harness(gateway(StaticKeys(pool), pool.issuer))

    _, headers = answered(harness.check(ask(request_id=sent)))

    assert headers["x-amzn-requestid"] == told


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff"])
def test_bytes_that_are_no_check_request_are_denied(pool, data):
    """Undecodable bytes are a denial with a reason of its own, not an error."""
    harness = Harness(gateway(StaticKeys(pool), pool.issuer))

    assert answered(harness.check(data))[0] == 400
    assert harness.counted(api="", route="", decision="deny", reason="request_malformed") == 1


def test_a_bug_in_the_decision_is_denied_counted_and_logged_without_values(pool, caplog):
    """A bug answers 500, and its log line tells the place but no value."""
    harness = Harness(gateway(Broken(), pool.issuer))
    token = pool.id_token()
    with caplog.at_level(logging.DEBUG):
        status, headers = answered(harness.check(ask(token)))

    assert (status, headers["x-amzn-errortype"]) == (500, "AuthorizerFailureException")
    assert harness.counted(api="", route="", decision="unavailable", reason="internal_error") == 1
    assert "RuntimeError" in caplog.text
    assert "in find" in caplog.text
    assert "secret" not in caplog.text.replace("a secret: {kid}", "")


def test_a_bug_behind_the_decision_is_denied(pool):
    """A bug while an answer is counted turns an allow into a denial: nothing fails open."""
    harness = Harness(gateway(StaticKeys(pool), pool.issuer))

    def counted(*_):
        raise RuntimeError

    harness.metrics.check = counted

    assert answered(harness.check(ask(pool.id_token(exp=1_800_000_001))))[0] == 500


def test_a_check_that_needs_keys_waits_and_is_answered_after_the_fetch(pool):
    """The same check is decided again with the keys that came, and its time includes the wait."""
    keys = Fetching(StaticKeys(pool))
    harness = Harness(gateway(keys, pool.issuer))
    waiting = harness.check(ask(pool.id_token(exp=1_800_000_001)))
    assert not harness.entries
    keys.fetch.set_result(None)

    assert waiting.fetch is keys.fetch
    assert CheckResponse.FromString(waiting.resume()).status.code == 0
    assert harness.counted(api="shop", route="GET /pets", decision="allow", reason="") == 1


@pytest.mark.parametrize("how", ["resume", "refuse"])
def test_a_check_does_not_wait_twice(pool, how):
    """When the keys still do not come, or nobody may wait, the answer is 503 with Retry-After on the route's account."""
    keys = Fetching(StaticKeys(pool))
    harness = Harness(gateway(keys, pool.issuer))

    status, headers = answered(getattr(harness.check(ask(pool.id_token())), how)())

    assert (status, headers["retry-after"]) == (503, "10")
    assert harness.counted(api="shop", route="GET /pets", decision="unavailable", reason="keys_unavailable") == 1


def test_a_swapped_gateway_decides_the_next_check(pool):
    """A reload takes effect with the next check."""
    harness = Harness(gateway(StaticKeys(pool), pool.issuer))
    harness.check.swap(Gateway(apis={}, hosts=Hosts([])))

    assert answered(harness.check(ask()))[0] == 403
    assert harness.counted(api="", route="", decision="deny", reason="no_api") == 1
