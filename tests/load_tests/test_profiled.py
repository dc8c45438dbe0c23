"""The profile: shares of a call, by what was really called."""

import profiled
import pytest


def spin(rounds):
    """Take time."""
    return sum(range(rounds))


class Worker:
    """A call with two stages, one of them reached twice."""

    def long(self):
        """Take most of it."""
        spin(30_000)

    def short(self):
        """Take a little."""
        spin(5_000)

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
    found = profiled.shares(worker, Worker.__call__, stages, seconds=0.1)

    assert found.keys() == {"long", "short", "all"}
    assert found["long"] == pytest.approx(0.75, abs=0.2)
    assert found["all"] == pytest.approx(found["long"] + found["short"])
    assert 0.9 < found["all"] <= 1
