"""Charts: what is drawn is what was measured."""

from pathlib import Path

import charts
from measurement import Measurement
from report import Report
from targets import OVER_GRPC, OVER_HTTP
from traffic import Traffic

SATURATED, QUIET = OVER_GRPC


def measurement(rate: float, p50: float, **cpu: float) -> Measurement:
    """Make a measurement."""
    traffic = Traffic(requests=1_000, rate=rate, p50=p50, p90=2 * p50, p99=3 * p50, longest=9 * p50)
    return Measurement(traffic=traffic, cpu=cpu, rest=40.0, memory=50.0)


def report() -> Report:
    """Make a report of a target at its port and one behind Envoy, the louder load first."""
    made = Report("a machine", "a method", {})
    for rate in (9_000.0, 10_000.0, 90_000.0):
        made.add("asyncio, hit", SATURATED, measurement(rate, 500.0, server=20.0))
        made.add("asyncio, hit", QUIET, measurement(rate / 10, 100.0, server=100.0))
    made.add("Envoy, asyncio, hit", OVER_HTTP[0], measurement(5_000.0, 900.0, server=30.0, envoy=120.0))
    return made


def test_latency_is_that_of_a_share_of_the_requests():
    """The middle of all repetitions."""
    assert charts.latencies(report(), "asyncio, hit", QUIET) == [100.0, 200.0, 300.0, 900.0]


def test_throughput_stands_beside_latency_from_quiet_to_busy():
    """Whatever was measured first."""
    assert charts.throughputs(report(), "asyncio, hit") == [(1_000.0, 100.0), (10_000.0, 500.0)]


def test_the_cost_is_that_of_all_processes():
    """Envoy's part and the server's."""
    assert charts.costs(report(), "asyncio, hit") == [100.0, 20.0]
    assert charts.costs(report(), "Envoy, asyncio, hit") == [150.0]


def test_what_is_behind_envoy_stands_apart():
    """A side without targets is left out."""
    assert charts.sides(report()) == [["asyncio, hit"], ["Envoy, asyncio, hit"]]
    assert charts.sides(Report("", "", {})) == []


def test_the_curves_are_linked_from_wherever_the_report_is(tmp_path: Path):
    """A picture that a reader can not open is no picture."""
    file = tmp_path / "report.md"
    text = charts.markdown(Report("", "", {}), file)
    links = [line.partition("](")[2].rstrip(")") for line in text.splitlines() if line.startswith("![")]

    assert len(links) >= 7
    assert all((tmp_path / link).resolve().is_file() for link in links)
