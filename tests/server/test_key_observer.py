"""What is said about the keys of a pool, for people."""

from types import SimpleNamespace

from authz_server.core.user_pools import UserPool
from authz_server.keys.fetch import Fetcher
from authz_server.keys.life_cycle import PoolState
from authz_server.observe.metrics import Metrics
from authz_server.server.key_observer import KeyObserver

POOL = UserPool(id="eu-west-1_A", issuer="https://issuer.example", jwks="https://keys.example/jwks.json")
TWO_KEYS = SimpleNamespace(keys={"a": 1, "b": 2}, skipped=())


def line(state, *failures):
    """Say how a pool is, at the moment 100, after some fetches."""
    observer, keys = KeyObserver(Metrics("1"), Fetcher()), SimpleNamespace(pool=POOL, state=state)
    for outcome, detail in failures:
        observer.fetch_ended(keys, outcome, detail)
    (said,) = observer.lines([keys], 100.0)
    return said


def test_each_pool_has_a_line_that_says_why():
    """Whether it was tried, how old its keys are, and what the last fetch has ended with."""
    failed = PoolState(due=0, attempted_at=1.0, failures=1)
    good = PoolState(due=0, attempted_at=90.0, key_set=TWO_KEYS, fetched_at=90.0)
    old = PoolState(due=0, attempted_at=99.0, failures=3, key_set=TWO_KEYS, fetched_at=10.0, ceiling=60.0)
    why = "the last fetch from https://keys.example/jwks.json has failed: no answer (timeout)"

    assert line(PoolState(due=0)) == "user pool eu-west-1_A: no keys yet, its first fetch has not ended"
    assert line(failed, ("timeout", "no answer")) == f"user pool eu-west-1_A: no keys; {why}"
    assert (
        line(old, ("timeout", "no answer"))
        == f"user pool eu-west-1_A: its keys are too old, fetched 90 s ago; they are used for 60 s; {why}"
    )
    assert line(good, ("timeout", "no answer"), ("ok", "")) == "user pool eu-west-1_A: 2 keys, fetched 10 s ago"
