"""Places for checks that wait for keys: so many in all, and so many of them for one fetch."""

from collections import Counter
from concurrent.futures import Future
from threading import Lock


class Places:
    """Hand out places, in any thread.

    Args:
        total: how many there are.
        each: how many of them checks that wait for one fetch may take; a user pool has one fetch at a time.
    """

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._taken: Counter[Future[None]] = Counter()
        self._lock = Lock()

    def take(self, fetch: Future[None]) -> bool:
        """Take a place to wait for a fetch; return whether one was free."""
        with self._lock:
            is_free = self._taken.total() < self._total and self._taken[fetch] < self._each
            if is_free:
                self._taken[fetch] += 1
            return is_free

    def leave(self, fetch: Future[None]) -> None:
        """Leave a place that was taken."""
        with self._lock:
            self._taken[fetch] -= 1
            self._taken += Counter()  # without those that are zero
