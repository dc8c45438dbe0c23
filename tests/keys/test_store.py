"""The store gives checks a snapshot, and one shared fetch for all who wait."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest

from authz_server.core.authorizers import KeysPending
from authz_server.core.decisions import Denied
from authz_server.core.reasons import Reason
from authz_server.core.tokens import Key
from authz_server.core.user_pools import KeySettings
from authz_server.core.user_pools import UserPool as Place
from authz_server.keys.bookings import Bookings
from authz_server.keys.jwks import KeySet, parse
from authz_server.keys.life_cycle import Good, Kept, Miss, PoolState, failed, fetched
from authz_server.keys.store import KeyStore, PoolKeys
from authz_server.testing import ManualClock, UserPool
from tests.waiting import PATIENCE


class Recorder:
    """A refresher that fetches nothing and writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, PoolKeys]] = []

    def watch(self, keys: PoolKeys) -> None:
        """Take note."""
        self.told.append(("watch", keys))

    def unwatch(self, keys: PoolKeys) -> None:
        """Take note."""
        self.told.append(("unwatch", keys))

    def ask(self, keys: PoolKeys) -> None:
        """Take note."""
        self.told.append(("ask", keys))

    def renew(self, keys: PoolKeys) -> None:
        """Take note."""
        self.told.append(("renew", keys))

    def configure(self, keys: PoolKeys, pool: Place) -> None:
        """Take note, and do it."""
        self.told.append(("configure", keys))
        keys.configure(pool)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock(1_000.0)


@pytest.fixture
def refresher() -> Recorder:
    """A refresher that does nothing."""
    return Recorder()


@pytest.fixture
def keys(place: Place, clock: ManualClock, refresher: Recorder) -> PoolKeys:
    """The keys of a pool whose first fetch is under way."""
    return PoolKeys(place, clock, refresher.ask)


@pytest.fixture
def good(pool: UserPool) -> KeySet:
    """What a good fetch brings."""
    return parse(pool.jwks_document())


def pending(keys: PoolKeys, kid: str = "unseen") -> Future[None]:
    """Ask for a key that is being fetched."""
    with pytest.raises(KeysPending) as caught:
        keys.find(kid)
    return caught.value.fetch


def refused(keys: PoolKeys, kid: str = "unseen") -> Reason:
    """Ask for a key that there is not."""
    with pytest.raises(Denied) as caught:
        keys.find(kid)
    return caught.value.reason


def settle(keys: PoolKeys, good: KeySet, clock: ManualClock) -> None:
    """Let the first fetch end well, and ten seconds pass."""
    keys.put(fetched(keys.state, Good(good), clock.now, 0.0))
    clock.advance(10.0)


def test_checks_join_the_first_fetch(keys: PoolKeys, good: KeySet, pool: UserPool, clock: ManualClock, refresher: Recorder) -> None:
    """Until the first fetch has ended every check waits for it; the first one asks for it to come soon, and nobody asks for another one."""
    first = pending(keys)

    assert pending(keys, pool.id_key.kid) is first
    assert not first.done()
    keys.put(fetched(keys.state, Good(good), clock.now, 0.0))
    assert first.done()
    assert first.result(timeout=0) is None
    assert keys.find(pool.id_key.kid) == good.keys[pool.id_key.kid]
    assert refresher.told == [("ask", keys)]


def test_a_failed_fetch_wakes_those_who_wait(keys: PoolKeys, clock: ManualClock) -> None:
    """They then learn that nothing can be said."""
    first = pending(keys)
    keys.put(failed(keys.state, clock.now, 0.0))

    assert first.done()
    assert refused(keys) is Reason.KEYS_UNAVAILABLE


def test_a_check_that_waited_for_the_first_fetch_is_told_that_its_kid_is_unknown(
    keys: PoolKeys, good: KeySet, clock: ManualClock, refresher: Recorder
) -> None:
    """Keys are there, so it is the token that is wrong (401), and not the keys that are missing (503); nobody asks a second time for it."""
    first = pending(keys, "made up")
    keys.put(fetched(keys.state, Good(good, asked=keys.asked()), clock.now, 0.0))

    assert first.done()
    assert refused(keys, "made up") is Reason.KEY_UNKNOWN
    assert refresher.told == [("ask", keys)]


def test_an_unseen_kid_asks_for_one_shared_fetch(keys: PoolKeys, good: KeySet, clock: ManualClock, refresher: Recorder) -> None:
    """The first check asks, the others join; after the fetch the kid is unknown, or found."""
    settle(keys, good, clock)
    fetch = pending(keys)

    assert pending(keys, "another") is fetch
    assert refresher.told == [("ask", keys)]
    keys.put(fetched(keys.state, Good(KeySet(keys={"another": Key("another", good.keys[next(iter(good.keys))].rsa)})), clock.now, 0.0))
    assert fetch.done()
    assert refused(keys) is Reason.KEY_UNKNOWN
    assert keys.find("another").kid == "another"
    assert refresher.told == [("ask", keys)]


def test_known_kids_do_not_wait(keys: PoolKeys, good: KeySet, pool: UserPool, clock: ManualClock) -> None:
    """While a fetch for an unseen kid is under way, tokens with known kids are verified as ever."""
    settle(keys, good, clock)
    fetch = pending(keys)

    assert keys.find(pool.access_key.kid).kid == pool.access_key.kid
    assert not fetch.done()


def test_a_check_that_comes_late_does_not_ask_again(place: Place, good: KeySet, refresher: Recorder) -> None:
    """A fetch that ends between a check's look and its question answers the question: the check looks again at once."""
    clock = ManualClock(1_000.0)
    arrival = []

    def ticking() -> float:
        """Tell the time; a fetch may end at this very moment."""
        while arrival:
            keys.put(arrival.pop())
        return clock.now

    keys = PoolKeys(place, ticking, refresher.ask)
    settle(keys, good, clock)
    arrival.append(fetched(keys.state, Good(good), clock.now, 0.0))
    fetch = pending(keys)

    assert fetch.done()
    assert refused(keys) is Reason.KEY_UNKNOWN
    assert refresher.told == []


def test_nobody_can_cancel_a_shared_fetch(keys: PoolKeys, good: KeySet, clock: ManualClock) -> None:
    """A check that gives up leaves the fetch to the others, and to the refresher."""
    first = pending(keys)

    assert not first.cancel()
    settle(keys, good, clock)
    second = pending(keys)
    assert not second.cancel()
    settle(keys, good, clock)
    assert [fetch.result(timeout=0) for fetch in (first, second)] == [None, None]


def test_release_wakes_without_a_fetch(keys: PoolKeys) -> None:
    """Keys that nobody refreshes any more keep nobody waiting, and stay what they were."""
    state = keys.state
    first = pending(keys)
    keys.release()

    assert first.done()
    assert keys.state is state
    keys.release()
    assert keys.state is state


def test_many_threads_share_one_fetch(keys: PoolKeys, good: KeySet, clock: ManualClock, refresher: Recorder) -> None:
    """However many checks ask at once, one fetch is asked for and all of them wait for it."""
    settle(keys, good, clock)
    together = threading.Barrier(16)

    def check(number: int) -> Future[None]:
        together.wait(timeout=PATIENCE)
        return pending(keys, f"unseen {number}")

    with ThreadPoolExecutor(16) as threads:
        fetches = set(threads.map(check, range(16)))

    assert len(fetches) == 1
    assert refresher.told == [("ask", keys)]


def test_the_store_holds_one_object_per_pool(place: Place, clock: ManualClock, refresher: Recorder) -> None:
    """The same pool has the same keys, also in the next generation, and is watched once."""
    store = KeyStore(clock, refresher)
    keys = store.keys(place)

    assert store.keys(replace(place)) is keys
    assert keys.pool == place
    assert refresher.told == [("watch", keys)]
    assert store.all() == (keys,)


def test_an_unseen_kid_asks_the_stores_refresher(place: Place, good: KeySet, clock: ManualClock, refresher: Recorder) -> None:
    """Keys of the store know whom to ask, and what time it is."""
    keys = KeyStore(clock, refresher).keys(place)
    assert keys.state == PoolState(due=1_000.0)
    settle(keys, good, clock)
    pending(keys)

    assert refresher.told == [("watch", keys), ("ask", keys)]


@pytest.mark.parametrize("change", [{"id": "other"}, {"issuer": "other"}, {"jwks": "other"}], ids=lambda change: next(iter(change)))
def test_keys_are_bound_to_pool_issuer_and_place(change: dict[str, str], place: Place, clock: ManualClock, refresher: Recorder) -> None:
    """Keys from another place, or for another pool or issuer, are never reused."""
    store = KeyStore(clock, refresher)

    assert store.keys(replace(place, **change)) is not store.keys(place)
    assert len(store.all()) == 2


def test_pools_that_left_the_configuration_are_forgotten(place: Place, clock: ManualClock, refresher: Recorder) -> None:
    """What the new generation does not name is unwatched, and would begin anew if it came back."""
    store = KeyStore(clock, refresher)
    gone, kept = store.keys(place), store.keys(replace(place, id="kept"))
    store.keep((kept.pool, replace(place, id="never held")))

    assert store.all() == (kept,)
    assert refresher.told[2:] == [("unwatch", gone)]
    assert store.keys(place) is not gone


@pytest.mark.parametrize(
    ("outcomes", "attempted", "answerable"),
    [
        pytest.param([], True, True, id="no pools"),
        pytest.param(["under way"], False, False, id="first fetch under way"),
        pytest.param(["good"], True, True, id="good"),
        pytest.param(["bad"], True, False, id="bad"),
        pytest.param(["good", "under way"], False, True, id="one under way"),
        pytest.param(["good", "bad"], True, True, id="a dead pool does not make the others unready"),
        pytest.param(["bad", "bad"], True, False, id="all dead"),
        pytest.param(["stale", "bad"], True, False, id="stale counts as dead"),
        pytest.param(["stale", "good"], True, True, id="one stale"),
    ],
)
def test_readiness_follows_the_keys(
    outcomes: list[str], *, attempted: bool, answerable: bool, place: Place, good: KeySet, clock: ManualClock, refresher: Recorder
) -> None:
    """Each pool counts as tried after its first fetch, good or bad; checks can be answered unless every pool lacks keys."""
    store = KeyStore(clock, refresher)
    for number, outcome in enumerate(outcomes):
        keys = store.keys(replace(place, id=f"pool {number}"))
        if outcome == "bad":
            keys.put(failed(keys.state, clock.now, 0.0))
        elif outcome != "under way":
            keys.put(fetched(keys.state, Good(good), clock.now - (86_401.0 if outcome == "stale" else 0.0), 0.0))

    assert store.attempted() is attempted
    assert store.answerable() is answerable


def test_a_key_is_held_while_it_is_in_the_set(keys: PoolKeys, pool: UserPool, clock: ManualClock) -> None:
    """A fetch that brings the same key keeps the very object, one that brings another does not, and no key is held for more than a day."""
    assert not keys.holds(Key("kid", pool.id_key.public))
    keys.put(fetched(keys.state, Good(parse(pool.jwks_document())), clock(), 0.0))
    key = keys.find(pool.id_key.kid)
    keys.put(fetched(keys.state, Good(parse(pool.jwks_document())), clock(), 0.0))
    assert keys.holds(key)
    assert not keys.holds(Key(key.kid, pool.access_key.public))
    clock.advance(86_401)

    assert not keys.holds(key)


def test_new_settings_keep_the_keys(place: Place, good: KeySet, pool: UserPool, clock: ManualClock, refresher: Recorder) -> None:
    """A reload that changes the ceiling or the certificates to trust leaves the keys where they are, and wakes nobody."""
    store = KeyStore(clock, refresher)
    keys = store.keys(place)
    settle(keys, good, clock)
    waiting = pending(keys)
    changed = replace(place, settings=KeySettings(stale_ceiling=60.0, ca_file="/ca.pem"))

    assert store.keys(changed) is keys
    assert store.keys(changed) is keys
    assert refresher.told[2:] == [("configure", keys)]
    assert keys.pool.settings == changed.settings
    assert keys.find(pool.id_key.kid).kid == pool.id_key.kid
    assert not waiting.done()
    clock.advance(51.0)
    assert not keys.holds(good.keys[pool.id_key.kid])


def test_a_draft_that_comes_to_no_good_end_has_no_effect(place: Place, clock: ManualClock, refresher: Recorder) -> None:
    """Keys that are new are watched only meanwhile, and those that are held keep their settings; a draft that does come to its end changes both."""
    store = KeyStore(clock, refresher)
    keys = store.keys(place)
    changed, new = replace(place, settings=KeySettings(stale_ceiling=60.0)), replace(place, id="new")
    refresher.told.clear()
    with suppress(ZeroDivisionError), store.draft() as give:
        assert give(changed) is keys
        dropped = give(new)
        assert give(new) is dropped
        raise ZeroDivisionError
    assert (store.all(), keys.pool.settings) == ((keys,), place.settings)
    assert refresher.told == [("watch", dropped), ("unwatch", dropped)]

    refresher.told.clear()
    with store.draft() as give:
        give(changed)
        added = give(new)
        assert refresher.told == [("watch", added)]
    assert (store.all(), keys.pool.settings) == ((keys, added), changed.settings)
    assert refresher.told == [("watch", added), ("configure", keys)]


def test_kept_keys_answer_at_once(place: Place, good: KeySet, pool: UserPool, clock: ManualClock, refresher: Recorder) -> None:
    """Keys of an earlier process answer while the first fetch runs, for which unseen kids wait; the pool counts as tried."""
    store = KeyStore(clock, refresher, lambda _: Kept(good, '"v1"', 1_000.0))
    keys = store.keys(place)

    assert keys.find(pool.id_key.kid) is good.keys[pool.id_key.kid]
    assert keys.holds(good.keys[pool.id_key.kid])
    assert not pending(keys).done()
    assert (store.attempted(), store.answerable()) == (True, True)
    assert (keys.state.due, keys.state.etag) == (1_000.0, '"v1"')
    clock.advance(85_401.0)
    assert not keys.holds(good.keys[pool.id_key.kid])
    assert (store.attempted(), store.answerable()) == (True, False)


def test_a_first_fetch_is_waited_for_ten_seconds(place: Place, good: KeySet, clock: ManualClock, refresher: Recorder) -> None:
    """A pool whose turn does not come, behind thousands that are silent, no longer makes the others unready; one that comes later has its own time."""
    store = KeyStore(clock, refresher)
    keys, _ = store.keys(place), store.keys(replace(place, id="behind"))
    keys.put(fetched(keys.state, Good(good), clock.now, 0.0))
    clock.advance(9.9)
    assert not store.attempted()
    clock.advance(0.1)
    assert (store.attempted(), store.answerable()) == (True, True)
    store.keys(replace(place, id="later"))
    assert not store.attempted()


def test_kept_keys_that_are_too_old_count_for_nothing(place: Place, good: KeySet, clock: ManualClock, refresher: Recorder) -> None:
    """The first fetch is waited for as if nothing had been kept."""
    store = KeyStore(clock, refresher, lambda _: Kept(good, None, 86_399.0))
    store.keys(place)
    assert store.attempted()
    clock.advance(2.0)

    assert not store.attempted()


def test_without_kept_keys_the_first_fetch_is_waited_for(place: Place, clock: ManualClock, refresher: Recorder) -> None:
    """A directory without keys of a pool changes nothing."""
    store = KeyStore(clock, refresher, lambda _: None)

    assert store.keys(place).state == PoolState(due=1_000.0)
    assert not store.attempted()


def test_uses_of_keys_past_their_refresh_are_counted(keys: PoolKeys, good: KeySet, pool: UserPool, clock: ManualClock) -> None:
    """A check counts when it is answered by keys that should have been fetched again ten seconds ago, and by none that are too old."""
    keys.put(fetched(keys.state, Good(good), clock.now, 0.0))
    key = keys.find(pool.id_key.kid)
    clock.advance(310.0)
    keys.find(key.kid)
    assert keys.holds(key)
    assert keys.stale_uses == 0
    clock.advance(0.1)
    keys.find(key.kid)
    assert keys.stale_uses == 1
    assert keys.holds(key)
    assert keys.stale_uses == 2
    clock.advance(86_400.0)
    assert not keys.holds(key)
    pending(keys, key.kid)
    assert keys.stale_uses == 2


def test_unseen_kids_and_waiting_checks_are_counted(keys: PoolKeys, good: KeySet, clock: ManualClock) -> None:
    """Each check without a key counts by what becomes of it; those that wait are counted until the fetch ends."""
    settle(keys, good, clock)
    pending(keys, "a")
    pending(keys, "b")
    assert keys.waiting == 2
    keys.put(fetched(keys.state, Good(good), clock.now, 0.0))
    refused(keys, "a")
    keys.put(failed(keys.state, clock.now, 0.0))
    refused(keys, "a")

    assert keys.waiting == 0
    assert keys.misses == {Miss.ABSENT: 1, Miss.FETCH: 2, Miss.UNAVAILABLE: 1}


def test_kids_that_checks_wait_with_are_known_within_bounds(keys: PoolKeys, good: KeySet, clock: ManualClock) -> None:
    """A storm of kids, or endless ones, is not written down whole; after the fetch nothing is."""
    settle(keys, good, clock)
    pending(keys, "a" * 129)
    assert keys.asked() == frozenset()
    for number in range(300):
        pending(keys, f"{number}")
    assert keys.asked() == {str(number) for number in range(256)}
    keys.put(fetched(keys.state, Good(good), clock.now, 0.0))

    assert keys.asked() == frozenset()


def test_all_keys_can_be_fetched_again(clock: ManualClock, refresher: Recorder, place: Place) -> None:
    """What an operator asks for concerns each pool of the running configuration, and takes no key away."""
    store = KeyStore(clock, refresher)
    keys = [store.keys(place), store.keys(replace(place, id="other"))]
    refresher.told.clear()

    store.renew()

    assert refresher.told == [("renew", each) for each in keys]


def crowd(store: KeyStore, place: Place, good: KeySet, count: int) -> list[PoolKeys]:
    """Have so many pools whose first fetch was good."""
    made = [store.keys(replace(place, id=f"pool {number}")) for number in range(count)]
    for keys in made:
        keys.put(fetched(keys.state, Good(good), keys.state.due, 0.0))
    return made


def attack(crowd: list[PoolKeys], good: KeySet, clock: ManualClock, seconds: int) -> list[int]:
    """Make up a kid for each pool in each second, and let each fetch that a check waits for end at once; count the fetches of each second."""
    counts = []
    for _ in range(seconds):
        clock.advance(1.0)
        count = 0
        for keys in crowd:
            try:
                keys.find(f"made up at {clock.now}")
            except KeysPending:
                keys.put(fetched(keys.state, Good(good, asked=keys.asked()), clock.now, 0.0))
                count += 1
            except Denied:
                pass
        counts.append(count)
    return counts


def test_made_up_kids_cost_one_fetch_per_pool_and_then_ten_a_second_in_all(
    clock: ManualClock, refresher: Recorder, place: Place, good: KeySet
) -> None:
    """Meanwhile tokens of known keys are verified, and the pool that is left in peace has its fetch at once."""
    quiet, *attacked = crowd(KeyStore(clock, refresher), place, good, 501)
    counts = attack(attacked, good, clock, 290)

    assert counts[0] == 500
    assert sum(counts) <= 500 + 10 * 290
    assert max(counts[1:]) <= 100 + 10
    assert max(counts[20:]) <= 10 + 1
    assert refused(attacked[0], "made up") is Reason.KEYS_UNAVAILABLE
    assert attacked[0].find(next(iter(good.keys)))
    pending(quiet, "new")


def test_fewer_than_a_hundred_pools_are_never_put_off(clock: ManualClock, refresher: Recorder, place: Place, good: KeySet) -> None:
    """Each may have a fetch for an unseen kid in ten seconds, as if there were no others."""
    attacked = crowd(KeyStore(clock, refresher), place, good, 99)

    assert attack(attacked, good, clock, 60)[::10] == [99] * 6


@pytest.fixture
def bookings(clock: ManualClock) -> Bookings:
    """Thousands of fetches in vain."""
    made = Bookings()
    for _ in range(9_000):
        made.book(clock.now)
    return made


@pytest.fixture
def resting(place: Place, clock: ManualClock, refresher: Recorder, good: KeySet, bookings: Bookings) -> PoolKeys:
    """Keys with one more, whose settled time is over."""
    keys = PoolKeys(place, clock, refresher.ask, bookings=bookings)
    settle(keys, good, clock)
    pending(keys, "made up")
    settle(keys, good, clock)
    return keys


def test_a_check_does_not_wait_for_a_fetch_that_is_put_off(resting: PoolKeys, pool: UserPool, clock: ManualClock) -> None:
    """Nothing can be said about its key; keys that are here verify; and when a fetch is due, the check joins it."""
    assert refused(resting) is Reason.KEYS_UNAVAILABLE
    assert resting.find(pool.id_key.kid)
    assert resting.misses[Miss.UNAVAILABLE] == 1
    clock.now = resting.state.due
    pending(resting)


def test_a_fetch_that_was_due_gives_a_pool_its_own_fetch_back(resting: PoolKeys, good: KeySet, clock: ManualClock) -> None:
    """Whether checks wait for it or not: it would have been made in any case."""
    clock.now = resting.state.due
    pending(resting)
    settle(resting, good, clock)

    pending(resting)


def test_other_keys_give_a_pool_its_own_fetch_back(resting: PoolKeys, rotating: UserPool, clock: ManualClock) -> None:
    """A pool that rotates is not one that kids are made up for."""
    settle(resting, parse(rotating.jwks_document()), clock)

    pending(resting)


def test_keys_that_leave_book_no_fetch(
    place: Place, clock: ManualClock, refresher: Recorder, good: KeySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks may wait for them at that moment, but nothing was fetched."""
    bookings = Bookings()
    monkeypatch.setattr(bookings, "book", None)
    keys = PoolKeys(place, clock, refresher.ask, bookings=bookings)
    settle(keys, good, clock)
    waiting = pending(keys)
    keys.release()

    assert waiting.done()
