"""The refresher fetches keys when they are due or asked for, and no failure of anybody ends that."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from queue import SimpleQueue
from typing import NamedTuple

import pytest

from authz_server.core.authorizers import KeysPending
from authz_server.core.decisions import Denied
from authz_server.core.user_pools import KeySettings
from authz_server.core.user_pools import UserPool as Place
from authz_server.keys import life_cycle
from authz_server.keys import refresher as refreshing
from authz_server.keys.fetch import Answer, Fetch, FetchError
from authz_server.keys.life_cycle import PoolState, Standing
from authz_server.keys.refresher import PLACES, KeyRefresher
from authz_server.keys.store import KeyStore, PoolKeys
from authz_server.testing import ManualClock, UserPool
from tests.waiting import PATIENCE


class Ended(NamedTuple):
    """How a fetch ended, as the observer was told."""

    keys: PoolKeys
    state: PoolState
    outcome: str
    detail: str


class Observer:
    """Write down how fetches end."""

    def __init__(self) -> None:
        self.told: SimpleQueue[Ended] = SimpleQueue()

    def fetch_ended(self, keys: PoolKeys, outcome: str, detail: str) -> None:
        """Take note."""
        self.told.put(Ended(keys, keys.state, outcome, detail))

    def next(self) -> Ended:
        """Wait for the next fetch to end."""
        return self.told.get(timeout=PATIENCE)


class Endpoint:
    """A place of keys that a test has in its hand: each fetch is announced, then answered as the test says."""

    def __init__(self) -> None:
        self.begun: SimpleQueue[str] = SimpleQueue()
        self.etags: SimpleQueue[str | None] = SimpleQueue()
        self.answers: SimpleQueue[bytes | Answer | Exception] = SimpleQueue()
        self.held: SimpleQueue[asyncio.Event] = SimpleQueue()
        self.hold = False
        self.farewell = 0  # rounds of the loop that a fetch takes to end, as closing a connection does
        self.ended = threading.Semaphore(0)

    async def __call__(self, pool: Place, etag: str | None) -> Answer:
        """Fetch."""
        self.begun.put(pool.jwks)
        self.etags.put(etag)
        try:
            if self.hold:
                gate = asyncio.Event()
                self.held.put(gate)
                await gate.wait()
            answer = self.answers.get_nowait()
        finally:
            for _ in range(self.farewell):
                await asyncio.sleep(0)
            self.ended.release()
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Answer) else Answer(answer)


Make = Callable[..., KeyRefresher]


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still, so that nothing becomes due by itself."""
    return ManualClock(1_000.0)


@pytest.fixture
def observer() -> Observer:
    """Whoever wants to know."""
    return Observer()


@pytest.fixture
def endpoint() -> Endpoint:
    """Where keys come from."""
    return Endpoint()


@pytest.fixture
def make(clock: ManualClock, observer: Observer, endpoint: Endpoint) -> Iterator[Make]:
    """Make refreshers that end with the test."""
    made: list[KeyRefresher] = []

    def make(
        fetch: Fetch = endpoint,
        *,
        clock: Callable[[], float] = clock,
        spread: Callable[[], float] = lambda: 0.0,
        observer: Observer = observer,
    ) -> KeyRefresher:
        made.append(KeyRefresher(fetch, clock, spread, observer))
        return made[-1]

    yield make
    for refresher in made:
        if not refresher._loop.is_closed():
            refresher.close()


def watched(refresher: KeyRefresher, place: Place, clock: Callable[[], float]) -> PoolKeys:
    """Have the keys of a pool kept fresh."""
    keys = PoolKeys(place, clock, refresher.ask)
    refresher.watch(keys)
    return keys


def renew(refresher: KeyRefresher, keys: PoolKeys) -> None:
    """Have keys fetched for which nobody waits, as when a refresh is due."""
    refresher.renew(keys)


def let_run(refresher: KeyRefresher) -> None:
    """Let everything happen on the refresher's loop that is going to."""

    async def rounds() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    asyncio.run_coroutine_threadsafe(rounds(), refresher._loop).result(PATIENCE)


def pending(keys: PoolKeys, kid: str = "unseen") -> Future[None]:
    """Ask for a key that is being fetched."""
    with pytest.raises(KeysPending) as caught:
        keys.find(kid)
    return caught.value.fetch


def test_keys_are_fetched_at_once(
    make: Make, pool: UserPool, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer
) -> None:
    """Watching begins with a fetch from the pool's place; it wakes those who wait, and the observer sees the new state."""
    endpoint.answers.put(pool.jwks_document())
    keys = PoolKeys(place, clock, lambda _: None)
    waiting = pending(keys)
    make(spread=lambda: 0.5).watch(keys)
    ended = observer.next()

    assert endpoint.begun.get_nowait() == place.jwks
    assert (ended.keys, ended.outcome, ended.detail) == (keys, "ok", "")
    assert (ended.state.fetched_at, ended.state.due) == (1_000.0, 1_000.0 + 300.0 * 1.05)
    assert waiting.done()
    assert keys.find(pool.id_key.kid).kid == pool.id_key.kid


def test_skipped_keys_are_told(
    make: Make, pool: UserPool, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer
) -> None:
    """A good fetch says why some of its keys are not used."""
    endpoint.answers.put(pool.jwks_document().replace(b'{"keys":[', b'{"keys":[{},{"kid":"x"},'))
    watched(make(), place, clock)

    assert observer.next()[2:] == ("ok", "an entry without a `kid`; kid 'x' is not for RS256 signatures")


@pytest.mark.parametrize(
    ("kids", "shown"),
    [
        pytest.param([f"{number:03}" for number in range(900)], 5, id="many"),
        pytest.param([f"{number:03}" + "x" * 20_000 for number in range(6)], 5, id="long"),
        pytest.param([f"{number:03}" for number in range(5)], 5, id="few"),
    ],
)
def test_a_set_of_strange_keys_fills_no_log(
    kids: list[str], shown: int, *, make: Make, pool: UserPool, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer
) -> None:
    """The first few are named, the others counted."""
    strange = "".join(f'{{"kid":"{kid}"}},' for kid in kids).encode()
    endpoint.answers.put(pool.jwks_document().replace(b'{"keys":[', b'{"keys":[' + strange))
    watched(make(), place, clock)

    detail = observer.next().detail

    assert len(detail) <= 1_000
    assert [f"kid '{kid[:3]}" in detail for kid in kids[: shown + 1]] == [True, True, True, True, True, False][: len(kids)]
    assert detail.endswith(f"; and {len(kids) - shown} more") == (len(kids) > shown)


def test_a_failure_fills_no_log_either(make: Make, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer) -> None:
    """Whoever answers chooses the names of keys, and so the words of an error."""
    endpoint.answers.put(b'{"keys":[{"kid":"' + b"x" * 100_000 + b'"}]}')
    watched(make(), place, clock)

    detail = observer.next().detail

    assert detail.startswith("no usable key: kid 'xxx")
    assert detail.endswith("x …")
    assert len(detail) == 1_000


@pytest.mark.parametrize(
    ("answer", "outcome", "detail"),
    [
        pytest.param(FetchError("timeout", "no answer"), "timeout", "no answer", id="the fetch fails"),
        pytest.param(b"keys", "content", "the document is no JSON with unique members", id="the document is none"),
        pytest.param(ZeroDivisionError("oops"), "bug", "ZeroDivisionError('oops')", id="a bug"),
        pytest.param(TimeoutError(), "bug", "TimeoutError()", id="a foreign exception"),
    ],
)
def test_failures_are_told_and_tried_again(
    *,
    answer: bytes | Exception,
    outcome: str,
    detail: str,
    make: Make,
    pool: UserPool,
    place: Place,
    clock: ManualClock,
    endpoint: Endpoint,
    observer: Observer,
) -> None:
    """Whatever goes wrong is told in a word and a sentence, wakes those who wait, and does not end the fetching."""
    refresher = make(spread=lambda: -1.0)
    keys = PoolKeys(place, clock, refresher.ask)
    waiting = pending(keys)
    endpoint.answers.put(answer)
    refresher.watch(keys)
    ended = observer.next()

    assert ended[2:] == (outcome, detail)
    assert (ended.state.failures, ended.state.due) == (1, 1_000.9)
    assert waiting.done()

    endpoint.answers.put(pool.jwks_document())
    renew(refresher, keys)
    assert observer.next().outcome == "ok"
    assert keys.state.failures == 0


def test_an_unchanged_document_is_a_good_fetch(
    make: Make, pool: UserPool, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer
) -> None:
    """The ETag of the last good document goes into the next question; 304 renews the very same keys, and their max-age counts."""
    refresher = make()
    endpoint.answers.put(Answer(pool.jwks_document(), '"v1"', None))
    keys = watched(refresher, place, clock)
    first = observer.next().state
    clock.advance(20.0)
    endpoint.answers.put(FetchError("timeout", ""))
    endpoint.answers.put(Answer(None, '"v1"', 100.0))
    for outcome in ("timeout", "unchanged"):
        renew(refresher, keys)
        ended = observer.next()
        assert ended.outcome == outcome

    assert [endpoint.etags.get_nowait() for _ in range(3)] == [None, '"v1"', '"v1"']
    assert ended.state.key_set.keys == first.key_set.keys
    assert (ended.state.fetched_at, ended.state.changed_at, ended.state.due, ended.state.failures) == (1_020.0, 1_000.0, 1_120.0, 0)
    assert ended.state.etag == '"v1"'


def test_unchanged_is_no_answer_when_nothing_is_there(
    make: Make, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer
) -> None:
    """A place can not say that a document is the same before it has sent one."""
    endpoint.answers.put(Answer(None))
    watched(make(), place, clock)

    assert observer.next().outcome == "content"


def test_kids_that_were_fetched_for_in_vain_are_remembered(
    make: Make, pool: UserPool, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer
) -> None:
    """The refresher hands on which kids checks waited with."""
    refresher = make()
    endpoint.answers.put(pool.jwks_document())
    keys = watched(refresher, place, clock)
    observer.next()
    endpoint.answers.put(pool.jwks_document())
    pending(keys, "gone").result(PATIENCE)

    assert list(observer.next().state.absent) == ["gone"]


def test_new_settings_are_taken_in_where_the_state_is_changed(make: Make, place: Place, clock: ManualClock, endpoint: Endpoint) -> None:
    """A reload that changes how keys are kept changes neither them nor who waits for them."""
    refresher = make()
    endpoint.hold = True
    keys = watched(refresher, place, clock)
    endpoint.held.get(timeout=PATIENCE)
    waiting = pending(keys)
    changed = replace(place, settings=KeySettings(stale_ceiling=60.0))
    refresher.configure(keys, changed)
    let_run(refresher)

    assert keys.pool.settings.stale_ceiling == keys.state.ceiling == 60.0
    assert not waiting.done()


def test_new_settings_are_tried_at_once(
    make: Make, pool: UserPool, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer
) -> None:
    """Whoever shows readiness learns what a new ceiling has changed, and a new CA file shows whether it is right."""
    refresher = make()
    endpoint.answers.put(pool.jwks_document())
    keys = watched(refresher, place, clock)
    observer.next()
    clock.now += 61.0
    endpoint.answers.put(FetchError("connection", "refused"))
    refresher.configure(keys, replace(place, settings=KeySettings(stale_ceiling=60.0)))
    ended = observer.next()

    assert ended.outcome == "connection"
    assert not ended.state.usable(clock())


def test_keys_that_are_asked_for_again_during_a_fetch_are_fetched_after_it(
    make: Make, pool: UserPool, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer
) -> None:
    """What the fetch under way brings may be older than the wish: a second one follows at once, and no third."""
    endpoint.hold = True
    refresher = make()
    keys = watched(refresher, place, clock)
    gate = endpoint.held.get(timeout=PATIENCE)
    endpoint.hold = False
    for _ in range(2):
        refresher.renew(keys)
        endpoint.answers.put(pool.jwks_document())
    let_run(refresher)
    refresher._loop.call_soon_threadsafe(gate.set)

    assert [observer.next().outcome for _ in range(2)] == ["ok", "ok"]
    let_run(refresher)
    assert endpoint.begun.qsize() == 2


def test_keys_that_nobody_watches_are_not_fetched_again(make: Make, place: Place, clock: ManualClock, endpoint: Endpoint) -> None:
    """A pool that has left the configuration meanwhile is left alone."""
    refresher = make()
    refresher.renew(PoolKeys(place, clock, refresher.ask))
    let_run(refresher)

    assert endpoint.begun.empty()


def test_new_settings_that_come_during_a_fetch_are_tried_after_it(
    make: Make, pool: UserPool, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer
) -> None:
    """The fetch under way asks as its pool said before: a second one follows at once, with the new settings, and no third."""
    asked: SimpleQueue[Place] = SimpleQueue()

    async def fetch(pool: Place, etag: str | None) -> Answer:
        asked.put(pool)
        return await endpoint(pool, etag)

    endpoint.hold = True
    refresher = make(fetch)
    keys = watched(refresher, place, clock)
    gate = endpoint.held.get(timeout=PATIENCE)
    endpoint.hold = False
    changed = replace(place, settings=KeySettings(ca_file="new.pem"))
    for _ in range(2):
        refresher.configure(keys, changed)
        endpoint.answers.put(pool.jwks_document())
    let_run(refresher)
    refresher._loop.call_soon_threadsafe(gate.set)

    assert [observer.next().outcome for _ in range(2)] == ["ok", "ok"]
    let_run(refresher)
    assert [asked.get_nowait().settings.ca_file for _ in range(2)] == [None, "new.pem"]
    assert asked.empty()


def test_a_question_that_a_fetch_has_answered_meanwhile_causes_none(
    make: Make, pool: UserPool, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer
) -> None:
    """A check that joins a refresh at its very end is answered by it: kids that nobody knows cost one fetch in ten seconds, and not two."""
    refresher = make()
    endpoint.answers.put(pool.jwks_document())
    keys = watched(refresher, place, clock)
    observer.next()
    for _ in range(3):
        refresher.ask(keys)
    let_run(refresher)

    assert endpoint.begun.get_nowait() == place.jwks
    assert endpoint.begun.empty()


def test_a_bug_of_the_observer_does_not_end_the_fetching(
    make: Make, pool: UserPool, place: Place, clock: ManualClock, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever watches may fail: it is logged, and keys stay fresh."""

    class Broken(Observer):
        def fetch_ended(self, keys: PoolKeys, outcome: str, detail: str) -> None:
            super().fetch_ended(keys, outcome, detail)
            raise ZeroDivisionError

    observer = Broken()
    refresher = make(observer=observer)
    keys = PoolKeys(place, clock, refresher.ask)
    for answer, outcome in ((FetchError("timeout", ""), "timeout"), (pool.jwks_document(), "ok"), (b"", "content")):
        endpoint.answers.put(answer)
        if outcome == "timeout":
            refresher.watch(keys)
        else:
            renew(refresher, keys)
        assert observer.next().outcome == outcome
    refresher.close()

    told = [(record.levelno, record.getMessage().split("\n")[0], record.exc_info[0]) for record in caplog.records]
    assert told == [(logging.ERROR, "bug: whoever watches key fetches failed", ZeroDivisionError)] * 3


def test_keys_are_fetched_again_when_they_are_due(make: Make, pool: UserPool, place: Place, endpoint: Endpoint, observer: Observer) -> None:
    """Nobody has to ask: with a clock on which five minutes pass at each look, one fetch follows the other."""
    clock = ManualClock(0.0)

    def hurried() -> float:
        clock.advance(301.0)
        return clock.now

    for _ in range(3):
        endpoint.answers.put(pool.jwks_document())
    watched(make(clock=hurried), place, hurried)

    assert [observer.next().outcome for _ in range(3)] == ["ok"] * 3


def test_an_unseen_kid_is_fetched_for(
    make: Make, rotating: UserPool, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer
) -> None:
    """A check that meets a new key after a rotation waits for one fetch, and finds it."""
    endpoint.answers.put(rotating.jwks_document())
    keys = watched(make(), place, clock)
    observer.next()
    rotating.rotate()
    endpoint.answers.put(rotating.jwks_document())
    waiting = pending(keys, rotating.id_key.kid)

    assert waiting.result(PATIENCE) is None
    assert keys.find(rotating.id_key.kid).kid == rotating.id_key.kid


def test_asking_during_a_fetch_joins_it(
    make: Make, pool: UserPool, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer
) -> None:
    """A check that asks while a fetch is under way waits for that one; no second one follows."""
    refresher = make()
    endpoint.answers.put(pool.jwks_document())
    keys = watched(refresher, place, clock)
    observer.next()
    clock.advance(10.0)
    endpoint.hold = True
    renew(refresher, keys)  # as when a refresh is due: nobody waits
    gate = endpoint.held.get(timeout=PATIENCE)
    waiting = pending(keys)
    endpoint.answers.put(pool.jwks_document())
    refresher._loop.call_soon_threadsafe(gate.set)

    assert waiting.result(PATIENCE) is None
    assert observer.next().outcome == "ok"
    let_run(refresher)
    assert [endpoint.begun.get_nowait() for _ in range(2)] == [place.jwks] * 2
    assert endpoint.begun.empty()


def test_unwatched_keys_are_left_alone(make: Make, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer) -> None:
    """A fetch under way is given up, those who wait are woken, and later questions are answered without a fetch."""
    refresher = make()
    endpoint.hold = True
    keys = watched(refresher, place, clock)
    endpoint.held.get(timeout=PATIENCE)
    waiting = pending(keys)
    refresher.unwatch(keys)

    assert waiting.result(PATIENCE) is None
    assert endpoint.ended.acquire(timeout=PATIENCE)
    assert pending(keys).result(PATIENCE) is None
    let_run(refresher)
    assert endpoint.begun.get_nowait() == place.jwks
    assert endpoint.begun.empty()
    assert observer.told.empty()


def test_keys_that_are_unwatched_at_once_are_never_fetched(make: Make, place: Place, clock: ManualClock, endpoint: Endpoint) -> None:
    """A reload may take back what the one before it asked for."""
    refresher = make()
    keys = PoolKeys(place, clock, refresher.ask)
    ready = threading.Event()
    refresher._loop.call_soon_threadsafe(ready.wait)
    refresher.watch(keys)
    refresher.unwatch(keys)
    ready.set()

    assert pending(keys).result(PATIENCE) is None
    refresher.close()
    assert endpoint.begun.empty()


def test_closing_ends_every_fetch(make: Make, place: Place, clock: ManualClock, endpoint: Endpoint, observer: Observer) -> None:
    """When close returns, fetches under way have been cut off, those who waited are awake, and the thread is gone."""
    refresher = make()
    endpoint.hold = True
    endpoint.farewell = 20
    keys = watched(refresher, place, clock)
    endpoint.held.get(timeout=PATIENCE)
    waiting = pending(keys)
    refresher.close()

    assert waiting.done()
    assert endpoint.ended.acquire(blocking=False)
    assert not refresher._thread.is_alive()
    assert observer.told.empty()


def test_a_closed_refresher_only_wakes_those_who_wait(make: Make, place: Place, clock: ManualClock, endpoint: Endpoint) -> None:
    """Whatever is asked of it then does nothing, closing it again included, and no check waits in vain."""
    refresher = make()
    refresher.close()
    keys = watched(refresher, place, clock)
    refresher.configure(keys, place)
    first, second = pending(keys), pending(keys)
    refresher.unwatch(keys)
    refresher.close()

    assert first.done()
    assert second.done()
    assert endpoint.begun.empty()


def test_who_asks_while_it_closes_is_woken(make: Make, place: Place, clock: ManualClock, endpoint: Endpoint) -> None:
    """From the moment at which closing begins nothing is left to a loop that may end before it comes to it."""
    refresher = make()
    endpoint.hold = True
    keys = watched(refresher, place, clock)
    endpoint.held.get(timeout=PATIENCE)
    busy, free = threading.Event(), threading.Event()
    refresher._loop.call_soon_threadsafe(lambda: (busy.set(), free.wait(PATIENCE)))
    assert busy.wait(PATIENCE)
    closing = threading.Thread(target=refresher.close)
    until = time.monotonic() + PATIENCE / 2
    closing.start()
    try:
        while not refresher._is_closed:
            assert time.monotonic() < until
            time.sleep(0.001)
        assert pending(keys).done()
        refresher.close()
    finally:
        free.set()
        closing.join(PATIENCE)
    assert not refresher._thread.is_alive()


@pytest.fixture
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let silent places hold theirs for as long as they are silent."""
    monkeypatch.setattr("authz_server.keys.turns.HOLD_SECONDS", 3_600.0)


def places(count: int, name: str = "pool") -> list[Place]:
    """Name pools."""
    return [Place(id=f"{name} {number}", issuer="", jwks=f"{name} {number}") for number in range(count)]


@pytest.mark.usefixtures("_patience")
def test_fetches_at_once_are_bounded(make: Make, pool: UserPool, clock: ManualClock, endpoint: Endpoint, observer: Observer) -> None:
    """With many pools no more than 32 first fetches run at once, and every pool gets its turn."""
    refresher = make()
    endpoint.hold = True
    bound = PLACES[Standing.UNTRIED]
    assert bound == 32
    pools = places(bound + 3)
    for place in pools:
        endpoint.answers.put(pool.jwks_document())
        watched(refresher, place, clock)
    gates = [endpoint.held.get(timeout=PATIENCE) for _ in range(bound)]
    let_run(refresher)

    assert endpoint.held.empty()
    refresher._loop.call_soon_threadsafe(gates[0].set)
    gates[0] = endpoint.held.get(timeout=PATIENCE)
    let_run(refresher)
    assert endpoint.held.empty()
    endpoint.hold = False
    for gate in gates:
        refresher._loop.call_soon_threadsafe(gate.set)
    assert {observer.next().keys.pool for _ in pools} == set(pools)


@pytest.fixture
def _no_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no failed fetch become due by the loop's own time, however long the test takes."""
    monkeypatch.setattr(life_cycle, "FIRST_RETRY_SECONDS", 1e6)
    monkeypatch.setattr(life_cycle, "KEYLESS_RETRY_SECONDS", 1e6)


class World:
    """Places of keys of which some fall silent: whoever asks there waits until the end of the test."""

    def __init__(self, document: bytes) -> None:
        self.silent: set[str] = set()
        self.begun: SimpleQueue[str] = SimpleQueue()
        self._document = document

    async def __call__(self, pool: Place, _: str | None) -> Answer:
        """Fetch."""
        self.begun.put(pool.jwks)
        if pool.jwks in self.silent:
            await asyncio.Event().wait()
        if pool.jwks.startswith("bad"):
            raise FetchError("connection", "refused")
        return Answer(self._document)


@pytest.mark.usefixtures("_patience", "_no_retry")
@pytest.mark.parametrize("asked", [True, False], ids=["that checks wait for", "that are due"])
def test_dead_pools_keep_no_good_pool_from_its_fetch(
    asked: bool,  # noqa: FBT001 - a parameter of the test
    *,
    make: Make,
    pool: UserPool,
    clock: ManualClock,
    observer: Observer,
) -> None:
    """However many pools whose last fetch failed are silent by now, asked for or due, a good one is fetched, asked for or due."""
    world = World(pool.jwks_document())
    refresher = make(world)
    bad = [watched(refresher, place, clock) for place in places(1_000, "bad")]
    good = [watched(refresher, place, clock) for place in places(2, "good")]
    assert {observer.next().keys for _ in (*bad, *good)} == {*bad, *good}
    clock.advance(10.0)
    world.silent |= {keys.pool.jwks for keys in bad}
    for keys in bad:
        if asked:
            pending(keys)
        else:
            renew(refresher, keys)
    let_run(refresher)
    world.begun = SimpleQueue()
    waiting = pending(good[0])
    renew(refresher, good[1])

    assert waiting.result(PATIENCE) is None
    assert {observer.next().keys for _ in good} == set(good)
    let_run(refresher)
    assert {world.begun.get_nowait() for _ in good} == {"good 0", "good 1"}
    assert world.begun.empty()


@pytest.mark.usefixtures("_patience")
def test_a_first_fetch_that_a_check_waits_for_overtakes(make: Make, pool: UserPool, clock: ManualClock, endpoint: Endpoint) -> None:
    """At the start nobody knows who is silent: of thousands the one whose token comes is fetched as soon as two places are free."""
    refresher = make()
    endpoint.hold = True
    for place in places(1_000):
        watched(refresher, place, clock)
    keys = watched(refresher, places(1, "wanted")[0], clock)
    gates = [endpoint.held.get(timeout=PATIENCE) for _ in range(PLACES[Standing.UNTRIED])]
    let_run(refresher)  # it stands in line
    pending(keys)
    let_run(refresher)
    for gate in gates[:2]:
        endpoint.answers.put(pool.jwks_document())
        refresher._loop.call_soon_threadsafe(gate.set)
        endpoint.held.get(timeout=PATIENCE)

    begun = [endpoint.begun.get_nowait() for _ in range(len(gates) + 2)]
    assert "wanted 0" in begun


def test_names_that_nobody_knows_keep_no_thread_from_others(make: Make, pool: UserPool, clock: ManualClock, observer: Observer) -> None:
    """A fetch that is given up leaves a thread behind which still asks for a name; there are enough for those who come later."""
    known = threading.Event()

    async def fetch(place: Place, _: str | None) -> Answer:
        silent = place.jwks.startswith("silent")
        try:
            async with asyncio.timeout(0.01 if silent else PATIENCE):
                await asyncio.to_thread(known.wait if silent else pool.jwks_document)
        except TimeoutError:
            raise FetchError("timeout", "no answer") from None
        return Answer(pool.jwks_document())

    refresher = make(fetch)
    try:
        silent = [watched(refresher, place, clock) for place in places(100, "silent")]
        assert {observer.next().keys for _ in silent} == set(silent)
        watched(refresher, places(1, "good")[0], clock)
        assert observer.next().outcome == "ok"
    finally:
        known.set()


def test_what_became_due_while_the_machine_slept_is_fetched_soon(
    make: Make,
    pool: UserPool,
    place: Place,
    clock: ManualClock,
    endpoint: Endpoint,
    observer: Observer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Timers of the loop stand still meanwhile, and so the clock is looked at now and then; what is not due is left alone."""
    assert refreshing.LOOK_SECONDS == 10.0
    monkeypatch.setattr(refreshing, "LOOK_SECONDS", 0.01)
    endpoint.answers.put(pool.jwks_document())
    endpoint.answers.put(Answer(pool.jwks_document(), None, 900.0))
    refresher = make()
    keys = watched(refresher, place, clock)
    later = watched(refresher, replace(place, id="later"), clock)
    assert {observer.next().keys for _ in range(2)} == {keys, later}
    assert keys.state.due < later.state.due
    endpoint.answers.put(pool.jwks_document())
    clock.advance(600.0)

    assert observer.next().keys is keys
    assert observer.told.empty()


def test_a_rotation_is_noticed_at_once_whatever_is_made_up_for_other_pools(
    make: Make, pool: UserPool, rotating: UserPool, clock: ManualClock, observer: Observer
) -> None:
    """Where kids are made up for three hundred pools, each costs one fetch, and the next one is put off; the pool beside them has its new key at once."""
    begun: list[str] = []
    documents: dict[str, bytes] = {}

    async def fetch(place: Place, _: str | None) -> Answer:
        begun.append(place.jwks)
        return Answer(documents.get(place.jwks, pool.jwks_document()))

    refresher = make(fetch)
    store = KeyStore(clock, refresher)
    quiet, *attacked = [store.keys(place) for place in places(301)]
    for _ in store.all():
        observer.next()
    clock.advance(11.0)
    for waiting in [pending(keys, "made up") for keys in attacked]:
        waiting.result(PATIENCE)
    clock.advance(11.0)
    for keys in attacked[200:]:
        with pytest.raises(Denied):
            keys.find("made up, too")
    let_run(refresher)
    assert len(begun) == 301 + 300

    rotating.rotate()
    documents[quiet.pool.jwks] = rotating.jwks_document()
    pending(quiet, rotating.id_key.kid).result(PATIENCE)
    assert quiet.find(rotating.id_key.kid).kid == rotating.id_key.kid
    clock.advance(20.0)
    pending(attacked[200], "made up again").result(PATIENCE)
    assert len(begun) == 301 + 300 + 2


@pytest.mark.usefixtures("_no_retry")
def test_a_pool_without_keys_is_never_put_off(make: Make, pool: UserPool, clock: ManualClock, observer: Observer) -> None:
    """There the kid of every good token is unseen."""
    store = KeyStore(clock, make(World(pool.jwks_document())))
    all_keys = [store.keys(place) for place in places(300, "bad")]
    for _ in range(3):
        for _ in all_keys:
            assert observer.next().outcome == "connection"
        clock.advance(10.0)
        for keys in all_keys:
            pending(keys, "of a good token")
