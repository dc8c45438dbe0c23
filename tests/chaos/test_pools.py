"""Ten thousand user pools in one configuration."""

import json
from collections.abc import Sequence
from pathlib import Path
from signal import Signals

import pytest

from authz_server.testing import UserPool
from authz_server.testing.signing_key import new_rsa_key
from tests.chaos.fault import Fault
from tests.chaos.oracle import Question
from tests.chaos.stage import Stage

POOLS, PER_AUTHORIZER, KEY_SETS, ASKED = 10_000, 1_000, 5, 60
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
        within=60,
        growth=GENERATION_MIB,
    )
    stage.chaos(server, questions=questions(pools)).meet(fault)
