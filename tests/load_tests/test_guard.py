"""The guard's arithmetic: what cancels, and what it finds."""

import json
import time

import guard
import pytest
import slowed_server

COSTS = {
    "asyncio, no-op": 10.0,
    "asyncio, hit": 16.0,
    "asyncio, miss": 90.0,
    "grpcio, no-op": 150.0,
    "grpcio, hit": 165.0,
    "grpcio, miss": 250.0,
}
HIT, GRPCIO_HIT = "asyncio, hit: over the no-op, in no-ops", "grpcio, hit: over the no-op, in no-ops"
MISS, GRPCIO_MISS = "asyncio, miss: over the no-op, in asyncio hits", "grpcio, miss: over the no-op, in asyncio hits"
RATIOS = {HIT: 0.6, MISS: 5.0, GRPCIO_HIT: 0.1, GRPCIO_MISS: 6.25}
COMMITTED = json.loads(guard.FILE.read_text())


def of_committed(hit=1.0, miss=1.0, noise=1.0):
    """Give the costs that the file tells, with so many times the own work of our checks."""
    costs = {"asyncio, no-op": 10.0, "grpcio, no-op": 180.0}
    costs["asyncio, hit"] = 10.0 * (1 + COMMITTED[HIT])
    for door, ratio in (("asyncio", MISS), ("grpcio", GRPCIO_MISS)):
        costs[f"{door}, miss"] = costs[f"{door}, no-op"] + miss * COMMITTED[ratio] * costs["asyncio, hit"]
    costs["asyncio, hit"] = 10.0 * (1 + hit * COMMITTED[HIT])
    costs["grpcio, hit"] = 180.0 * (1 + COMMITTED[GRPCIO_HIT]) * noise + (hit - 1) * 10.0 * COMMITTED[HIT]
    return costs


def test_costs_become_ratios():
    """Costs become ratios."""
    assert guard.ratios(COSTS) == pytest.approx(RATIOS)


def test_a_machine_half_as_fast_has_the_same_ratios():
    """A machine half as fast has the same ratios."""
    assert guard.ratios({name: 2 * cost for name, cost in COSTS.items()}) == pytest.approx(RATIOS)


def test_what_is_on_file_passes():
    """Also where grpcio's threads make a tenth of its cost."""
    assert guard.too_high(guard.ratios(of_committed()), COMMITTED) == []
    assert guard.too_high(guard.ratios(of_committed(noise=1.1)), COMMITTED) == []


def test_a_hit_whose_own_work_doubles_is_found():
    """At the asyncio door, where it can be told from noise; both doors ask the same check."""
    assert guard.too_high(guard.ratios(of_committed(hit=2.0)), COMMITTED) == [HIT]


def test_a_hit_that_costs_grpcio_a_third_more_is_found():
    """Less than that is noise there."""
    grown = of_committed()
    grown["grpcio, hit"] += grown["grpcio, no-op"] / 3
    assert guard.too_high(guard.ratios(grown), COMMITTED) == [GRPCIO_HIT]


def test_a_miss_whose_own_work_doubles_is_found():
    """At both doors."""
    assert guard.too_high(guard.ratios(of_committed(miss=2.0)), COMMITTED) == [MISS, GRPCIO_MISS]


def test_the_table_shows_the_limit():
    """The table shows the limit."""
    assert f"{5.0 * guard.MARGIN + guard.NOISE:.2f}" in guard.table(RATIOS, RATIOS)


def test_the_slowed_server_takes_longer_by_what_it_was_told():
    """So a guard that is run with it must fail."""
    slow = slowed_server.slow_down(lambda _, data: data, 0.002)
    began = time.perf_counter()

    assert slow(None, b"answer") == b"answer"
    assert time.perf_counter() - began >= 0.002


def test_each_server_of_the_guard_can_be_slowed():
    """All but the no-ops, to which the others are compared."""
    commands = {server.name: server.command for server in guard._servers()}

    assert {name for name, command in commands.items() if any("slowed_server.py" in part for part in command)} == {
        name for name in commands if "no-op" not in name
    }
