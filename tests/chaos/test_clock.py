"""Chaos of the clock: the time of day jumps, and each answer is what that time of day says, also where an answer was repeated before."""

import pytest

from tests.chaos.fault import Fault
from tests.chaos.inside import Inside
from tests.chaos.oracle import DENIED
from tests.chaos.stage import Stage

DAY = 86_400.0
EXPIRED = dict.fromkeys(("ID token", "access token", "without scope"), DENIED)


@pytest.mark.parametrize(
    ("name", "seconds", "permitted"),
    [
        pytest.param("clock two days ahead", 2 * DAY, EXPIRED, id="ahead"),  # beyond the stale ceiling: keys must not age by it
        pytest.param("clock two days back", -2 * DAY, {"expired": {200}}, id="back"),
    ],
)
def test_a_jump(stage: Stage, name, seconds, permitted):
    """Tokens are good or expired by the present time of day at once, both ways, and keys live on a clock that does not jump."""
    inside = Inside(stage.folder)
    server = stage.start(environment=inside.environment)
    fault = Fault(name=name, begin=lambda: inside.jump(seconds), end=lambda: inside.jump(0), permitted=permitted)
    stage.chaos(server).meet(fault)
