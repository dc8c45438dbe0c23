"""The check: bytes in, bytes out, and a denial whatever goes wrong."""

import logging
from concurrent.futures import Future

import pytest
import re2

from authz_server.core.authorizers import KeysPending
from authz_server.core.cognito_user_pools import cognito_user_pools
from authz_server.core.gateway import Api, Claims, Gateway, protected
from authz_server.core.hosts import Hosts
from authz_server.core.reasons import Reason
from authz_server.core.revocations import Revocation, Revocations
from authz_server.core.routes import Routes
from authz_server.envoy.stubs import CheckRequest, CheckResponse
from authz_server.observe.metrics import Metrics
from authz_server.testing import StaticKeys, UserPool
from tests.checking import ControlledCheck

REQUEST_ID = "6f1c2a34-0b7d-4d53-9a50-0d6c7e8f9a01"
BUDGET = 1_048_576
FRESH_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def pool():
    """Make one pool for all tests: keys take time to make."""
    return UserPool("eu-west-1_Check0001")


def gateway(keys, issuer, claims=None, identity_headers=(), **rules):
    """Build a gateway with one route."""
    authorizer = cognito_user_pools(name="users", identity_source="authorization", issuers={issuer: keys}, **{"result_ttl": 0, **rules})
    routes = Routes()
    routes.add("/pets", {"GET": protected("GET /pets", "shop", authorizer, frozenset())})
    api = Api(name="shop", base_path=(), routes=routes, authorizers={}, claims=claims or Claims(), identity_headers=identity_headers)
    return Gateway(apis={"shop": api}, hosts=Hosts([("", (), api)]))


class Harness:
    """A check with everything around it under control."""

    def __init__(self, running):
        self.metrics = Metrics("test")
        self.entries = []
        self.time = 0.0
        self.now = 1_800_000_000.0
        self.gateway = running
        self.check = ControlledCheck(
            BUDGET,
            now=lambda: self.now,
            timer=self.tick,
            new_id=lambda: FRESH_ID,
            metrics=self.metrics,
            log=self.entries.append,
        )
        self.check.swap(running)

    def tick(self):
        """Let a quarter of a second pass at each look at the clock."""
        self.time += 0.25
        return self.time

    def counted(self, **labels):
        """Read the counter of checks."""
        return self.metrics.registry.get_sample_value("authz_checks_total", labels)


def ask(token=None, path="/pets", request_id=None, host="api.example.com", headers=None):
    """Write a CheckRequest."""
    request = CheckRequest()
    http = request.attributes.request.http
    http.method, http.path, http.host = "GET", path, host
    if token:
        http.headers["authorization"] = token
    if request_id:
        http.headers["x-request-id"] = request_id
    http.headers.update(headers or {})
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


def test_an_alias_of_an_identity_header_is_stripped_from_its_request_alone(pool):
    """`x.auth.sub` is removed beside a token that was seen before, and no other request loses a header by it."""
    claims = Claims(headers=(("x-auth-sub", "sub"),))
    harness = Harness(gateway(StaticKeys(pool), pool.issuer, result_ttl=300, claims=claims, identity_headers=("x-auth-sub",)))
    plain = ask(pool.id_token(exp=1_800_000_600))
    request = CheckRequest.FromString(plain)
    request.attributes.request.http.headers["x.auth.sub"] = "root"

    def removed(data):
        return list(CheckResponse.FromString(harness.check(data)).ok_response.headers_to_remove)

    assert [removed(data) for data in (plain, request.SerializeToString(), plain)] == [[], ["x.auth.sub"], []]


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


ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("sent", "ids"),
    [(None, (FRESH_ID, "")), (ULID, (FRESH_ID, ULID)), (REQUEST_ID, (REQUEST_ID, REQUEST_ID)), ("a b", (FRESH_ID, ""))],
)
def test_the_ids_of_a_request_are_logged(pool, sent, ids):
    """Beside our own the request id as it came, when it is harmless, and the trace."""
    harness = Harness(gateway(StaticKeys(pool), pool.issuer))
    traced = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    for headers in ({}, traced):
        harness.check(ask(request_id=sent, headers=headers))

    assert [(entry.request_id, entry.sent_id, entry.trace_id) for entry in harness.entries] == [(*ids, ""), (*ids, TRACE)]


def test_a_check_that_comes_too_late_is_refused_counted_and_logged(pool):
    """A 503 that asks to come again, without a look at the token; its time is what it has waited."""
    harness = Harness(gateway(Broken(), pool.issuer))

    status, headers = answered(harness.check.refuse(ask(pool.id_token(), request_id=REQUEST_ID), 0.5))

    assert (status, headers["x-amzn-errortype"], headers["retry-after"]) == (503, "ServiceUnavailableException", "1")
    assert headers["x-amzn-requestid"] == REQUEST_ID
    assert harness.counted(api="", route="", decision="unavailable", reason="overloaded") == 1
    assert [(entry.request_id, entry.host, entry.seconds) for entry in harness.entries] == [(REQUEST_ID, "api.example.com", 0.75)]


def test_what_waits_to_be_logged_is_short(pool):
    """Hosts that are refused for their length would else fill the memory of a log that nobody reads."""
    harness = Harness(gateway(StaticKeys(pool), pool.issuer))

    harness.check(ask(host="h" * 58_000))

    assert [len(entry.host) for entry in harness.entries] == [255]


@pytest.mark.parametrize("data", [None, b"\xff"])
def test_a_check_that_finds_no_place_is_refused_unread(pool, data):
    """Its reply has a fresh id."""
    harness = Harness(gateway(StaticKeys(pool), pool.issuer))

    status, headers = answered(harness.check.refuse(data, 0.0))

    assert (status, headers["x-amzn-requestid"]) == (503, FRESH_ID)
    assert harness.counted(api="", route="", decision="unavailable", reason="overloaded") == 1


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


class Counting:
    """A key source that counts how often a key was looked for, and can lose its keys."""

    def __init__(self, keys):
        self.keys = keys
        self.found = 0
        self.gone = False

    def find(self, kid):
        """Find a key."""
        self.found += 1
        return self.keys.find(kid)

    def holds(self, key):
        """Whether the key is still there."""
        return not self.gone and self.keys.holds(key)


@pytest.fixture
def repeating(pool):
    """A check whose authorizer lets decisions be repeated for 300 s."""
    keys = Counting(StaticKeys(pool))
    harness = Harness(gateway(keys, pool.issuer, result_ttl=300))
    harness.keys = keys
    return harness


def test_a_decision_is_repeated_byte_for_byte(pool, repeating):
    """The second check of a token costs no look for a key, and answers and counts the same."""
    token = pool.id_token(exp=1_800_003_600)
    first = repeating.check(ask(token))
    second = repeating.check(ask(token))

    assert first == second
    assert repeating.keys.found == 1
    assert repeating.counted(api="shop", route="GET /pets", decision="allow", reason="") == 2
    assert [entry.decision.route for entry in repeating.entries] == ["GET /pets", "GET /pets"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda harness: setattr(harness, "now", 1_800_000_101.0), 401),
        (lambda harness: setattr(harness, "now", 1_799_999_999.0), 0),
        (lambda harness: setattr(harness.keys, "gone", True), 0),
        (lambda harness: harness.check.swap(harness.gateway), 0),
    ],
    ids=["the token has expired", "the clock was put back", "the key is gone", "the configuration is new"],
)
def test_a_decision_is_made_anew_when_it_no_longer_holds(pool, repeating, change, status):
    """Expiry, another clock, a lost key and a reload each end a verdict at once."""
    data = ask(pool.id_token(exp=1_800_000_100))
    repeating.check(data)
    change(repeating)

    assert answered(repeating.check(data))[0] == status
    assert repeating.keys.found == 2


@pytest.fixture
def revocable(pool):
    """A check that repeats decisions and follows a list of revocations."""
    keys, revocations = Counting(StaticKeys(pool)), Revocations()
    harness = Harness(gateway(keys, pool.issuer, result_ttl=300, revocations=revocations))
    harness.keys, harness.revocations = keys, revocations
    return harness


def test_a_remembered_allow_ends_with_a_revocation_of_the_token(pool, revocable):
    """At the very next check, while those of others are repeated; the denial is remembered in turn, for ten seconds."""
    mine, other = (ask(pool.id_token(exp=1_800_003_600, jti=jti)) for jti in ("mine", "other"))
    assert [answered(revocable.check(data))[0] for data in (mine, other)] == [0, 0]
    revocable.revocations.add([Revocation("jti", "mine")])

    assert [answered(revocable.check(data))[0] for data in (mine, other, mine)] == [401, 0, 401]
    assert revocable.keys.found == 3
    assert revocable.counted(api="shop", route="GET /pets", decision="deny", reason="token_revoked") == 2
    revocable.revocations.replace([])
    revocable.now += 10
    assert answered(revocable.check(mine))[0] == 0


def test_a_list_that_is_not_known_is_nothing_to_remember(pool, revocable):
    """A remembered allow is not repeated, and the 503 ends with the outage."""
    data = ask(pool.id_token(exp=1_800_003_600))
    revocable.check(data)
    revocable.revocations.forget()
    assert answered(revocable.check(data))[0] == 503
    revocable.revocations.replace([])

    assert answered(revocable.check(data))[0] == 0


def test_a_revocation_in_the_middle_of_a_decision_is_not_lost(pool, revocable):
    """What was decided by the old list and is kept after the new one came is looked at again."""
    data = ask(pool.id_token(exp=1_800_003_600, jti="mine"))
    find = revocable.metrics.check

    def late(*arguments):
        revocable.revocations.add([Revocation("jti", "mine")])
        find(*arguments)

    revocable.metrics.check = late  # after the decision, before it is kept
    assert answered(revocable.check(data))[0] == 0
    assert answered(revocable.check(data))[0] == 401


def test_a_decision_is_not_repeated_beyond_the_authorizers_ttl(pool, repeating):
    """`authorizer_result_ttl_in_seconds` bounds how long a decision is repeated."""
    data = ask(pool.id_token(exp=1_800_003_600))
    repeating.check(data)
    repeating.now += 299
    repeating.check(data)
    assert repeating.keys.found == 1
    repeating.now += 1
    repeating.check(data)

    assert repeating.keys.found == 2


def test_a_ttl_of_zero_decides_each_check_anew(pool):
    """Nothing is kept for an authorizer that does not want it."""
    keys = Counting(StaticKeys(pool))
    harness = Harness(gateway(keys, pool.issuer, result_ttl=0))
    for _ in range(2):
        harness.check(ask(pool.id_token(exp=1_800_003_600)))

    assert keys.found == 2
    assert len(harness.check.running.allowed) == 0


def test_a_wrong_token_is_told_so_again_without_a_signature_check(pool, repeating):
    """A retry storm costs one verification in ten seconds, each retry gets a request id of its own, and good tokens stay."""
    good, wrong = ask(pool.id_token(exp=1_800_003_600)), ask(pool.access_token(exp=1_800_003_600), request_id=REQUEST_ID)
    repeating.check(good)
    for _ in range(5):
        status, headers = answered(repeating.check(wrong))
        assert (status, headers["x-amzn-requestid"]) == (401, REQUEST_ID)
    assert repeating.keys.found == 2
    repeating.now += 10
    repeating.check(wrong)

    assert repeating.keys.found == 3
    assert repeating.counted(api="shop", route="GET /pets", decision="deny", reason="wrong_token_use") == 6
    assert len(repeating.check.running.allowed) == 1


def test_a_wrong_token_is_told_so_from_memory_no_longer_than_the_authorizers_ttl(pool):
    """`authorizer_result_ttl_in_seconds` bounds denials as it bounds allows."""
    keys = Counting(StaticKeys(pool))
    harness = Harness(gateway(keys, pool.issuer, result_ttl=3))
    wrong = ask(pool.access_token(exp=1_800_003_600))
    for seconds in (0, 2.9, 3):
        harness.now = 1_800_000_000.0 + seconds
        harness.check(wrong)

    assert keys.found == 2


@pytest.mark.parametrize("seconds", [1, 100])
def test_a_token_that_is_not_yet_valid_is_told_so_from_memory_until_it_is(pool, repeating, seconds):
    """Ten checks cost one verification, and its time is not missed; nor is it remembered for longer than other wrong tokens."""
    data = ask(pool.id_token(exp=1_800_003_600, nbf=1_800_000_000 + seconds))
    for _ in range(10):
        assert answered(repeating.check(data))[0] == 401
    assert repeating.keys.found == 1
    repeating.now += min(seconds, 10)

    assert answered(repeating.check(data))[0] == (0 if seconds == 1 else 401)
    assert repeating.keys.found == 2


def test_a_token_with_too_many_claims_is_told_so_again_without_a_signature_check(pool):
    """It is a wrong token like others: ten checks cost one verification."""
    keys = Counting(StaticKeys(pool))
    claims = Claims(headers=(("x-name", "name"),), drop=False)
    harness = Harness(gateway(keys, pool.issuer, result_ttl=300, claims=claims))
    data = ask(pool.id_token(exp=1_800_003_600, name="n" * 9_000))
    for _ in range(10):
        assert answered(harness.check(data))[0] == 403

    assert keys.found == 1
    assert harness.counted(api="shop", route="GET /pets", decision="deny", reason="claim_headers_too_large") == 10


@pytest.mark.parametrize(
    ("token", "reason", "details"),
    [
        (
            lambda pool: pool.access_token(exp=1_800_003_600),
            Reason.WRONG_TOKEN_USE,
            {"token_use_wanted": "id", "token_use_found": "access"},
        ),
        (lambda pool: pool.id_token(exp=1_800_003_600, aud=None), Reason.AUDIENCE_REFUSED, {"aud_found": "none"}),
    ],
    ids=["token use", "aud"],
)
def test_a_repeated_denial_tells_the_same_details(pool, token, reason, details):
    """What the log says about a wrong token does not depend on whether it was remembered."""
    keys = Counting(StaticKeys(pool))
    harness = Harness(gateway(keys, pool.issuer, result_ttl=300, expression=re2.compile(".*")))
    data = ask(token(pool))
    for _ in range(3):
        assert answered(harness.check(data))[0] == 401

    assert keys.found == 1
    assert [(entry.decision.reason, dict(entry.decision.details)) for entry in harness.entries] == [(reason, details)] * 3


def test_a_repeated_allow_names_the_headers_that_were_left_out(pool):
    """Each time, and counts them each time; claims for the log are told as well."""
    keys = Counting(StaticKeys(pool))
    claims = Claims(headers=(("x-name", "name"), ("x-nick", "name")), logged=frozenset({"sub"}))
    harness = Harness(gateway(keys, pool.issuer, result_ttl=300, claims=claims))
    data = ask(pool.id_token(exp=1_800_003_600, sub="ada", name="n" * 9_000))
    for _ in range(3):
        assert answered(harness.check(data))[0] == 0

    assert keys.found == 1
    told = [(entry.decision.dropped, entry.decision.logged) for entry in harness.entries]
    assert told == [(("x-name", "x-nick"), {"sub": "ada"})] * 3
    assert harness.metrics.registry.get_sample_value("authz_claim_headers_dropped_total", {"api": "shop"}) == 6


@pytest.mark.parametrize("token", ["not a token", "x" * 20_000, "a.b.c"])
def test_what_costs_no_signature_is_not_kept(repeating, token):
    """A token that fails before its key is known takes no memory."""
    for _ in range(2):
        assert answered(repeating.check(ask(token)))[0] == 401

    assert len(repeating.check.running.denied) == len(repeating.check.running.allowed) == 0


def test_lookups_are_counted(pool, repeating):
    """Hits and misses show how much is repeated."""
    for _ in range(3):
        repeating.check(ask(pool.id_token(exp=1_800_003_600, jti="one", auth_time=1, event_id="e", origin_jti="o", iat=1)))
    value = repeating.metrics.registry.get_sample_value

    assert value("authz_verdict_lookups_total", {"result": "hit"}) == 2
    assert value("authz_verdict_lookups_total", {"result": "miss"}) == 1
