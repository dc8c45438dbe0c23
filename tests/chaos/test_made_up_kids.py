"""Kids that somebody makes up for a thousand user pools."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest
import yaml

from authz_server.testing import UserPool
from tests.chaos.fault import Fault
from tests.chaos.load import id_tokens, over_grpc
from tests.chaos.oracle import Question
from tests.chaos.stage import Stage
from tests.e2e.stack import CONFIGURATION
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("takes a CPU")

ATTACKED = [f"eu-west-1_Attacked{number:04}" for number in range(1_000)]
PER_SECOND, SLACK = 10, 20  # fetches that made-up kids may cost once each pool has had its own
MADE_UP = "made-up kid's"


def configuration(jwks: str) -> str:
    """Configure a thousand user pools with a route for them, beside the one whose clients are good."""
    written = yaml.safe_load(CONFIGURATION)
    arns = [f"arn:aws:cognito-idp:eu-west-1:123456789012:userpool/{pool}" for pool in ATTACKED]
    written["authorizers"]["attacked"] = {"type": "cognito_user_pools", "provider_arns": arns}
    written["apis"]["petstore"]["routes"]["/attacked"] = {"GET": {"authorizer": "attacked"}}
    written["user_pools"] = {**{pool: {"jwks_uri": jwks} for pool in ATTACKED}, **written["user_pools"]}
    return json.dumps(written)


def made_up(pool: UserPool, number: int) -> list[Question]:
    """Ask each of the thousand for a key that does not exist."""
    claims = pool.id_claims(pool.add_user(f"attacker{number}"))
    issuer = claims["iss"].removesuffix(pool.id)
    header = {"alg": "RS256", "kid": f"made up {number}"}
    tokens = [pool.id_key.sign({**claims, "iss": f"{issuer}{attacked}"}, header=header) for attacked in ATTACKED]
    return [Question(kind=MADE_UP, status=503, path="/prod/attacked", token=token) for token in tokens]


def test_new_keys_while_kids_are_made_up_for_other_pools(stage: Stage):
    """A thousand pools under attack cost so many fetches and no more, and the pool beside them has its new keys at once."""
    cognito, attacked = stage.cognito, stage.other
    cognito.pools[attacked.id] = attacked
    server = stage.start(configuration=configuration(cognito.jwks_uri(attacked)), seconds=60.0)
    until(lambda: cognito.fetches(attacked) == len(ATTACKED))
    ask = over_grpc(f"127.0.0.1:{server.port}")
    with ThreadPoolExecutor(2) as attackers:
        answers = list(attackers.map(ask, made_up(attacked, 0)))
    assert {answer.status for answer in answers} <= {401, 503}
    until(lambda: cognito.fetches(attacked) == 2 * len(ATTACKED))

    stage.pool.rotate()
    good = [*stage.questions, *id_tokens(stage.pool, 40, "new key's")]
    last, *bad = [*made_up(attacked, 1), *made_up(attacked, 2)][::-1]
    until(lambda: ask(last).status == 503 or cognito.fetches(attacked) > 2 * len(ATTACKED))  # what a good fetch settles is over
    fetches = cognito.fetches(attacked)
    fault = Fault(
        name="kids made up for 1,000 user pools, keys of another one rotated",
        begin=lambda: None,
        felt=lambda: cognito.fetches(stage.pool) == 2,
        asked=list(chain.from_iterable((each, good[number % len(good)]) for number, each in enumerate(bad))),
        permitted={MADE_UP: {401, 503}},
        failures={503},  # of all that wait for the fetch few may
        within=10.0,
    )
    began = time.monotonic()
    stage.chaos(server).meet(fault)
    assert cognito.fetches(attacked) - fetches <= PER_SECOND * (time.monotonic() - began) + SLACK
