"""Calls of the grpcio door that clients hold open: they end when they are too old or too many."""

import math
from collections.abc import Callable
from threading import Lock
from typing import Any, Final

YOUNG_SECONDS: Final = 1.0


class OpenCalls:
    """Calls that their clients hold open, oldest first.

    Args:
        most: how many, once they are no longer young: those that a busy moment brings are not meant.
        clock: monotonic seconds.
        seconds: how long.
    """

    def __init__(self, most: int, clock: Callable[[], float], seconds: float = math.inf) -> None:
        self._most = most
        self._clock = clock
        self._seconds = seconds
        self._since: dict[Any, float] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._since)

    def add(self, call: Any) -> None:
        """Take note of a call."""
        with self._lock:
            self._since[call] = self._clock()

    def discard(self, call: Any) -> None:
        """Forget a call, if it is still known."""
        with self._lock:
            self._since.pop(call, None)

    def sweep(self) -> None:
        """End those that have been open for too long, and the oldest where there are too many."""
        now = self._clock()
        with self._lock:
            excess = len(self._since) - self._most
            over = [
                call
                for at, (call, since) in enumerate(self._since.items())
                if now - since > (YOUNG_SECONDS if at < excess else self._seconds)
            ]
            for call in over:
                del self._since[call]
        for call in over:
            call.cancel()
