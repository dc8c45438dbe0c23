"""The clock by which keys, and whatever else is good for a while, grow old."""

import time
from collections.abc import Callable
from functools import partial


def ageing_clock() -> Callable[[], float]:
    """Choose a clock that nobody sets.

    Returns:
        What tells seconds; on Linux also those for which the machine was suspended: what is kept grows old meanwhile.

    Source: clock_gettime(2), CLOCK_BOOTTIME.
    """
    boot_time: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if boot_time is None else partial(time.clock_gettime, boot_time)
