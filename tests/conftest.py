"""What all tests share: user pools, made once because RSA keys are slow to make, and searches that give the same answer each time."""

import pytest
from hypothesis import HealthCheck, settings

from authz_server.testing import ManualClock, UserPool

settings.register_profile("repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def now() -> float:
    """The moment at which the shared pools mint their tokens."""
    return ManualClock().now


@pytest.fixture(scope="session")
def pool(now: float) -> UserPool:
    """The pool that issues tokens; shared, so it is never rotated."""
    return UserPool(clock=ManualClock(now))


@pytest.fixture(scope="session")
def other_pool(now: float) -> UserPool:
    """Another pool with keys of its own; shared, so it is never rotated."""
    return UserPool("us-east-1_Other0002", clock=ManualClock(now))
