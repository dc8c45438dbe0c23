"""A week in seconds: the refresher, the life of keys and the check itself behind its door, on a clock that skips what is dull."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from random import Random
from typing import NamedTuple
from unittest.mock import patch

import pytest

from authz_server.core import user_pools
from authz_server.core.cognito_user_pools import cognito_user_pools
from authz_server.core.gateway import Api, Claims, Gateway, protected
from authz_server.core.hosts import Hosts
from authz_server.core.routes import Routes
from authz_server.demo.process import free_port
from authz_server.keys.fetch import Answer, FetchError
from authz_server.keys.life_cycle import REFRESH_SECONDS, UNSEEN_KID_SECONDS
from authz_server.keys.refresher import KeyRefresher
from authz_server.keys.store import KeyStore
from authz_server.observe.metrics import Metrics
from authz_server.testing import ManualClock, UserPool
from authz_server.testing.signing_key import SigningKey, new_rsa_key
from authz_server.transport.event_loop import EventLoopDoor
from authz_server.transport.grpcio import GrpcioDoor
from tests.chaos.fault import GROWTH_MIB
from tests.chaos.figure import Figure
from tests.chaos.load import Ask, over_grpc
from tests.chaos.memory import resident_mib
from tests.chaos.oracle import Answer as CheckAnswer
from tests.chaos.oracle import Question
from tests.chaos.skipping import SkippingLoop
from tests.checking import ControlledCheck

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
START, WEEK, CEILING = 1_800_000_000.0, 7 * DAY, DAY
ROTATIONS = 7
OUTAGES = ((20 * HOUR, 26 * HOUR), (60 * HOUR, 95 * HOUR), (120 * HOUR, 121 * HOUR))  # the second is longer than the ceiling
FLAPPING = (130 * HOUR, 133 * HOUR)
TROUBLE = (*OUTAGES, FLAPPING)
PATIENCE_SECONDS = 300.0
DOORS = {"grpcio": GrpcioDoor, "asyncio": EventLoopDoor}
JUMPS = ((100 * HOUR, 102 * HOUR, 2 * HOUR), (110 * HOUR, 112 * HOUR, -2 * HOUR))  # of the time of day: from, to, seconds


class Endpoint:
    """Where the keys come from: slow, flapping or away as the week goes, and it remembers what it has told.

    Args:
        pool: whose.
        clock: of the week.
    """

    def __init__(self, pool: UserPool, clock: ManualClock) -> None:
        self._pool, self._clock, self._random = pool, clock, Random(1)  # noqa: S311 - chooses when things go wrong
        self.told: Collection[str] = ()
        self.told_at = self.failed_at = -WEEK
        self.fetches, self.fetching = 0, asyncio.Lock()

    def troubled(self) -> bool:
        """Whether it is away or flapping at this moment."""
        return any(begin <= self._clock.now < end for begin, end in TROUBLE)

    async def __call__(self, _: user_pools.UserPool, __: str | None) -> Answer:
        """Answer a fetch."""
        self.fetches += 1
        async with self.fetching:
            await asyncio.sleep(self._random.uniform(0.005, 0.4))
        if self.troubled() and not (self._clock.now >= FLAPPING[0] and self._random.random() < 0.5):
            self.failed_at = self._clock.now
            raise FetchError("connection", "away")
        self.told, self.told_at = {key.kid for key in self._pool.published_keys}, self._clock.now
        return Answer(self._pool.jwks_document())


class Token(NamedTuple):
    """A check that asks with a token.

    Args:
        kid: of the key that it names.
        expires: seconds since 1970; a forged one was never good.
        question: that it is asked with.
    """

    kid: str
    expires: float
    question: Question


class Week:
    """Everything of a server but its settings.

    Args:
        clock: monotonic seconds.
        pause: seconds from one round of questions to the next.
    """

    def __init__(self, clock: ManualClock, pause: float) -> None:
        keys = iter([new_rsa_key() for _ in range(2 * (ROTATIONS + 1))])
        self.clock, self.pause = clock, pause
        self.pool = UserPool("eu-west-1_Week00001", clock=lambda: START + clock.now, new_key=keys.__next__)
        self.user = self.pool.add_user("ada")
        self.stranger = UserPool(self.pool.id)
        self.endpoint = Endpoint(self.pool, clock)
        self.asking = True  # time begins with the first answer
        with patch("asyncio.new_event_loop", lambda: SkippingLoop(clock, lambda: self.asking and not self.endpoint.fetching.locked())):
            self.refresher = KeyRefresher(self.endpoint, clock, Random(2).random, self)  # noqa: S311 - spreads fetches
        self.check = ControlledCheck(
            2**20,
            now=self.time_of_day,
            timer=lambda: 0.0,
            new_id=lambda: "11111111-2222-4333-8444-555555555555",
            metrics=Metrics("week"),
            log=None,
        )
        self.wrong: list[str] = []
        self.answered: Counter[tuple[str, int]] = Counter()
        self.recovered = 0.0

    def fetch_ended(self, *_: object) -> None:
        """Take no note of a fetch: the endpoint does."""

    def time_of_day(self) -> float:
        """Tell the server's time of day."""
        return START + self.clock.now + sum(jump for begin, end, jump in JUMPS if begin <= self.clock.now < end)

    def live(self, ask: Ask) -> None:
        """Let a week go by.

        Args:
            ask: asks through a door.
        """
        asyncio.run_coroutine_threadsafe(self._live(ask), self.refresher._loop).result(PATIENCE_SECONDS)
        self.refresher.close()

    async def _live(self, ask: Ask) -> None:
        """Ask a few checks after each pause; each hour brings new tokens, and each day new keys."""
        self._configure()
        strange, rotated = self._token("strange", self.stranger.id_key, WEEK), 0
        withdrawn = strange
        while (hour := self.clock.now) < WEEK:
            if hour >= (rotated + 1) * DAY - 6 * HOUR and rotated < ROTATIONS:
                withdrawn, rotated = self._token("old key's", self.pool.id_key, WEEK), rotated + 1
                self.pool.rotate()
            elif hour >= rotated * DAY:
                self.pool.forget()
            key = self.pool.id_key
            good, gone = self._token("good", key, HOUR), self._token("expired", key, -MINUTE)
            forged = self._token("forged", SigningKey(kid=key.kid, private=self.stranger.id_key.private), WEEK)._replace(expires=0.0)
            while self.clock.now < hour + HOUR:
                for token in (good, gone, forged, withdrawn, strange):
                    async with self.endpoint.fetching:  # whoever asks during a fetch may be answered as before or after it
                        self.asking = True
                    answer = await asyncio.to_thread(ask, token.question)
                    self.asking = False
                    self._judge(token, answer)
                await asyncio.sleep(self.pause)

    def _judge(self, token: Token, answer: CheckAnswer) -> None:
        kind, status = token.question.kind, answer.status
        self.answered[kind, status] += 1
        if status != self._right(token) or (status == 200 and answer.claims != token.question.claims):
            self.wrong.append(f"{kind} after {self.clock.now / HOUR:.2f} h: {status}, not {self._right(token)}; {answer.claims}")
        if status == 503 and not self.endpoint.troubled():
            self.recovered = max(self.recovered, self.clock.now - max(end for _, end in TROUBLE if end <= self.clock.now))

    def _right(self, token: Token) -> int | None:
        """Say what is right by what the endpoint has told, and when it was asked last; None when it should have been asked again."""
        told_at, failed_at = self.endpoint.told_at, self.endpoint.failed_at
        since = self.clock.now - told_at
        if since <= CEILING and token.kid in self.endpoint.told:
            return 200 if token.expires > self.time_of_day() else 401
        if failed_at > told_at:
            return 503
        published = token.kid in {key.kid for key in self.pool.published_keys}
        return None if published and since > UNSEEN_KID_SECONDS else 401

    def _token(self, kind: str, key: SigningKey, lives: float) -> Token:
        expires = START + self.clock.now + lives
        token = key.sign(self.pool.id_claims(self.user, exp=expires))
        return Token(key.kid, expires, Question(kind=kind, status=200, path="/pets", token=token, claims={"x-auth-sub": self.user.sub}))

    def _configure(self) -> None:
        place = user_pools.UserPool(id=self.pool.id, issuer=self.pool.issuer, jwks="https://keys.test/jwks.json")
        keys = KeyStore(self.clock, self.refresher).keys(place)
        users = cognito_user_pools(name="users", identity_source="authorization", issuers={self.pool.issuer: keys}, result_ttl=300)
        routes = Routes()
        routes.add("/pets", {"GET": protected("GET /pets", "shop", users, frozenset())})
        claims = Claims(headers=(("x-auth-sub", "sub"),))
        api = Api(name="shop", base_path=(), routes=routes, authorizers={"users": users}, claims=claims, identity_headers=("x-auth-sub",))
        self.check.swap(Gateway(apis={"shop": api}, hosts=Hosts([("", (), api)])))


@pytest.fixture
def served(transport) -> Iterator[Callable[[ControlledCheck], Ask]]:
    """Put a check behind a door."""
    with ExitStack() as running:

        def serve(check: ControlledCheck) -> Ask:
            door, port = DOORS[transport](check), free_port()
            running.callback(door.stop, 0)
            door.listen(f"127.0.0.1:{port}")
            door.start()
            return over_grpc(f"127.0.0.1:{port}")

        yield serve


@pytest.mark.xdist_group("takes a CPU")
def test_a_week(served, request, record):
    """Through rotations, outages, flapping and clock jumps each check has the one answer that is right, and memory stays as it is."""
    pause = 5 * MINUTE / request.config.getoption("--fault-seconds")
    week = Week(ManualClock(0.0), pause)
    ask = served(week.check)
    before, began = resident_mib(os.getpid()), time.monotonic()
    week.live(ask)
    took, after = time.monotonic() - began, resident_mib(os.getpid())
    failed = sum(count for (_, status), count in week.answered.items() if status == 503)
    record(
        Figure(
            fault="a week, simulated",
            held=week.answered.total() / took,
            wrong=len(week.wrong),
            failed=failed,
            recovered=week.recovered,
            before=before,
            after=after,
        )
    )

    assert week.wrong == []
    assert week.answered.total() >= 5 * (WEEK // pause)
    assert {status for kind, status in week.answered if kind == "good"} == {200, 401, 503}
    assert {status for kind, status in week.answered if kind == "forged"} == {401, 503}
    assert {status for kind, status in week.answered if kind == "strange"} == {401, 503}
    assert week.endpoint.fetches > WEEK / REFRESH_SECONDS / 2
    assert week.recovered <= 2 * pause
    assert after - before < GROWTH_MIB
