"""The life of a key set as pure functions: state, event and time in, new state out."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from authz_server.core.tokens import Key
from authz_server.keys.jwks import KeySet

REFRESH_SECONDS: Final = 300.0
UNSEEN_KID_SECONDS: Final = 10.0  # at most one fetch for unseen kids in this time
STALE_CEILING_SECONDS: Final = 86_400.0
FIRST_RETRY_SECONDS: Final = 1.0
JITTER: Final = 0.1


class Miss(Enum):
    """Why there is no key for a kid right now."""

    ABSENT = "absent"  # a fresh key set does not have it
    FETCH = "fetch"  # a fetch will tell
    UNAVAILABLE = "unavailable"  # nothing can be said


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """All that is known about the keys of one user pool. Times are seconds of a monotonic clock.

    Args:
        due: when the next fetch is due.
        key_set: the last good set.
        fetched_at: when it was fetched.
        settled_until: until when a kid that the set lacks is taken to be unknown without another fetch.
        attempted_at: when the last fetch ended, good or bad; None before the first.
        failures: fetches that failed since the last good one.
    """

    due: float
    key_set: KeySet | None = None
    fetched_at: float = 0.0
    settled_until: float = 0.0
    attempted_at: float | None = None
    failures: int = 0

    def usable(self, now: float) -> bool:
        """Whether there are keys, fetched within the last 24 hours."""
        return self.key_set is not None and now - self.fetched_at <= STALE_CEILING_SECONDS


def fetched(state: PoolState, key_set: KeySet, now: float, spread: float) -> PoolState:
    """Take in a good fetch.

    Args:
        state: before the fetch.
        key_set: what it brought; keys that left the set are gone.
        now: when it ended.
        spread: random number from -1 to 1, so that replicas do not fetch in step.

    Returns:
        The state after it. The first fetch does not spend the time in which unseen kids are refused: a process that has just started
        may meet a key that was published a moment later.
    """
    first = state.attempted_at is None
    return PoolState(
        due=now + REFRESH_SECONDS * (1 + JITTER * spread),
        key_set=key_set.keeping(state.key_set),
        fetched_at=now,
        settled_until=now if first else now + UNSEEN_KID_SECONDS,
        attempted_at=now,
    )


def failed(state: PoolState, now: float, spread: float) -> PoolState:
    """Take in a failed fetch: good keys stay, the next try waits twice as long as the last one, up to the refresh interval.

    Args:
        state: before the fetch.
        now: when it ended.
        spread: random number from -1 to 1.

    Returns:
        The state after it.
    """
    wait = min(REFRESH_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(state.failures, 20)) * (1 + JITTER * spread)
    return replace(state, due=now + wait, attempted_at=now, failures=state.failures + 1)


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
    if state.key_set is not None and state.usable(now):
        key = state.key_set.keys.get(kid)
        if key is not None:
            return key
        if state.failures == 0 and now < state.settled_until:
            return Miss.ABSENT
    if state.failures and state.attempted_at is not None and now - state.attempted_at < UNSEEN_KID_SECONDS:
        return Miss.UNAVAILABLE
    return Miss.FETCH
