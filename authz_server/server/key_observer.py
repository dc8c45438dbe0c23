"""What becomes of keys, for people: how fetches end, counted and logged, and how each key set is at a scrape."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from authz_server.core.user_pools import UserPool
from authz_server.keys.fetch import Fetcher
from authz_server.keys.life_cycle import PoolState, Standing
from authz_server.keys.refresher import GOOD
from authz_server.keys.state_directory import UNREMARKABLE, StateDirectory
from authz_server.keys.store import PoolKeys
from authz_server.observe.metrics import Metrics
from authz_server.observe.samples import KeySetSample

_logger: Final = logging.getLogger(__name__)


class KeyObserver:
    """Count and log how fetches of keys end, have good ones written down, and keep readiness true.

    Args:
        metrics: counts fetches.
        fetcher: knows what the environment says about fetches.
    """

    def __init__(self, metrics: Metrics, fetcher: Fetcher) -> None:
        self._metrics = metrics
        self._fetcher = fetcher
        self._said: set[str] = set()
        self._failures: dict[UserPool, str] = {}
        self.state: StateDirectory | None = None
        self.changed: Callable[[], None] = lambda: None

    def loaded(self, pools: Collection[UserPool]) -> None:
        """Log which variables of the environment lead to the keys of these pools, or cannot be used; each sentence once."""
        for sentence in self._fetcher.warnings(pools):
            self._say(logging.WARNING, sentence)
        for sentence in self._fetcher.in_force(pools):
            self._say(logging.INFO, sentence)

    def _say(self, level: int, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            _logger.log(level, "%s", sentence)

    def fetch_ended(self, keys: PoolKeys, outcome: str, detail: str) -> None:
        """Take note of a fetch, see `keys.refresher.Observer`."""
        pool = keys.pool
        self._metrics.fetch(pool.id, outcome)
        key_set, etag = keys.state.key_set, keys.state.etag
        self._failures.pop(pool, None)
        if outcome not in GOOD or key_set is None:
            self._failures[pool] = f"{detail} ({outcome})"
            _logger.warning("keys of %s from %s: %s (%s)", pool.id, pool.jwks, detail, outcome)
        else:
            self._metrics.skipped_keys(pool.id, len(key_set.skipped))
            if detail:
                _logger.warning("keys of %s from %s: %s", pool.id, pool.jwks, detail)
            if self.state is not None:
                self.state.write(pool, key_set, etag)
        self.changed()

    def lines(self, pools: Iterable[PoolKeys], now: float) -> Iterator[str]:
        """Say how the keys of pools are.

        Args:
            pools: whose.
            now: the present, as their clock tells it.

        Yields:
            A line for each.
        """
        for keys in pools:
            failure = self._failures.get(keys.pool)
            after = "" if failure is None else f"; the last fetch from {keys.pool.jwks} has failed: {failure}"
            yield f"user pool {keys.pool.id}: {_standing(keys.state, now)}{after}"

    def state_told(self, pool: UserPool, operation: str, outcome: str, detail: str) -> None:
        """Take note of a key set that was read or written, see `keys.state_directory`."""
        self._metrics.state_file(pool.id, operation, outcome)
        if outcome not in UNREMARKABLE:
            _logger.warning("state directory: %s of the keys of %s: %s (%s)", operation, pool.id, detail, outcome)
        elif operation == "read" and outcome == "ok":
            _logger.info("state directory: %s of %s", detail, pool.id)


def _standing(state: PoolState, now: float) -> str:
    if state.key_set is None:
        return "no keys yet, its first fetch has not ended" if state.standing is Standing.UNTRIED else "no keys"
    age = f"fetched {now - state.fetched_at:.0f} s ago"
    if not state.usable(now):
        return f"its keys are too old, {age}; they are used for {state.ceiling:.0f} s"
    return f"{len(state.key_set.keys)} keys, {age}"


def samples(pools: Iterable[PoolKeys], now: float) -> Iterator[KeySetSample]:
    """Show the keys of pools.

    Args:
        pools: whose.
        now: the present, as their clock tells it.

    Yields:
        One sample for each.
    """
    for keys in pools:
        state = keys.state
        yield KeySetSample(
            user_pool=keys.pool.id,
            age=now - state.fetched_at if state.key_set else None,
            unchanged=now - state.changed_at if state.key_set else None,
            ceiling=state.ceiling,
            keys=len(state.key_set.keys) if state.key_set and state.usable(now) else 0,
            waiting=keys.waiting,
            stale_uses=keys.stale_uses,
            unseen={miss.value: count for miss, count in keys.misses.items()},
        )
