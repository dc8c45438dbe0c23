"""The engine: decides, repeats and shows each check, whatever answers are made of."""

import logging
from itertools import count

import pytest

from authz_server.core.authorizers import KeysPending
from authz_server.core.cognito_user_pools import cognito_user_pools
from authz_server.core.decisions import Allow, Deny
from authz_server.core.gateway import Api, Claims, Gateway, protected
from authz_server.core.hosts import Hosts
from authz_server.core.reasons import Reason
from authz_server.core.request import Request
from authz_server.core.revocations import Revocation, Revocations
from authz_server.core.routes import Routes
from authz_server.core.rules import report
from authz_server.engine.engine import Engine, Wait
from authz_server.observe.metrics import Metrics
from authz_server.testing import StaticKeys, UserPool

NOW = 1_800_000_000.0
GOOD = {"exp": NOW + 600}


@pytest.fixture(scope="module")
def pool():
    """Make one pool for all tests: keys take time to make."""
    return UserPool("eu-west-1_Engine001")


class Words:
    """Answers that are words."""

    def __init__(self):
        self.written = 0

    def allow(self, decision):
        """Write an allow."""
        self.written += 1
        return f"allow {decision.route}"

    def deny(self, decision, request):
        """Write a denial."""
        return f"deny {decision.reason.label}", request.headers.get("x-request-id", "")

    def size(self, answer):
        """Count its letters."""
        return len(answer)


def gateway(pool, keys=None, revocations=None):
    """Build a gateway with a protected route and a public one."""
    authorizer = cognito_user_pools(
        name="users",
        identity_source="authorization",
        issuers={pool.issuer: keys or StaticKeys(pool)},
        result_ttl=300,
        revocations=revocations,
    )
    routes = Routes()
    routes.add("/pets", {"GET": protected("GET /pets", "shop", authorizer, frozenset())})
    api = Api(name="shop", base_path=(), routes=routes, authorizers={}, claims=Claims(), identity_headers=())
    return Gateway(apis={"shop": api}, hosts=Hosts([("", (), api)]))


def make(running, *observers, counts=None, writer=None):
    """Make an engine whose clock moves a second at each look."""
    ticks = count()
    engine = Engine(
        writer or Words(), 1_000_000, now=lambda: NOW, timer=lambda: float(next(ticks)), counts=counts or Metrics("0"), observers=observers
    )
    engine.swap(running)
    return engine


def get(token, path="/pets", **headers):
    """Ask for a route."""
    return Request("GET", "api.test", path, {"authorization": token, **headers})


def test_an_observer_sees_each_check_whole(pool):
    """Request, decision, how a token was judged, the request id, how long it took, and whether the decision was remembered."""
    seen = []
    engine = make(gateway(pool), seen.append)
    good, bad = get(pool.id_token(**GOOD)), get(pool.id_token(exp=1), **{"x-request-id": "7"})
    answers = [engine.decide(request, -1.0) for request in (good, good, bad, bad, get("", "/nowhere"))]

    assert answers == ["allow GET /pets", "allow GET /pets", "deny token_expired", "deny token_expired", "deny no_route"]
    assert [each.request for each in seen] == [good, good, bad, bad, get("", "/nowhere")]
    assert [each.decision.decision for each in seen] == ["allow", "allow", "deny", "deny", "deny"]
    assert [each.repeated for each in seen] == [False, True, False, True, False]
    assert [each.request_id for each in seen] == ["", "", "7", "7", ""]
    assert [(each.time, each.seconds) for each in seen] == [(NOW, 1.0 + number) for number in range(5)]
    first, _, third, *_ = seen
    rules = third.decision.evaluation.authorizer.rules
    assert all(step.met for step in report(rules, first.decision.evaluation))
    assert [step.rule.reason for step in report(rules, third.decision.evaluation) if step.met is False] == [Reason.TOKEN_EXPIRED]


def test_an_observer_that_raises_is_switched_off(pool, caplog):
    """It is logged once, without what it was shown; the others go on, and no answer changes."""
    seen, calls = [], []

    def broken(observation):
        calls.append(observation)
        raise RuntimeError(observation.request.headers["authorization"])

    engine = make(gateway(pool), broken, seen.append)
    with caplog.at_level(logging.ERROR):
        answers = [engine.decide(get(token), 0.0) for token in (pool.id_token(**GOOD), "x", "y")]

    assert answers == ["allow GET /pets", "deny token_malformed", "deny token_malformed"]
    assert (len(seen), len(calls)) == (3, 1)
    assert [record.message.splitlines()[0][:60] for record in caplog.records] == [
        "bug: RuntimeError in an observer of checks, which is switche"
    ]
    assert pool.id_token(**GOOD) not in caplog.text


def test_without_observers_a_repeated_allow_is_the_same_answer(pool):
    """An allow is written once while it may be repeated."""
    writer = Words()
    engine = make(gateway(pool), writer=writer)
    token = pool.id_token(**GOOD)
    first, second = (engine.decide(get(token), 0.0) for _ in range(2))

    assert first is second
    assert writer.written == 1


class Fetching:
    """Keys that are being fetched until a test says otherwise."""

    def __init__(self, keys):
        self.keys = keys
        self.fetched = False

    def find(self, kid):
        """Find a key once it was fetched."""
        if not self.fetched:
            raise KeysPending(None)
        return self.keys.find(kid)

    def holds(self, key):
        """Whether a key is in the set."""
        return self.keys.holds(key)


def test_what_was_waited_for_is_remembered(pool):
    """Of many checks that wait for one key with one token, the first verifies and the others repeat."""
    keys, writer = Fetching(StaticKeys(pool)), Words()
    engine = make(gateway(pool, keys), writer=writer)
    request = get(pool.id_token(**GOOD))
    waits = [engine.decide(request, 0.0) for _ in range(3)]
    assert all(isinstance(wait, Wait) for wait in waits)
    assert waits[0].resume() == "deny keys_unavailable"  # it does not wait a second time
    keys.fetched = True

    assert [wait.resume() for wait in waits] == ["allow GET /pets"] * 3
    assert writer.written == 1


def test_a_revoked_token_is_not_repeated(pool):
    """A decision falls with the list that it rests on."""
    revocations = Revocations()
    engine = make(gateway(pool, revocations=revocations))
    request = get(pool.id_token(**GOOD, jti="1"))
    before = engine.decide(request, 0.0)
    revocations.replace([Revocation("jti", "1")])

    assert [before, engine.decide(request, 0.0)] == ["allow GET /pets", "deny token_revoked"]


class Miscounting(Metrics):
    """Counts that have a bug."""

    def check(self, *_):
        """Fail."""
        raise ZeroDivisionError


def test_a_bug_is_a_denial(pool, caplog):
    """Also where counting is what fails, and the place of the bug is logged."""
    engine = make(gateway(pool), counts=Miscounting("0"))

    assert engine.decide(get(pool.id_token(**GOOD)), 0.0) == "deny internal_error"
    assert engine.deny(get(""), Deny(reason=Reason.OVERLOADED), 0.0) == "deny internal_error"
    assert "ZeroDivisionError while answering a check" in caplog.text


def test_decisions_do_not_outlive_their_configuration(pool):
    """What another configuration decides is decided with that one."""
    engine = make(gateway(pool))
    request = get(pool.id_token(**GOOD))
    assert engine.decide(request, 0.0) == "allow GET /pets"
    engine.swap(gateway(UserPool("eu-west-1_Engine002")))

    assert engine.decide(request, 0.0) == "deny issuer_unknown"


def test_a_decision_can_be_the_answer(pool):
    """The library's answers are decisions, and a repeated one equals the first."""

    class Decisions:
        def allow(self, decision):
            return decision

        def deny(self, decision, _):
            return decision, ""

        def size(self, _):
            return 100

    engine = make(gateway(pool), writer=Decisions())
    token = pool.id_token(**GOOD)
    first, second = (engine.decide(get(token), 0.0) for _ in range(2))

    assert first is second
    assert isinstance(first, Allow)
