"""A user pool that is served, the server that trusts it, and the load on it."""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from authz_server.testing import LocalCognito, UserPool
from authz_server.testing.signing_key import new_rsa_key
from tests.chaos.fault import Chaos
from tests.chaos.figure import Figure
from tests.chaos.load import Ask, over_grpc, questions
from tests.chaos.oracle import Question
from tests.e2e.stack import Server

RATE = 200.0
KEY_PAIRS = 2  # made before the load, which making them would disturb


def new_pool(pool_id: str) -> UserPool:
    """Make a user pool whose keys are at hand; a pool of that name in a later test has the same ones."""
    return UserPool(pool_id, new_key=chain(_keys(pool_id), iter(new_rsa_key, None)).__next__)


@cache
def _keys(_: str) -> Sequence[RSAPrivateKey]:
    return [new_rsa_key() for _ in range(2 * KEY_PAIRS)]


@dataclass(kw_only=True)
class Stage:
    """Where a fault happens.

    Args:
        folder: for files.
        transport: of the server.
        seconds: for which a fault lasts, at least.
        running: what ends with the test.
        record: takes figures.
    """

    folder: Path
    transport: str
    seconds: float
    running: ExitStack
    record: Callable[[Figure], None]
    pool: UserPool = field(default_factory=lambda: new_pool("eu-west-1_Chaos0001"))
    other: UserPool = field(default_factory=lambda: new_pool("eu-west-1_Chaos0002"))

    def __post_init__(self) -> None:
        self.cognito = self.running.enter_context(LocalCognito(self.pool))
        self.questions: Sequence[Question] = questions(self.pool, self.other)

    def start(self, *flags: str, **more: Any) -> Server:
        """Start a server, see `Server.start`."""
        flags = ("--transport", self.transport, "--decision-log", "off", *flags)
        server = Server.start(self.folder, self.pool, self.cognito, *flags, **more)
        self.running.callback(server.process.stop)
        return server

    def chaos(self, server: Server, ask: Ask | None = None, *, questions: Sequence[Question] = (), rate: float = RATE) -> Chaos:
        """Put a server under load, over gRPC unless told otherwise."""
        return Chaos(
            ask=ask or over_grpc(f"127.0.0.1:{server.port}"),
            questions=questions or self.questions,
            pid=server.process.pid,
            rate=rate,
            seconds=self.seconds,
            record=self.record,
        )


def sample(server: Server, name: str) -> float:
    """Read one sample of the metrics, 0 where it is not there yet."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", server.get("/metrics")[1], re.MULTILINE)
    return float(found[1]) if found else 0.0
