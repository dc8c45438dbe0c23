"""The life of a key set: good keys outlive an outage by a day, removed keys are gone, and unseen kids cost one fetch in ten seconds."""

from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Final, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from authz_server.core.authorizers import KeysPending
from authz_server.core.decisions import Denied
from authz_server.core.reasons import Reason
from authz_server.core.tokens import Key
from authz_server.core.user_pools import KeySettings, UserPool
from authz_server.keys.jwks import KeySet
from authz_server.keys.life_cycle import (
    KEYLESS_RETRY_SECONDS,
    MAX_ABSENT_KIDS,
    REFRESH_SECONDS,
    UNSEEN_KID_SECONDS,
    Absence,
    Good,
    Kept,
    Miss,
    PoolState,
    configured,
    failed,
    fetched,
    find,
    is_in_vain,
    restored,
)
from authz_server.keys.store import PoolKeys
from authz_server.testing import ManualClock

DAY: Final = 86_400.0
KEY: Final = Key("known", cast("Any", None))


def key_set(*kids: str) -> KeySet:
    """Make a key set of keys that are never used to verify."""
    return KeySet(keys={kid: Key(kid, cast("Any", None)) for kid in kids})


KNOWN: Final = key_set("known")
START: Final = PoolState(due=0.0)
FIRST_GOOD: Final = fetched(START, Good(KNOWN), 100.0, 0.0)
SECOND_GOOD: Final = fetched(FIRST_GOOD, Good(KNOWN), 400.0, 0.0)
FIRST_BAD: Final = failed(START, 100.0, 0.0)
GOOD_AT_LAST: Final = fetched(FIRST_BAD, Good(KNOWN), 101.0, 0.0)
OUTAGE: Final = failed(failed(SECOND_GOOD, 700.0, 0.0), 701.0, 0.0)


@pytest.mark.parametrize(
    ("state", "now", "known", "unseen"),
    [
        # before and after the first fetch
        pytest.param(START, 0.0, Miss.FETCH, Miss.FETCH, id="the first fetch is under way"),
        pytest.param(START, 5_000.0, Miss.FETCH, Miss.FETCH, id="the first fetch takes long"),
        pytest.param(FIRST_GOOD, 100.0, KEY, Miss.FETCH, id="the first fetch does not spend the ten seconds"),
        pytest.param(FIRST_BAD, 100.0, Miss.UNAVAILABLE, Miss.UNAVAILABLE, id="the first fetch failed"),
        pytest.param(FIRST_BAD, 109.9, Miss.UNAVAILABLE, Miss.UNAVAILABLE, id="the first fetch failed a while ago"),
        pytest.param(FIRST_BAD, 110.0, Miss.FETCH, Miss.FETCH, id="the first fetch failed ten seconds ago: one more try"),
        pytest.param(GOOD_AT_LAST, 101.0, KEY, Miss.ABSENT, id="the second fetch is no start-up fetch"),
        # a fresh set
        pytest.param(SECOND_GOOD, 400.0, KEY, Miss.ABSENT, id="fetched just now"),
        pytest.param(SECOND_GOOD, 409.9, KEY, Miss.ABSENT, id="fetched less than ten seconds ago"),
        pytest.param(SECOND_GOOD, 410.0, KEY, Miss.FETCH, id="fetched ten seconds ago"),
        pytest.param(SECOND_GOOD, 700.0, KEY, Miss.FETCH, id="a refresh is due"),
        pytest.param(failed(SECOND_GOOD, 405.0, 0.0), 406.0, KEY, Miss.UNAVAILABLE, id="a good fetch, then soon a failed one"),
        # an outage
        pytest.param(OUTAGE, 701.0, KEY, Miss.UNAVAILABLE, id="a refresh failed just now"),
        pytest.param(OUTAGE, 710.9, KEY, Miss.UNAVAILABLE, id="a refresh failed less than ten seconds ago"),
        pytest.param(OUTAGE, 711.0, KEY, Miss.FETCH, id="a refresh failed ten seconds ago"),
        pytest.param(OUTAGE, 400.0 + DAY, KEY, Miss.FETCH, id="the last good fetch was exactly a day ago"),
        pytest.param(OUTAGE, 400.1 + DAY, Miss.FETCH, Miss.FETCH, id="stale: one more try"),
        pytest.param(
            failed(OUTAGE, 401.0 + DAY, 0.0), 402.0 + DAY, Miss.UNAVAILABLE, Miss.UNAVAILABLE, id="stale, and the last try failed"
        ),
        pytest.param(fetched(OUTAGE, Good(KNOWN), 800.0, 0.0), 801.0, KEY, Miss.ABSENT, id="the outage is over"),
        pytest.param(fetched(OUTAGE, Good(key_set("other")), 800.0, 0.0), 801.0, Miss.ABSENT, Miss.ABSENT, id="the key has left the set"),
    ],
)
def test_what_a_kid_finds(state: PoolState, now: float, known: Key | Miss, unseen: Key | Miss) -> None:
    """Each moment in the life of a key set has one answer for a kid that was in it, and one for a kid that was never seen."""
    assert find(state, "known", now) == known
    assert find(state, "unseen", now) is unseen


@pytest.mark.parametrize(
    ("failures", "wait"),
    [(0, 1.0), (1, 2.0), (2, 4.0), (3, 8.0), (7, 128.0), (8, 256.0), (9, 300.0), (10, 300.0), (5_000, 300.0)],
)
def test_tries_become_rarer(failures: int, wait: float) -> None:
    """After a failed fetch the next wait is twice the last one, from one second up to the refresh interval, while there are keys."""
    state = failed(replace(FIRST_GOOD, failures=failures), 1_000.0, 0.0)

    assert state.due == 1_000.0 + wait
    assert state.failures == failures + 1


@pytest.mark.parametrize("failures", [0, 3, 4, 7, 5_000])
@pytest.mark.parametrize("spread", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("state", [START, replace(FIRST_GOOD, fetched_at=900.0 - DAY)], ids=["it never had keys", "its keys are too old"])
def test_a_pool_without_keys_is_asked_again_within_ten_seconds(state: PoolState, spread: float, failures: int) -> None:
    """However long the outage, and however often a fetch has failed before the keys became too old."""
    waited = failed(replace(state, failures=failures), 1_000.0, spread).due - 1_000.0

    assert 0.5 < waited <= KEYLESS_RETRY_SECONDS == 10.0


@pytest.mark.parametrize("outage", [20.0, 70.0, 130.0, 3_600.0])
@pytest.mark.parametrize("spread", [-1.0, -0.3, 0.0, 1.0])
@pytest.mark.parametrize("duration", [0.0, 1.5], ids=["refused", "silent"])
def test_a_start_in_an_outage_ends_with_it(outage: float, spread: float, duration: float) -> None:
    """Without a single check, keys are there 15 seconds after the endpoint is back: fetches alone bring them."""
    state, now = START, 0.0
    while not state.usable(now):
        began = state.due
        now = began + (duration if began < outage else 0.1)
        state = fetched(state, Good(KNOWN), now, spread) if began >= outage else failed(state, now, spread)

    assert now <= outage + 15.0


@pytest.mark.parametrize(("spread", "factor"), [(-1.0, 0.9), (0.0, 1.0), (0.5, 1.05), (1.0, 1.1)])
def test_replicas_do_not_fetch_in_step(spread: float, factor: float) -> None:
    """A random tenth more or less is added to every wait, after good and bad fetches."""
    assert fetched(START, Good(KNOWN), 1_000.0, spread).due == pytest.approx(1_000.0 + 300.0 * factor)
    assert failed(OUTAGE, 1_000.0, spread).due == pytest.approx(1_000.0 + 4.0 * factor)


def test_a_good_fetch_ends_an_outage() -> None:
    """Failures are forgotten, and the new set replaces the old one whole."""
    state = fetched(OUTAGE, Good(key_set("new")), 900.0, 0.0)

    assert (state.failures, state.fetched_at, state.attempted_at) == (0, 900.0, 900.0)
    assert list(state.key_set.keys) == ["new"]


def test_a_failed_fetch_keeps_the_keys() -> None:
    """The set and its age stay as they were."""
    state = failed(SECOND_GOOD, 700.0, 0.0)

    assert (state.key_set, state.fetched_at) == (KNOWN, 400.0)
    assert state.attempted_at == 700.0


def test_usable_is_a_day() -> None:
    """Keys count as there for 24 hours after the last good fetch."""
    assert not START.usable(0.0)
    assert not FIRST_BAD.usable(100.0)
    assert SECOND_GOOD.usable(400.0 + DAY)
    assert not SECOND_GOOD.usable(400.1 + DAY)


def test_the_limits_are_those_that_are_written_down() -> None:
    """Five minutes, ten seconds, a day."""
    assert (REFRESH_SECONDS, UNSEEN_KID_SECONDS, KeySettings().stale_ceiling) == (300.0, 10.0, DAY)


@pytest.mark.parametrize(
    ("max_age", "wait"), [(None, 300.0), (0.0, 60.0), (59.0, 60.0), (61.0, 61.0), (600.0, 600.0), (901.0, 900.0), (86_400.0, 900.0)]
)
def test_max_age_moves_the_refresh_within_bounds(max_age: float | None, wait: float) -> None:
    """The next fetch is due when the answer says that it goes stale, between a minute and a quarter of an hour."""
    assert fetched(START, Good(KNOWN, max_age=max_age), 1_000.0, 0.0).due == 1_000.0 + wait


@pytest.mark.parametrize(("ceiling", "wait"), [(60.0, 30.0), (599.0, 299.5), (600.0, 300.0), (DAY, 300.0)])
def test_a_small_ceiling_leaves_time_for_a_second_try(ceiling: float, wait: float) -> None:
    """Keys are fetched again at half their ceiling, or earlier."""
    assert fetched(PoolState(due=0.0, ceiling=ceiling), Good(KNOWN), 1_000.0, 0.0).due == 1_000.0 + wait


def test_the_ceiling_is_the_pools() -> None:
    """Keys are used for as long as the configuration says, whatever else they went through."""
    state = failed(fetched(PoolState(due=0.0, ceiling=100.0), Good(KNOWN), 1_000.0, 1.0), 1_055.0, 0.0)

    assert find(state, "known", 1_100.0) == KEY
    assert find(state, "known", 1_100.1) is Miss.FETCH


def test_the_moment_at_which_keys_become_too_old_is_worth_a_try() -> None:
    """A wait that would pass the ceiling ends there: whoever shows readiness then learns that the keys are gone."""
    old = failed(failed(SECOND_GOOD, 300.0 + DAY, 0.0), 399.5 + DAY, 0.0)
    assert old.due == 400.0 + DAY

    assert failed(old, 400.0 + DAY, 0.0).due == 404.0 + DAY
    assert failed(old, 400.1 + DAY, 0.0).due == pytest.approx(404.1 + DAY)


def test_the_keys_of_an_earlier_process_are_as_old_as_they_are() -> None:
    """They answer at once, are due at once, and end when they would have ended."""
    state = restored(START, Kept(KNOWN, '"v1"', 3_600.0), 100.0)

    assert (state.due, state.fetched_at, state.changed_at, state.attempted_at, state.etag) == (0.0, -3_500.0, -3_500.0, None, '"v1"')
    assert find(state, "known", 100.0) == KEY
    assert state.fresh_until < 100.0
    assert find(state, "unseen", 100.0) is Miss.FETCH
    assert find(failed(state, 101.0, 0.0), "unseen", 102.0) is Miss.UNAVAILABLE
    assert find(state, "known", DAY - 3_500.0) == KEY
    assert find(state, "known", DAY - 3_499.9) is Miss.FETCH
    good = fetched(state, Good(KNOWN), 101.0, 0.0)
    assert (good.changed_at, good.settled_until) == (-3_500.0, 101.0)


def test_a_set_changes_when_its_keys_do() -> None:
    """A fetch that brings the same keys makes them fresh and not new."""
    assert [state.changed_at for state in (FIRST_GOOD, SECOND_GOOD, OUTAGE)] == [100.0] * 3
    assert fetched(SECOND_GOOD, Good(key_set("known", "more")), 700.0, 0.0).changed_at == 700.0


def test_new_settings_count_at_once() -> None:
    """A lower ceiling ends keys that are fresh by the old one; a higher one brings those back that were too old."""
    lower = configured(SECOND_GOOD, KeySettings(stale_ceiling=60.0))
    assert find(lower, "known", 460.0) == KEY
    assert find(lower, "known", 460.1) is Miss.FETCH

    higher = configured(OUTAGE, KeySettings(stale_ceiling=2 * DAY))
    assert find(higher, "known", 400.0 + 2 * DAY) == KEY
    assert higher.fresh_until == OUTAGE.fresh_until


def in_vain(state: PoolState, now: float, *kids: str, keys: KeySet = KNOWN) -> PoolState:
    """Let a fetch end that checks waited for with some kids."""
    return fetched(state, Good(keys, asked=frozenset(kids)), now, 0.0)


def test_a_kid_that_stays_away_costs_ever_fewer_fetches() -> None:
    """After each fetch in vain its next one may come 10 s, 20 s, 40 s … 5 min later; other kids do not wait for that."""
    state, now = SECOND_GOOD, 500.0
    for wait in (10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0):
        state = in_vain(state, now, "gone")
        assert find(state, "gone", now + wait - 0.1) is Miss.ABSENT
        assert find(state, "gone", now + wait) is Miss.FETCH
        assert find(state, "other", now + 10.0) is Miss.FETCH
        now += wait


def test_refreshes_that_nobody_waits_for_change_no_memory() -> None:
    """A regular fetch in between neither forgets a kid nor counts against it."""
    state = in_vain(in_vain(SECOND_GOOD, 500.0, "gone"), 510.0, "gone")
    again = in_vain(state, 515.0)

    assert again.absent == state.absent == {"gone": Absence(530.0, 20.0)}


def test_a_kid_that_appears_is_found_and_forgotten() -> None:
    """Memory never stands before a key: whatever fetch brings it makes it good at once."""
    state = in_vain(in_vain(SECOND_GOOD, 500.0, "new"), 501.0, keys=key_set("known", "new"))

    assert find(state, "new", 501.0).kid == "new"
    assert state.absent == {}


def test_absence_is_not_told_in_an_outage() -> None:
    """While fetches fail, nothing can be said about a kid that was absent before."""
    state = failed(in_vain(in_vain(SECOND_GOOD, 500.0, "gone"), 510.0, "gone"), 511.0, 0.0)

    assert find(state, "gone", 512.0) is Miss.UNAVAILABLE


def test_the_memory_of_absent_kids_is_bounded() -> None:
    """The latest 256 are remembered, and none for more than five minutes after it is worth another fetch."""
    state = in_vain(SECOND_GOOD, 500.0, "first")
    state = in_vain(state, 510.0, *(f"kid-{number}" for number in range(300)))
    assert len(state.absent) == MAX_ABSENT_KIDS == 256
    assert "first" not in state.absent

    assert len(in_vain(state, 819.9).absent) == 256
    assert in_vain(state, 820.0).absent == {}


def test_a_kid_that_was_asked_for_again_is_among_the_latest() -> None:
    """What is forgotten first is what nobody has asked for the longest."""
    state = in_vain(in_vain(SECOND_GOOD, 500.0, "a"), 501.0, "b")

    assert list(in_vain(state, 510.0, "a").absent) == ["b", "a"]


def test_who_waited_for_the_first_fetch_has_his_answer() -> None:
    """A kid that waited is absent and no longer pending; a second later it is worth the fetch that the first one did not spend."""
    state = in_vain(START, 100.0, "made up")

    assert find(state, "made up", 100.9) is Miss.ABSENT
    assert find(state, "another", 100.0) is Miss.FETCH
    assert find(state, "made up", 101.0) is Miss.FETCH
    assert in_vain(state, 101.0, "made up").absent == {"made up": Absence(111.0, 10.0)}


@pytest.mark.parametrize(
    ("before", "after", "now", "expected"),
    [
        pytest.param(SECOND_GOOD, fetched(SECOND_GOOD, Good(KNOWN), 500.0, 0.0), 500.0, True, id="the same keys"),
        pytest.param(SECOND_GOOD, failed(SECOND_GOOD, 500.0, 0.0), 500.0, True, id="a failure"),
        pytest.param(SECOND_GOOD, fetched(SECOND_GOOD, Good(key_set("new")), 500.0, 0.0), 500.0, False, id="other keys"),
        pytest.param(SECOND_GOOD, fetched(SECOND_GOOD, Good(KNOWN), 700.0, 0.0), 700.0, False, id="it was due"),
        pytest.param(START, FIRST_GOOD, 100.0, False, id="the first fetch"),
        pytest.param(FIRST_BAD, failed(FIRST_BAD, 100.5, 0.0), 100.5, False, id="no keys yet"),
    ],
)
def test_a_fetch_is_in_vain_when_nothing_but_unseen_kids_asked_for_it(
    *, before: PoolState, after: PoolState, now: float, expected: bool
) -> None:
    """It was not due, there were keys already, and it brought no others."""
    assert is_in_vain(before, after, now) is expected


class Life(RuleBasedStateMachine):
    """A pool over days: it rotates, its endpoint comes and goes, and checks ask for keys that are there, gone, or made up."""

    @initialize()
    def begin(self) -> None:
        """Start a process."""
        self.clock = ManualClock(1_000.0)
        self.asked = 0
        self.keys = PoolKeys(UserPool(id="p", issuer="i", jwks="https://keys.test"), self.clock, self._ask)
        self.reachable = True
        self.published = ["kid-0", "kid-1"]
        self.rotations = 1
        self.good: list[str] | None = None  # what the last good fetch brought
        self.good_at = self.tried_at = 0.0
        self.tries = 0
        self.last_try_failed = False
        self.demanded_at = -DAY  # when a fetch was last asked for
        self.waiting: list[Future[None]] = []
        self.in_vain: dict[str, tuple[float, float]] = {}  # until when a kid is taken to be absent, and how long that is

    def _ask(self, keys: PoolKeys) -> None:
        """Take note that a check asks for a fetch."""
        assert keys is self.keys
        self.asked += 1
        assert self.asked == 1, "one fetch at a time"
        if self.tries:  # the first fetch comes anyway, only sooner
            assert self.clock.now - self.demanded_at >= UNSEEN_KID_SECONDS, "at most one fetch in ten seconds is asked for"
            self.demanded_at = self.clock.now

    def _fetch(self, spread: float, max_age: float | None) -> None:
        """Let a fetch end."""
        if self.reachable:
            asked = self.keys.asked()
            for kid in asked - set(self.published):
                first = 10.0 if self.tries else 1.0
                wait = max(10.0, min(2 * self.in_vain[kid][1], 300.0)) if kid in self.in_vain else first
                self.in_vain[kid] = self.clock.now + wait, wait
            good = Good(key_set(*self.published), max_age=max_age, asked=asked)
            self.keys.put(fetched(self.keys.state, good, self.clock.now, spread))
            self.good, self.good_at = list(self.published), self.clock.now
        else:
            self.keys.put(failed(self.keys.state, self.clock.now, spread))
        self.last_try_failed = not self.reachable
        self.tried_at = self.clock.now
        self.tries += 1
        self.asked = 0
        assert all(future.done() for future in self.waiting), "whoever waits is woken by good and bad fetches alike"
        self.waiting.clear()

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 9.0, 10.0, 11.0, 60.0, 300.0, 3_600.0, 43_200.0, DAY]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    @rule()
    def rotate(self) -> None:
        """Publish a new key and withdraw the oldest."""
        self.rotations += 1
        self.published = [self.published[-1], f"kid-{self.rotations}"]

    @rule(reachable=st.booleans())
    def come_and_go(self, *, reachable: bool) -> None:
        """Begin or end an outage."""
        self.reachable = reachable

    @precondition(lambda self: self.clock.now >= self.keys.state.due or self.asked)
    @rule(spread=st.floats(-1, 1), max_age=st.none() | st.floats(0, DAY))
    def fetch(self, spread: float, max_age: float | None) -> None:
        """Let the fetch end that is due or was asked for."""
        self._fetch(spread, max_age)

    @rule(choose=st.integers(-1, 40))
    def check(self, choose: int) -> None:
        """Ask for a key that was once published, or that never was."""
        kid = f"kid-{choose % (self.rotations + 1)}" if choose >= 0 else "made up"
        age = self.clock.now - self.good_at
        held = self.good is not None and age <= DAY and kid in self.good
        found = self._find(kid)
        assert isinstance(found, Key) == held, "a key is found exactly while it is in a good set that is not too old"
        if isinstance(found, Key):
            assert found.kid == kid
        elif isinstance(found, Future):
            assert not found.done()
            assert self.asked
            self.waiting.append(found)
            assert all(future is found for future in self.waiting), "one fetch is shared by all who wait"
        elif found is Reason.KEY_UNKNOWN:
            assert not self.last_try_failed
            remembered = kid in self.in_vain and self.clock.now < self.in_vain[kid][0]
            assert age < UNSEEN_KID_SECONDS or remembered, "a kid is unknown by a set fetched less than ten seconds ago, or in vain before"
        else:
            assert found is Reason.KEYS_UNAVAILABLE
            assert self.last_try_failed
            assert self.clock.now - self.tried_at < UNSEEN_KID_SECONDS

    def _find(self, kid: str) -> Key | Future[None] | Reason:
        """Find a key, or what to wait for, or why there is none."""
        try:
            return self.keys.find(kid)
        except KeysPending as pending:
            return pending.fetch
        except Denied as denied:
            return denied.reason

    @invariant()
    def good_keys_are_never_lost(self) -> None:
        """Every key of the last good set is found for a day, whatever happens meanwhile."""
        if self.good is not None and self.clock.now - self.good_at <= DAY:
            for kid in self.good:
                assert self.keys.find(kid).kid == kid

    @invariant()
    def the_next_try_is_never_far(self) -> None:
        """However long an outage lasts, the next fetch is at most a quarter of an hour and a tenth away from the last one; ten seconds without keys."""
        last = max(self.tried_at, 1_000.0)
        farthest = 900.0 * 1.1 if self.keys.state.usable(last) else KEYLESS_RETRY_SECONDS
        assert self.keys.state.due - last <= farthest + 1e-6


TestLife: Final = Life.TestCase
TestLife.settings = settings(max_examples=200, stateful_step_count=60)
