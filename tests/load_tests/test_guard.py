"""The guard's arithmetic: what cancels, and what it finds."""

import guard
import pytest

COSTS = {
    "asyncio, no-op": 10.0,
    "asyncio, hit": 20.0,
    "asyncio, miss": 90.0,
    "grpcio, no-op": 150.0,
    "grpcio, hit": 165.0,
    "grpcio, miss": 250.0,
}
RATIOS = {
    "asyncio, hit: of the no-op": 2.0,
    "asyncio, miss: RSA verifications over the no-op": 4.0,
    "grpcio, hit: of the no-op": 1.1,
    "grpcio, miss: RSA verifications over the no-op": 5.0,
}


def test_costs_become_ratios():
    """Costs become ratios."""
    assert guard.ratios(COSTS, 20.0) == pytest.approx(RATIOS)


def test_a_machine_half_as_fast_has_the_same_ratios():
    """A machine half as fast has the same ratios."""
    assert guard.ratios({name: 2 * cost for name, cost in COSTS.items()}, 40.0) == pytest.approx(RATIOS)


def test_what_did_not_grow_passes():
    """What did not grow passes."""
    assert guard.too_high(RATIOS, RATIOS) == []


def test_a_hit_whose_own_work_doubles_is_found():
    """A hit whose own work doubles is found."""
    assert guard.too_high(guard.ratios(COSTS | {"asyncio, hit": 30.0}, 20.0), RATIOS) == ["asyncio, hit: of the no-op"]


def test_a_miss_whose_own_work_doubles_is_found():
    """A miss whose own work doubles is found."""
    grown = guard.ratios(COSTS | {"grpcio, miss": 350.0}, 20.0)
    assert guard.too_high(grown, RATIOS) == ["grpcio, miss: RSA verifications over the no-op"]


def test_the_table_shows_the_limit():
    """The table shows the limit."""
    assert f"{2.0 * guard.MARGIN:.2f}" in guard.table(RATIOS, RATIOS)
