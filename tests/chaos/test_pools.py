"""Thousands of user pools in one configuration."""

import json
from collections.abc import Sequence
from pathlib import Path
from signal import Signals

import pytest
import yaml

from authz_server import testing
from authz_server.testing import LocalCognito, UserPool
from authz_server.testing.signing_key import new_rsa_key
from tests.chaos.fault import Fault
from tests.chaos.load import id_tokens
from tests.chaos.oracle import Question
from tests.chaos.stage import Stage
from tests.e2e.stack import CONFIGURATION

POOLS, PER_AUTHORIZER, KEY_SETS, ASKED = 10_000, 1_000, 5, 60
SILENT = [f"eu-west-1_Silent{number:04}" for number in range(1_000)]
SILENT_SECONDS = 5.0  # longer than any fetch
GENERATION_MIB = 60.0  # while one takes over from another there are two


def many(folder: Path) -> tuple[Sequence[UserPool], str]:
    """Make user pools that share some key sets, which all name their keys alike, and the configuration of an API for each thousand of them."""
    sets = [[new_rsa_key(), new_rsa_key()] for _ in range(KEY_SETS)]
    pools = [
        UserPool(f"eu-west-1_Many{number:05}", new_key=iter(sets[number % KEY_SETS]).__next__, random=bytes) for number in range(POOLS)
    ]
    for number in range(KEY_SETS):
        keys = pools[number].jwks()["keys"]
        for place, key in enumerate(keys):
            key["kid"] = str(place)
        (folder / f"{number}.json").write_text(json.dumps({"keys": keys}))
    parts = [pools[first : first + PER_AUTHORIZER] for first in range(0, POOLS, PER_AUTHORIZER)]
    written = {
        "version": 1,
        "authorizers": {
            f"users{number}": {"type": "cognito_user_pools", "provider_arns": [pool.arn for pool in part]}
            for number, part in enumerate(parts)
        },
        "apis": {
            f"api{number}": {
                "hosts": [f"api{number}.example.com"],
                "claim_headers": {"x-auth-sub": "sub"},
                "routes": {"/pets": {"GET": {"authorizer": f"users{number}"}}},
            }
            for number in range(len(parts))
        },
        "user_pools": {pool.id: {"jwks_file": f"{number % KEY_SETS}.json"} for number, pool in enumerate(pools)},
    }
    return pools, json.dumps(written)


def questions(pools: Sequence[UserPool]) -> list[Question]:
    """Ask with tokens of pools all over the place, with those of a pool of another API, and with those that another pool's key has signed."""
    asked = []
    for number in range(0, POOLS, POOLS // ASKED):
        pool, stranger = pools[number], pools[(number + 1) % POOLS]
        claims = pool.id_claims(uuid(pool, number))
        own, foreign = (each.id_key.sign(claims, header={"alg": "RS256", "kid": "0"}) for each in (pool, stranger))
        hosts = [f"api{api % 10}.example.com" for api in (number // PER_AUTHORIZER, number // PER_AUTHORIZER + 1)]
        asked += [
            Question(kind="token", status=200, path="/pets", host=hosts[0], token=own, claims={"x-auth-sub": claims["sub"]}),
            Question(kind="of another API's pool", status=401, path="/pets", host=hosts[1], token=own),
            Question(kind="signed by another pool", status=401, path="/pets", host=hosts[0], token=foreign),
        ]
    return asked


def uuid(pool: UserPool, number: int):
    """Add a user who is told from all others."""
    return pool.add_user("ada", sub=f"00000000-0000-4000-8000-{number:012}")


@pytest.mark.xdist_group("takes a CPU")
def test_a_reload_with_ten_thousand_pools(stage: Stage):
    """Each pool's tokens pass at its own API only, while the whole configuration is loaded again."""
    pools, text = many(stage.folder)
    server = stage.start(configuration=text, seconds=60.0)
    fault = Fault(
        name="10,000 user pools, loaded again",
        begin=lambda: server.process.send(Signals.SIGHUP),
        felt=lambda: "generation 2 of" in server.log(),
        within=150.0,
        growth=GENERATION_MIB,
    )
    stage.chaos(server, questions=questions(pools)).meet(fault)


def among_silent_ones(jwks: str) -> str:
    """Configure a thousand user pools whose keys are at a place of their own before the one that works, with a route for them."""
    written = yaml.safe_load(CONFIGURATION)
    pools = {pool: {"jwks_uri": jwks} for pool in SILENT}
    arns = [f"arn:aws:cognito-idp:eu-west-1:123456789012:userpool/{pool}" for pool in SILENT]
    written["authorizers"] = {"silent": {"type": "cognito_user_pools", "provider_arns": arns}, **written["authorizers"]}
    written["apis"]["petstore"]["routes"]["/silent"] = {"GET": {"authorizer": "silent"}}
    written["user_pools"] = {**pools, **written["user_pools"]}
    return json.dumps(written)


def of_silent_ones(pool: UserPool) -> list[Question]:
    """Ask with a token of each of the thousand."""
    claims = pool.id_claims(pool.add_user("ada"))
    issuer = claims["iss"].removesuffix(pool.id)
    tokens = [pool.id_key.sign({**claims, "iss": f"{issuer}{silent}"}) for silent in SILENT]
    return [Question(kind="silent pool's", status=503, path="/prod/silent", token=token) for token in tokens]


def test_new_keys_among_silent_pools(stage: Stage):
    """A thousand dead endpoints, of which checks ask all the time, delay neither the start nor the new keys of the pool that works."""
    silent = stage.running.enter_context(LocalCognito(stage.other))
    silent.faults[stage.other.id] = testing.Fault(delay=SILENT_SECONDS)
    server = stage.start(configuration=among_silent_ones(silent.jwks_uri(stage.other)), seconds=30.0)
    stage.pool.rotate()
    new = id_tokens(stage.pool, 40, "new key's")
    silence = of_silent_ones(stage.other)
    known = [each for pair in zip(stage.questions, new * 2, strict=True) for each in pair]
    asked = [each for number, one in enumerate(silence) for each in (one, *(known[(8 * number + place) % 160] for place in range(8)))]
    fault = Fault(
        name="keys rotated among 1,000 silent user pools",
        begin=lambda: None,
        felt=lambda: stage.cognito.fetches(stage.pool) == 2,
        asked=asked,
        failures={503},  # of all that wait for a fetch few may
        within=3.0,
    )
    stage.chaos(server).meet(fault)
    assert silent.fetches(stage.other) > len(SILENT) / 2
