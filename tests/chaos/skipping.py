"""An event loop that waits for nothing but the answers of others: time skips to the next moment at which something is due."""

import asyncio
import selectors
from collections.abc import Callable

from authz_server.testing import ManualClock


class _Selector(selectors.DefaultSelector):
    """Wait for what other threads say only when nothing is due, or while time stands still."""

    def __init__(self, clock: ManualClock, still: Callable[[], bool]) -> None:
        super().__init__()
        self._clock, self._still = clock, still

    def select(self, timeout=None):
        """Let time pass where others would wait."""
        if timeout and self._still():
            return super().select(None)
        ready = super().select(timeout and 0)
        if timeout is not None and not ready:
            self._clock.advance(max(0.0, timeout))
        return ready


class SkippingLoop(asyncio.SelectorEventLoop):
    """Run tasks on a clock that only this loop moves.

    Args:
        clock: monotonic seconds.
        still: whether time stands still, since another thread is to say something at this moment.
    """

    def __init__(self, clock: ManualClock, still: Callable[[], bool]) -> None:
        self._skipping = clock
        super().__init__(_Selector(clock, still))

    def time(self) -> float:
        """Tell the time."""
        return self._skipping.now
