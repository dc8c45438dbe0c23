"""The exposition: the text of all metrics, which is made once for many who ask."""

import threading
from collections.abc import Callable
from typing import Final

FRESH_SECONDS: Final = 1.0


class Exposition:
    """Give the same text to all who ask within a second, so that scrapers cost what one of them does.

    Args:
        write: makes the text.
        clock: seconds of a clock that never jumps.
    """

    def __init__(self, write: Callable[[], bytes], clock: Callable[[], float]) -> None:
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        self._text = b""
        self._until = float("-inf")

    def text(self) -> bytes:
        """Give a text that is a second old at most; callers that come while it is being made wait for it."""
        with self._lock:
            if self._clock() >= self._until:
                self._text = self._write()
                self._until = self._clock() + FRESH_SECONDS
            return self._text
