"""The clock by which keys age."""

import time
from collections.abc import Callable
from functools import partial


def key_clock() -> Callable[[], float]:
    """Choose a clock that nobody sets.

    Returns:
        What tells seconds; on Linux also those for which the machine was suspended: keys grow old meanwhile.

    Source: clock_gettime(2), CLOCK_BOOTTIME.
    """
    boot_time: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if boot_time is None else partial(time.clock_gettime, boot_time)
