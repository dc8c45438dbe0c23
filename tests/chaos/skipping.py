"""An event loop that waits for nothing: time skips to the next moment at which something is due."""

import asyncio
import selectors

from authz_server.testing import ManualClock


class _Selector(selectors.DefaultSelector):
    """Wait for what other threads say only when nothing is due."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout=None):
        """Let time pass where others would wait."""
        ready = super().select(timeout and 0)
        if timeout is not None and not ready:
            self._clock.advance(max(0.0, timeout))
        return ready


class SkippingLoop(asyncio.SelectorEventLoop):
    """Run tasks on a clock that only this loop moves.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: ManualClock) -> None:
        self._skipping = clock
        super().__init__(_Selector(clock))

    def time(self) -> float:
        """Tell the time."""
        return self._skipping.now
