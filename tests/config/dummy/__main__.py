"""Try configurations with one more type of authorizer: `python -m tests.config.dummy FOLDER` prints what becomes of each file, as JSON."""

import json
import pickle
import random
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from authz_server.config import authorizer_types
from tests.config.dummy.model import Machines

authorizer_types.TYPES = (*authorizer_types.TYPES, Machines)  # before the schema is made

from authz_server.config import ConfigurationError, load  # noqa: E402 - as said
from authz_server.config.assemble import Assembly  # noqa: E402
from authz_server.config.compile import parts  # noqa: E402
from authz_server.core.request import Request  # noqa: E402
from authz_server.testing import StaticKeys, UserPool  # noqa: E402
from fuzz import configuration  # noqa: E402

POOL = UserPool("eu-west-1_Dummy0001")
NOW = 1_800_000_000.0
TRIES = 1_500


def outcome(path: Path) -> Any:
    """Load a file; give its problems, or the decisions about a token of a machine and one of a person on `/a`."""
    try:
        loaded = load(path, {"ARN": POOL.arn})
    except ConfigurationError as error:
        return [str(problem).removeprefix(f"{path}:") for problem in error.problems]
    crossed = [pickle.loads(pickle.dumps(part)) for part in parts(loaded)]
    gateway = Assembly(lambda _: StaticKeys(POOL)).add(crossed).gateway()
    tokens = [POOL.access_token(exp=NOW + 60, client_id=client, scope="x") for client in ("machine-7", "person-7")]
    decisions = [gateway.decide(Request("GET", "any", "/a", {"authorization": token}), NOW) for token in tokens]
    return [decision.decision for decision in decisions], [authorizer.summary() for authorizer in loaded.configuration.authorizers.values()]


def try_odd_files(folder: Path) -> int:
    """Load changed files; each is a configuration, or has problems with their places."""
    chance = random.Random(14)  # noqa: S311 - not for a secret
    inputs = [path.read_bytes() for path in sorted(folder.glob("*.yaml"))] + list(configuration.seeds().values())
    path = folder / "odd"
    for _ in range(TRIES):
        octets = chance.choice(inputs)
        for _ in range(chance.randrange(1, 5)):
            octets = configuration.mutate(octets, chance, lambda part: part)
        path.write_bytes(octets)
        with suppress(ConfigurationError):
            load(path, configuration.ENVIRONMENT | {"ARN": POOL.arn})
    return TRIES


if __name__ == "__main__":
    given = Path(sys.argv[1])
    outcomes = {path.name: outcome(path) for path in sorted(given.glob("*.yaml"))}
    sys.stdout.write(json.dumps({"files": outcomes, "odd": try_odd_files(given)}))
