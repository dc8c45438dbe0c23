"""The README's table of figures: the rows of the report in docs/performance.md, and nothing else."""

import pytest
from document import PERFORMANCE, README, block
from measurement import Measurement
from report import Report
from summary import summary
from targets import OVER_GRPC, OVER_HTTP
from traffic import Traffic


def measurement(p50, **cpu):
    """Make a measurement."""
    traffic = Traffic(requests=1_000, rate=12_345.0, p50=p50, p90=2 * p50, p99=3 * p50, longest=9 * p50)
    return Measurement(traffic=traffic, cpu=cpu, rest=40.0, memory=50.0)


@pytest.fixture
def report():
    """Make a report of Envoy alone, and of one server."""
    made = Report("a machine", "a method", {})
    for cpu in (14.0, 15.0, 90.0):
        made.add("asyncio, hit", OVER_GRPC[0], measurement(500.0, server=cpu))
    for load in OVER_HTTP:
        made.add("Envoy, no authorization", load, measurement(100.0, envoy=80.0))
        made.add("Envoy, asyncio, hit", load, measurement(330.0, server=30.0, envoy=120.0))
    return made


def test_a_row_has_the_cost_at_the_port_and_what_is_added_behind_envoy(report):
    """Medians, and no row of what was not measured."""
    assert summary(report.markdown()).splitlines() == [
        "One run (a machine), server and Envoy on one core, medians:",
        "",
        "| what answers | CPU µs per check | through Envoy: requests/s | added to Envoy's p50, one in flight |",
        "| --- | --: | --: | --: |",
        "| Envoy alone, without a check | - | 12,345 | - |",
        "| **authz-server `--transport asyncio`**, token seen before | 15 | 12,345 | +0.23 ms |",
    ]


def test_the_readme_quotes_the_report():
    """`make bench BENCH_FLAGS=--document` writes both; `python load_tests/summary.py` makes the one of the other."""
    assert block(README, "fast") == summary(block(PERFORMANCE, "bench")).strip()
