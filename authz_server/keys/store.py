"""The store that checks read: a snapshot of every user pool's keys, and the one shared fetch behind an unseen kid."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from authz_server.core.authorizers import KeysPending
from authz_server.core.decisions import Denied, Reason
from authz_server.core.tokens import Key
from authz_server.core.user_pools import UserPool
from authz_server.keys.life_cycle import Miss, PoolState, find


class PoolKeys:
    """The keys of one user pool. Checks call `find` from any thread; one refresher calls `put`.

    Args:
        pool: whose keys.
        clock: monotonic seconds.
        ask: called when a fetch is wanted that is not under way.
    """

    def __init__(self, pool: UserPool, clock: Callable[[], float], ask: Callable[["PoolKeys"], None]) -> None:
        self.pool = pool
        self.state = PoolState(due=clock())  # immutable; replaced whole
        self._clock = clock
        self._ask = ask
        self._lock = threading.Lock()
        self._fetch: Future[None] | None = _under_way()  # the first fetch is, from the start

    def find(self, kid: str) -> Key:
        """Find a key without waiting, see `core.authorizers.Keys`."""
        state = self.state
        found = find(state, kid, self._clock())
        if isinstance(found, Key):
            return found
        if found is Miss.ABSENT:
            raise Denied(Reason.KEY_UNKNOWN)
        if found is Miss.UNAVAILABLE:
            raise Denied(Reason.KEYS_UNAVAILABLE)
        raise KeysPending(self._join(state))

    def holds(self, key: Key) -> bool:
        """Whether *key* is still in the set, and the set is not too old."""
        state = self.state
        return state.key_set is not None and state.key_set.keys.get(key.kid) is key and state.usable(self._clock())

    def _join(self, seen: PoolState) -> Future[None]:
        """Join the fetch that is under way, or ask for one, unless one has ended since *seen* was read."""
        with self._lock:
            if self._fetch is not None:
                return self._fetch
            fetch = _under_way()
            if self.state is not seen:
                fetch.set_result(None)
                return fetch
            self._fetch = fetch
        self._ask(self)
        return fetch

    def put(self, state: PoolState) -> None:
        """Swap in what a fetch brought, and wake those who wait for it."""
        with self._lock:
            self.state = state
            fetch, self._fetch = self._fetch, None
        if fetch is not None:
            fetch.set_result(None)

    def release(self) -> None:
        """Wake those who wait although nothing was fetched."""
        self.put(self.state)


def _under_way() -> Future[None]:
    """Make what checks wait for; one that gives up can not cancel it for the others."""
    fetch = Future[None]()
    fetch.set_running_or_notify_cancel()
    return fetch


class Refresher(Protocol):
    """Whoever keeps the keys of the store fresh."""

    def watch(self, keys: PoolKeys) -> None:
        """Fetch these keys now and whenever they are due."""
        ...

    def unwatch(self, keys: PoolKeys) -> None:
        """Leave these keys alone."""
        ...

    def ask(self, keys: PoolKeys) -> None:
        """Fetch these keys now."""
        ...


class KeyStore:
    """The keys of every user pool of the running configuration. Keys survive a reload that keeps their pool, issuer and place.

    Args:
        clock: monotonic seconds.
        refresher: fetches what the store is asked to hold.
    """

    def __init__(self, clock: Callable[[], float], refresher: Refresher) -> None:
        self._clock = clock
        self._refresher = refresher
        self._pools: dict[UserPool, PoolKeys] = {}

    def keys(self, pool: UserPool) -> PoolKeys:
        """Give the keys of a pool, and begin to fetch them when they are new.

        Args:
            pool: pool, issuer and place together name a set: keys from another place are never reused.

        Returns:
            The same object for the same pool.
        """
        keys = self._pools.get(pool)
        if keys is None:
            keys = self._pools[pool] = PoolKeys(pool, self._clock, self._refresher.ask)
            self._refresher.watch(keys)
        return keys

    def keep(self, pools: tuple[UserPool, ...]) -> None:
        """Forget every pool but these."""
        for pool in self._pools.keys() - set(pools):
            self._refresher.unwatch(self._pools.pop(pool))

    def all(self) -> tuple[PoolKeys, ...]:
        """Every set of keys in the store."""
        return tuple(self._pools.values())

    def attempted(self) -> bool:
        """Whether the first fetch of every pool has ended, good or bad."""
        return all(keys.state.attempted_at is not None for keys in self.all())

    def answerable(self) -> bool:
        """Whether some check can be answered: not every pool lacks keys."""
        now = self._clock()
        pools = self.all()
        return not pools or any(keys.state.usable(now) for keys in pools)
