"""The life of a key set as pure functions: state, event and time in, new state out."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Final, NamedTuple

from authz_server.core.tokens import Key
from authz_server.core.user_pools import KeySettings
from authz_server.keys.jwks import KeySet

REFRESH_SECONDS: Final = 300.0  # where the answer has no max-age
LEAST_REFRESH_SECONDS: Final = 60.0
GREATEST_REFRESH_SECONDS: Final = 900.0  # a key that leaves the set stops working within this time, whatever max-age says
LATE_SECONDS: Final = 10.0  # after a fetch became due; then its keys are past their refresh
UNSEEN_KID_SECONDS: Final = 10.0  # at most one fetch for unseen kids in this time
START_UP_ABSENCE_SECONDS: Final = 1.0  # for a kid that waited for the first fetch, which may have come just before its key
FIRST_FETCH_SECONDS: Final = 10.0  # for which a pool that was not tried yet keeps the process from being ready
LONGEST_ABSENCE_SECONDS: Final = 300.0
MAX_ABSENT_KIDS: Final = 256
FIRST_RETRY_SECONDS: Final = 1.0
KEYLESS_RETRY_SECONDS: Final = 10.0  # at most between tries, jitter included, while there are no keys: nothing but a fetch ends that
JITTER: Final = 0.1

_NOBODY: Final[AbstractSet[str]] = frozenset()


class Miss(Enum):
    """Why there is no key for a kid right now."""

    ABSENT = "absent"  # a fresh key set does not have it
    FETCH = "fetch"  # a fetch will tell
    UNAVAILABLE = "unavailable"  # nothing can be said


class Standing(Enum):
    """What is known about the place of a pool's keys."""

    UNTRIED = "untried"
    GOOD = "good"  # its last fetch was
    FAILED = "failed"  # its last fetch has


class Absence(NamedTuple):
    """A kid that a fetch was made for in vain.

    Args:
        until: when it is worth another fetch.
        wait: seconds from the fetch to that moment; twice as long after each fetch in vain.
    """

    until: float
    wait: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """All that is known about the keys of one user pool. Times are seconds of a clock that nobody sets, see `keys.clock`.

    Args:
        due: when the next fetch is due.
        ceiling: seconds for which keys are used after their last good fetch.
        key_set: the last good set.
        fetched_at: when it was fetched.
        changed_at: when its keys were last seen to change.
        fresh_until: until when the set needs no second look; later it is past its refresh, or too old.
        settled_until: until when a kid that the set lacks is taken to be unknown without another fetch.
        attempted_at: when the last fetch ended, good or bad; None before the first.
        failures: fetches that failed since the last good one.
        etag: of the document that the set came from.
        absent: kids that fetches were made for in vain, the latest last.
    """

    due: float
    ceiling: float = KeySettings().stale_ceiling
    key_set: KeySet | None = None
    fetched_at: float = 0.0
    changed_at: float = 0.0
    fresh_until: float = 0.0
    settled_until: float = 0.0
    attempted_at: float | None = None
    failures: int = 0
    etag: str | None = None
    absent: Mapping[str, Absence] = field(default_factory=lambda: MappingProxyType({}))

    def usable(self, now: float) -> bool:
        """Whether there are keys that are not too old."""
        return self.key_set is not None and now - self.fetched_at <= self.ceiling

    def tried(self, now: float) -> bool:
        """Whether nobody needs to wait for the first fetch any more: it has ended, keys are here all the same, or it took too long to come."""
        return self.attempted_at is not None or self.usable(now) or now - self.due >= FIRST_FETCH_SECONDS

    @property
    def standing(self) -> Standing:
        """What is known about the place that its keys come from."""
        if self.attempted_at is None:
            return Standing.UNTRIED
        return Standing.FAILED if self.failures else Standing.GOOD


class Good(NamedTuple):
    """What a good fetch brought.

    Args:
        key_set: the keys; those that left the set are gone.
        etag: of the document, for the next question.
        max_age: seconds for which the endpoint takes its answer to be fresh.
        asked: unseen kids that checks wait with for this fetch.
    """

    key_set: KeySet
    etag: str | None = None
    max_age: float | None = None
    asked: AbstractSet[str] = _NOBODY


class Kept(NamedTuple):
    """A set that an earlier process fetched.

    Args:
        key_set: the keys.
        etag: of the document.
        age: seconds since it was fetched.
    """

    key_set: KeySet
    etag: str | None
    age: float


def restored(state: PoolState, kept: Kept, now: float) -> PoolState:
    """Take in what an earlier process left, while the first fetch of this one is under way.

    Args:
        state: before any fetch.
        kept: what it left.
        now: the present.

    Returns:
        The state after it: the keys are as old as they are, and a fetch is due.
    """
    at = now - kept.age
    fresh_until = _fresh_until(at + REFRESH_SECONDS, at, state.ceiling)
    return replace(state, key_set=kept.key_set, etag=kept.etag, fetched_at=at, changed_at=at, fresh_until=fresh_until)


def fetched(state: PoolState, good: Good, now: float, spread: float) -> PoolState:
    """Take in a good fetch.

    Args:
        state: before the fetch.
        good: what it brought.
        now: when it ended.
        spread: random number from -1 to 1, so that replicas do not fetch in step.

    Returns:
        The state after it. The first fetch does not spend the time in which unseen kids are refused: a process that has just started
        may meet a key that was published a moment later. Only who waited for it has his answer.
    """
    first = state.attempted_at is None
    key_set = good.key_set.keeping(state.key_set)
    same = state.key_set is not None and key_set.keys == state.key_set.keys
    due = now + _interval(good.max_age, state.ceiling) * (1 + JITTER * spread)
    return PoolState(
        due=due,
        ceiling=state.ceiling,
        key_set=key_set,
        fetched_at=now,
        changed_at=state.changed_at if same else now,
        fresh_until=_fresh_until(due, now, state.ceiling),
        settled_until=now if first else now + UNSEEN_KID_SECONDS,
        attempted_at=now,
        etag=good.etag,
        absent=_absent(state.absent, good, now, START_UP_ABSENCE_SECONDS if first else UNSEEN_KID_SECONDS),
    )


def failed(state: PoolState, now: float, spread: float) -> PoolState:
    """Take in a failed fetch: good keys stay, the next try waits twice as long as the last one, up to a limit.

    Args:
        state: before the fetch.
        now: when it ended.
        spread: random number from -1 to 1.

    Returns:
        The state after it. The limit is the refresh interval while there are keys, and ten seconds while there are none: a process
        without keys is not ready, gets no checks, and so cannot depend on a check to cause the next try. The moment at which the keys
        become too old is worth a try of its own.
    """
    end = state.fetched_at + state.ceiling
    has_keys = state.key_set is not None and now < end
    longest = REFRESH_SECONDS if has_keys else KEYLESS_RETRY_SECONDS / (1 + JITTER)
    wait = min(longest, FIRST_RETRY_SECONDS * 2 ** min(state.failures, 20)) * (1 + JITTER * spread)
    return replace(state, due=min(now + wait, end) if has_keys else now + wait, attempted_at=now, failures=state.failures + 1)


def is_in_vain(before: PoolState, after: PoolState, now: float) -> bool:
    """Say whether a fetch that checks waited for was in vain.

    Args:
        before: the state before the fetch.
        after: the state after it.
        now: when it ended.

    Returns:
        Whether it brought no other keys, and nothing but unseen kids asked for it: there were keys, and it was not due.
    """
    return before.usable(now) and now < before.due and after.changed_at == before.changed_at


def configured(state: PoolState, settings: KeySettings) -> PoolState:
    """Take in new settings; the keys stay.

    Args:
        state: before.
        settings: of the configuration that is in force from now on.

    Returns:
        The state with them.
    """
    ceiling = settings.stale_ceiling
    return replace(state, ceiling=ceiling, fresh_until=_fresh_until(state.fresh_until - LATE_SECONDS, state.fetched_at, ceiling))


def find(state: PoolState, kid: str, now: float) -> Key | Miss:
    """Find a key, or say what its absence means.

    Args:
        state: of the pool.
        kid: the key's name.
        now: the present.

    Returns:
        The key, or a `Miss`.

    Source: Cognito guide, "Verifying a JSON web token" (refetch for an unknown kid under the right issuer), with a limit on how often.
    """
    if state.key_set is not None and (now <= state.fresh_until or state.usable(now)):
        key = state.key_set.keys.get(kid)
        if key is not None:
            return key
        if state.failures == 0 and (now < state.settled_until or _is_absent(state, kid, now)):
            return Miss.ABSENT
    if state.failures and state.attempted_at is not None and now - state.attempted_at < UNSEEN_KID_SECONDS:
        return Miss.UNAVAILABLE
    return Miss.FETCH


def _interval(max_age: float | None, ceiling: float) -> float:
    """Choose how long a set is used before it is fetched again; a small ceiling leaves time for a second try."""
    wanted = REFRESH_SECONDS if max_age is None else max(LEAST_REFRESH_SECONDS, min(max_age, GREATEST_REFRESH_SECONDS))
    return min(wanted, ceiling / 2)


def _fresh_until(due: float, fetched_at: float, ceiling: float) -> float:
    return min(due + LATE_SECONDS, fetched_at + ceiling)


def _is_absent(state: PoolState, kid: str, now: float) -> bool:
    absence = state.absent.get(kid)
    return absence is not None and now < absence.until


def _absent(before: Mapping[str, Absence], good: Good, now: float, first_wait: float) -> Mapping[str, Absence]:
    """Remember for which kids a fetch was made in vain: a client that keeps a withdrawn token costs ever fewer fetches."""
    kept = {
        kid: absence
        for kid, absence in before.items()
        if kid not in good.key_set.keys and kid not in good.asked and now < absence.until + LONGEST_ABSENCE_SECONDS
    }
    for kid in good.asked - good.key_set.keys.keys():
        wait = max(UNSEEN_KID_SECONDS, min(2 * before[kid].wait, LONGEST_ABSENCE_SECONDS)) if kid in before else first_wait
        kept[kid] = Absence(now + wait, wait)
    latest = list(kept.items())[-MAX_ABSENT_KIDS:]
    return MappingProxyType(dict(latest))
