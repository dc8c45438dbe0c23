"""Keys age by a clock that nobody sets and that no sleep of the machine stops."""

import time

from authz_server.keys.clock import ageing_clock


def test_time_passes_while_the_machine_is_suspended():
    """On Linux it is the time since the boot."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    told = ageing_clock()()

    assert before <= told <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_elsewhere_it_is_the_monotonic_clock(monkeypatch):
    """A system without such a clock has the next best one."""
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)

    assert ageing_clock() is time.monotonic
