"""Chaos of Redis: what was revoked stays so while it is away or has lost it, and what was revoked meanwhile is when it is back."""

import math
import time
from dataclasses import replace

import jwt
import pytest
import redis

from authz_server.core.revocations import Revocation
from authz_server.revocations import shared
from authz_server.revocations.server import connect as server_of
from tests.chaos.fault import Fault
from tests.chaos.load import id_tokens
from tests.chaos.stage import Stage, sample
from tests.redis_server import SECRET, RedisServer
from tests.waiting import until

LISTED = "authz_revocations"
KEPT = "authz_revocations_kept"
FAILED = 'authz_revocations_reads_total{outcome="failed"}'
MAX_AGE_SECONDS = 1.0
UNKNOWN = dict.fromkeys(("ID token", "access token"), frozenset({503}))


class SignOuts:
    """A Redis with the list of those who have signed out.

    Args:
        stage: where.
        persistence: flags of Redis; without any it loses its data when it is killed.
    """

    def __init__(self, stage: Stage, *persistence: str) -> None:
        folder = stage.folder / "redis"
        folder.mkdir()
        self._redis = stage.running.enter_context(RedisServer(folder, *persistence))
        (stage.folder / "password").write_text(SECRET)
        self.flags = ("--revocations", self._redis.url, "--revocations-password-file", str(stage.folder / "password"))
        self.before, self.meanwhile = (
            replace(id_tokens(stage.pool, 1)[0], kind=kind, status=401) for kind in ("signed out", "signed out meanwhile")
        )
        self._sign_out(self.before.token)

    def client(self) -> redis.Redis:
        """Speak to Redis."""
        return self._redis.client()

    def kill(self) -> None:
        """Kill Redis."""
        self._redis.kill()

    def lose(self) -> None:
        """Kill Redis and start it again, and sign somebody out at once: that is all it knows."""
        self.kill()
        self.start()

    def start(self) -> None:
        """Start it again, and sign somebody out at once."""
        self._redis.start()
        self._sign_out(self.meanwhile.token)

    def _sign_out(self, token: str) -> None:
        entry = Revocation("sub", _claim(token, "sub"), math.inf, time.time() + 3_600)
        shared.add(server_of(self._redis.url, SECRET), entry, time.time())


def _claim(token: str, name: str) -> str:
    return jwt.decode(token.removeprefix("Bearer "), options={"verify_signature": False})[name]


@pytest.mark.parametrize("max_age", [None, MAX_AGE_SECONDS], ids=["kept", "bounded"])
def test_redis_is_killed_and_comes_back(stage: Stage, max_age):
    """The last known list is used for as long as the operator says, then nothing is said about good tokens; nobody who signed out gets in."""
    out = SignOuts(stage, "--appendonly", "yes", "--appendfsync", "always")
    bound = () if max_age is None else ("--revocations-max-age", str(max_age))
    server = stage.start(*out.flags, *bound)
    away = {"signed out meanwhile": {200}}
    if max_age is not None:
        away = {**UNKNOWN, "signed out": {401, 503}, "signed out meanwhile": {200, 503}}
    fault = Fault(
        name="Redis killed and back" if max_age is None else "Redis away for longer than `--revocations-max-age`",
        begin=out.kill,
        end=out.start,
        felt=lambda: sample(server, FAILED) >= 1,
        asked=[out.meanwhile],
        permitted=away,
        within=15.0,
    )
    stage.chaos(server, questions=[*stage.questions, out.before]).meet(fault)


def test_redis_loses_its_data(stage: Stage):
    """Who signed out before stays out although Redis knows only of those who did so later, and what it has lost is counted."""
    out = SignOuts(stage)
    server = stage.start(*out.flags)

    def lose() -> None:
        out.lose()
        until(lambda: sample(server, LISTED) == 2)  # it looks for Redis again after a pause

    fault = Fault(
        name="Redis lost its data",
        begin=lose,
        felt=lambda: sample(server, KEPT) == 1,
        asked=[out.meanwhile],
        within=15.0,
    )
    stage.chaos(server, questions=[*stage.questions, out.before]).meet(fault)
