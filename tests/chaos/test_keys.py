"""Chaos at the key endpoint: good tokens pass, forged ones do not, and an outage is never told as a 401."""

from collections.abc import Callable, Mapping
from functools import partial

import pytest

from authz_server import testing
from authz_server.testing import UserPool
from tests.chaos.fault import Fault
from tests.chaos.load import id_tokens
from tests.chaos.oracle import DENIED, Question
from tests.chaos.stage import Stage, sample
from tests.chaos.storm import Storm
from tests.e2e.stack import Server

FETCH_TIMEOUT_SECONDS = 1.5
FLAP_SECONDS = 0.25
NEW, STRANGE = "new key's", "unknown key's"
OUTAGE = {NEW: {503}, STRANGE: {503}}
HTML = b"<!doctype html><title>Sign in to the network</title>"

Spoil = Callable[[bytes, UserPool], testing.Fault]

SPOILT: Mapping[str, tuple[Spoil, str]] = {
    "down": (lambda _, __: testing.Fault(hang_up=True), "connection"),
    "slow": (lambda _, __: testing.Fault(delay=FETCH_TIMEOUT_SECONDS + 1), "timeout"),
    "500": (lambda _, __: testing.Fault(status=500), "status"),
    "truncated": (lambda document, _: testing.Fault(body=document[: len(document) // 2]), "content"),
    "cut off": (lambda document, _: testing.Fault(body=document[:-1], headers={"Content-Length": str(len(document))}), "connection"),
    "wrong content": (lambda _, __: testing.Fault(body=HTML, headers={"Content-Type": "text/html"}), "content"),
}


def unseen(pool: UserPool) -> list[Question]:
    """Sign in with new keys, and as somebody who has keys of no pool."""
    stranger = UserPool(pool.id)
    strange = Question(kind=STRANGE, status=401, token=stranger.id_token())
    pool.rotate()
    return [*id_tokens(pool, 4, NEW), strange, strange]


def fetches(server: Server, pool: UserPool, outcome: str) -> float:
    """Count the fetches that ended so."""
    return sample(server, f'authz_jwks_fetches_total{{outcome="{outcome}",user_pool="{pool.id}"}}')


@pytest.mark.parametrize("name", SPOILT)
def test_a_bad_endpoint(stage: Stage, name):
    """Keys that are here go on verifying, tokens of unseen keys are 503 and neither 401 nor allowed, and keys come when the endpoint is back."""
    spoil, outcome = SPOILT[name]
    server, pool = stage.start(), stage.pool
    asked = unseen(pool)
    bad = spoil(pool.jwks_document(), stage.other)
    fault = Fault(
        name=f"JWKS endpoint {name}",
        begin=lambda: stage.cognito.faults.update({pool.id: bad}),
        end=stage.cognito.faults.clear,
        felt=lambda: fetches(server, pool, outcome) >= 1,
        asked=asked,
        permitted=OUTAGE,
        within=FETCH_TIMEOUT_SECONDS + 2 * (stage.seconds + 2),
    )
    stage.chaos(server).meet(fault)


def test_a_flapping_endpoint(stage: Stage):
    """What one good fetch brought is kept through all the bad ones."""
    server, pool, faults = stage.start(), stage.pool, stage.cognito.faults
    asked = unseen(pool)
    turns = (testing.Fault(hang_up=True), testing.Fault(status=500), testing.Fault())
    storm = Storm(*(partial(faults.__setitem__, pool.id, turn) for turn in turns), every=FLAP_SECONDS)
    stage.running.callback(storm.end)

    def begin() -> None:
        faults[pool.id] = turns[0]
        storm.begin()

    def end() -> None:
        storm.end()
        faults.clear()

    fault = Fault(
        name="JWKS endpoint flapping",
        begin=begin,
        end=end,
        felt=lambda: any(fetches(server, pool, outcome) for outcome in ("connection", "status")),
        asked=asked,
        permitted={NEW: {200, 503}, STRANGE: {401, 503}},
        within=10,
    )
    stage.chaos(server).meet(fault)


def test_swapped_keys(stage: Stage):
    """Where the endpoint shows another pool's keys, no token of that pool passes, and ours do so again once our keys are back."""
    server, pool = stage.start(), stage.pool
    ours = {"ID token", "access token", NEW, "expired", "without scope", "changed"}
    asked = unseen(pool)
    swapped = testing.Fault(body=stage.other.jwks_document())
    fault = Fault(
        name="JWKS endpoint shows another pool's keys",
        begin=lambda: stage.cognito.faults.update({pool.id: swapped}),
        end=stage.cognito.faults.clear,
        felt=lambda: stage.cognito.fetches(pool) >= 2,
        asked=asked,
        permitted=dict.fromkeys(ours, DENIED),
        failures={503},  # of all that ask during the fetch few may wait for it
        within=12,  # a key that a good fetch did not bring is asked for 10 s later
    )
    stage.chaos(server).meet(fault)


def test_rotated_keys(stage: Stage):
    """Tokens of new keys pass from the first one on, tokens of old keys go on passing, and there is one fetch for all of them."""
    server, pool = stage.start(), stage.pool
    asked = unseen(pool)[:-2]
    stage.cognito.faults[pool.id] = testing.Fault(delay=0.2)
    fault = Fault(name="keys rotated", begin=lambda: None, felt=lambda: stage.cognito.fetches(pool) == 2, asked=asked)
    stage.chaos(server).meet(fault)


def test_withdrawn_keys(stage: Stage):
    """A key that left the set verifies no more, not even a token whose allow was repeated until then."""
    server, pool = stage.start(), stage.pool
    asked = unseen(pool)[:-2]
    pool.forget()
    fault = Fault(
        name="keys withdrawn",
        begin=lambda: None,
        felt=lambda: sample(server, f'authz_jwks_keys{{user_pool="{pool.id}"}}') == 2,
        asked=asked,
        permitted=dict.fromkeys(("ID token", "access token", "expired"), DENIED),
    )
    stage.chaos(server).meet(fault)
