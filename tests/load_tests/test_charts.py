"""Charts: what is drawn is what was measured."""

import sys
from pathlib import Path

import charts
import pytest
from curve import Curve, Line
from machine import MissingError
from measurement import Measurement
from report import Report
from targets import OVER_GRPC, OVER_HTTP, RISING
from traffic import Traffic

SATURATED, QUIET = OVER_GRPC
PNG = b"\x89PNG\r\n\x1a\n"


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


def test_the_cost_is_shown_for_a_quiet_server_and_a_saturated_one():
    """Whatever else it was asked."""
    made = report()
    for load in RISING[2:]:
        made.add("asyncio, hit", load, measurement(1.0, 1.0, server=7.0))

    assert charts.costs(made, "asyncio, hit") == [100.0, 20.0]
    assert len(charts.throughputs(made, "asyncio, hit")) == 6


def test_each_chart_is_drawn_and_shown(tmp_path: Path):
    """As a picture beside the report."""
    text = charts.markdown(report(), tmp_path / "report.md")

    for name in ("latency", "throughput", "cpu"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(PNG)
        assert f"({name}.png)" in text


def test_a_curve_is_drawn(tmp_path: Path):
    """As a picture of its name."""
    Curve(name="routes", label="routes", counts=(1, 10), lines=[Line("hit", (8.0, 9.0))]).draw(tmp_path)

    assert (tmp_path / "routes.png").read_bytes().startswith(PNG)


def test_where_nothing_can_be_drawn_the_report_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """And so does the program, while the tables are what they are."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    text = charts.markdown(report(), tmp_path / "report.md")

    assert "NO PICTURES: matplotlib is not installed" in text
    assert "NO PICTURES: matplotlib is not installed" in capsys.readouterr().err
    assert list(tmp_path.glob("*.png")) == []
    with pytest.raises(MissingError, match="NO PICTURES"):
        Curve(name="routes", label="routes", counts=(1,), lines=[Line("hit", (8.0,))]).draw(tmp_path)


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
