"""The profile: shares of a call, by what was really called."""

import profiled
import pytest


class Worker:
    """A call with two stages, one of them reached twice, on a clock of its own."""

    def __init__(self):
        self.now = 0.0

    def spin(self, seconds):
        """Take time."""
        self.now += seconds

    def long(self):
        """Take most of it."""
        self.spin(6.0)

    def short(self):
        """Take a little."""
        self.spin(1.0)

    def never(self):
        """Take none."""

    def __call__(self):
        self.short()
        self.long()
        self.short()


def test_each_stage_has_its_share_and_what_is_not_reached_has_none():
    """What a stage calls is part of it."""
    worker = Worker()
    stages = {"long": [worker.long], "short": [Worker.short], "never": [worker.never], "all": [worker.short, worker.long]}
    found = profiled.shares(worker, Worker.__call__, stages, seconds=0.1, timer=lambda: worker.now)

    assert found == {"long": pytest.approx(0.75), "short": pytest.approx(0.25), "all": pytest.approx(1.0)}
