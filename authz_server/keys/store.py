"""The store that checks read: a snapshot of every user pool's keys, and the one shared fetch behind an unseen kid."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final, Protocol

from authz_server.core.authorizers import KeysPending
from authz_server.core.decisions import Denied
from authz_server.core.reasons import Reason
from authz_server.core.tokens import Key
from authz_server.core.user_pools import UserPool
from authz_server.keys.bookings import Bookings
from authz_server.keys.life_cycle import MAX_ABSENT_KIDS, Kept, Miss, PoolState, configured, find, is_in_vain, restored

MAX_KID_LENGTH: Final = 128  # of one that is worth remembering; Cognito's have 44


class PoolKeys:
    """The keys of one user pool. Checks call `find` from any thread; one refresher calls `put`.

    Args:
        pool: whose keys.
        clock: monotonic seconds.
        ask: called when the first check waits for a fetch, also for one that is due or under way.
        kept: what an earlier process left of them, or None.
        bookings: those of all pools of the process.
    """

    def __init__(
        self,
        pool: UserPool,
        clock: Callable[[], float],
        ask: Callable[["PoolKeys"], None],
        kept: Kept | None = None,
        bookings: Bookings | None = None,
    ) -> None:
        now = clock()
        state = PoolState(due=now, ceiling=pool.settings.stale_ceiling)
        self.pool = pool
        self.state = state if kept is None else restored(state, kept, now)  # immutable; replaced whole
        self.stale_uses = 0  # checks answered with keys past their refresh; a few may go uncounted, since no check waits to count
        self.misses = dict.fromkeys(Miss, 0)
        self.waiting = 0  # checks that have joined the fetch that is under way
        self._asked: set[str] = set()
        self._bookings = bookings or Bookings()
        self._rests_until = 0.0  # from fetches that only unseen kids ask for
        self._clock = clock
        self._ask = ask
        self._lock = threading.Lock()
        self._fetch: Future[None] | None = _under_way()  # the first fetch is, from the start

    def find(self, kid: str) -> Key:
        """Find a key without waiting, see `core.authorizers.Keys`."""
        state = self.state
        now = self._clock()
        found = find(state, kid, now)
        if isinstance(found, Key):
            if now > state.fresh_until:
                self.stale_uses += 1
            return found
        if found is Miss.FETCH and now < min(self._rests_until, state.due):
            found = Miss.UNAVAILABLE
        with self._lock:
            self.misses[found] += 1
        if found is Miss.ABSENT:
            raise Denied(Reason.KEY_UNKNOWN)
        if found is Miss.UNAVAILABLE:
            raise Denied(Reason.KEYS_UNAVAILABLE)
        raise KeysPending(self._join(state, kid))

    def holds(self, key: Key) -> bool:
        """Whether *key* is still in the set, and the set is not too old."""
        state = self.state
        if state.key_set is None or state.key_set.keys.get(key.kid) is not key:
            return False
        now = self._clock()
        if now <= state.fresh_until:
            return True
        if not state.usable(now):
            return False
        self.stale_uses += 1
        return True

    def _join(self, seen: PoolState, kid: str) -> Future[None]:
        """Join the fetch that is under way, or ask for one, unless one has ended since *seen* was read."""
        with self._lock:
            fetch = self._fetch or _under_way()
            if self._fetch is None and self.state is not seen:
                fetch.set_result(None)
                return fetch
            self.waiting += 1
            is_first = self.waiting == 1
            if len(self._asked) < MAX_ABSENT_KIDS and len(kid) <= MAX_KID_LENGTH:
                self._asked.add(kid)
            self._fetch = fetch
        if is_first:
            self._ask(self)
        return fetch

    def awaited(self) -> bool:
        """Whether a fetch is under way, or asked for."""
        return self._fetch is not None

    def asked(self) -> frozenset[str]:
        """The kids that checks wait for, as many as are worth remembering."""
        with self._lock:
            return frozenset(self._asked)

    def put(self, state: PoolState) -> None:
        """Swap in what a fetch brought, and wake those who wait for it."""
        with self._lock:
            if state is not self.state:
                now = self._clock()
                self._rests_until = self._bookings.book(now) if self.waiting and is_in_vain(self.state, state, now) else 0.0
            self.state = state
            fetch, self._fetch = self._fetch, None
            self.waiting = 0
            self._asked.clear()
        if fetch is not None:
            fetch.set_result(None)

    def configure(self, pool: UserPool) -> None:
        """Take in new settings of the same pool; nobody is woken."""
        with self._lock:
            self.pool = pool
            self.state = configured(self.state, pool.settings)

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
        """Fetch these keys now, if no fetch has begun."""
        ...

    def renew(self, keys: PoolKeys) -> None:
        """Fetch these keys now, whatever was fetched before."""
        ...

    def configure(self, keys: PoolKeys, pool: UserPool) -> None:
        """Keep these keys as their pool says from now on."""
        ...


class KeyStore:
    """The keys of every user pool of the running configuration. Keys survive a reload that keeps their pool, issuer and place.

    Args:
        clock: monotonic seconds.
        refresher: fetches what the store is asked to hold.
        kept: gives what an earlier process left of a pool's keys, if anything.
    """

    def __init__(self, clock: Callable[[], float], refresher: Refresher, kept: Callable[[UserPool], Kept | None] | None = None) -> None:
        self._clock = clock
        self._refresher = refresher
        self._kept = kept
        self._pools: dict[UserPool, PoolKeys] = {}
        self._bookings = Bookings()

    @contextmanager
    def draft(self) -> Iterator[Callable[[UserPool], PoolKeys]]:
        """Give keys to a configuration in the making, which has no effect unless it comes to a good end.

        Yields:
            What gives the keys of a pool, the same object for the same pool; pool, issuer and place together name a set, so that keys
            from another place are never reused. Keys that are new are fetched at once, since thousands take a while, and left alone
            again where it comes to no good end. Those that are here are kept as their pool says once the configuration is whole.
        """
        drafted: dict[UserPool, PoolKeys] = {}
        begun: list[UserPool] = []

        def give(pool: UserPool) -> PoolKeys:
            keys = self._pools.get(pool)
            if keys is None:
                keys = self._pools[pool] = self._new(pool)
                self._refresher.watch(keys)
                begun.append(pool)
            drafted[pool] = keys
            return keys

        try:
            yield give
        except BaseException:
            for pool in begun:
                self._refresher.unwatch(self._pools.pop(pool))
            raise
        for pool, keys in drafted.items():
            if keys.pool.settings != pool.settings:
                self._refresher.configure(keys, pool)

    def keys(self, pool: UserPool) -> PoolKeys:
        """Give the keys of a single pool, see `draft`."""
        with self.draft() as give:
            return give(pool)

    def keep(self, pools: tuple[UserPool, ...]) -> None:
        """Forget every pool but these."""
        for pool in self._pools.keys() - set(pools):
            self._refresher.unwatch(self._pools.pop(pool))

    def renew(self) -> None:
        """Fetch the keys of every pool again; those that are here are used meanwhile."""
        for keys in self.all():
            self._refresher.renew(keys)

    def all(self) -> tuple[PoolKeys, ...]:
        """Every set of keys in the store."""
        return tuple(self._pools.values())

    def attempted(self) -> bool:
        """Whether every pool can answer, has had its first fetch, or has waited for it too long: an earlier process's keys are as good as one."""
        now = self._clock()
        return all(keys.state.tried(now) for keys in self.all())

    def answerable(self) -> bool:
        """Whether some check can be answered: not every pool lacks keys."""
        now = self._clock()
        pools = self.all()
        return not pools or any(keys.state.usable(now) for keys in pools)

    def _new(self, pool: UserPool) -> PoolKeys:
        return PoolKeys(pool, self._clock, self._refresher.ask, self._kept(pool) if self._kept else None, self._bookings)
