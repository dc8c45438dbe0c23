"""Reports, goals and curves: what a reader is told."""

from pathlib import Path

import document
import goals
import pytest
from curve import Curve, Line
from measurement import Measurement
from report import Report
from targets import OVER_GRPC
from traffic import Traffic

SATURATED = OVER_GRPC[0]


def measurement(cpu: float) -> Measurement:
    """Make a measurement of so much processor time."""
    traffic = Traffic(requests=1_000, rate=1_000_000 / cpu, p50=50.0, p90=90.0, p99=99.0, longest=200.0)
    return Measurement(traffic=traffic, cpu={"server": cpu}, rest=40.0, memory=50.0)


def report() -> Report:
    """Make a report of two targets."""
    made = Report("a machine", "a method", {"asyncio, hit": "asyncio, no-op"})
    for cpu in (9.0, 10.0, 30.0):
        made.add("asyncio, no-op", SATURATED, measurement(cpu))
    for cpu in (15.0, 18.0, 90.0):
        made.add("asyncio, hit", SATURATED, measurement(cpu))
    return made


def test_a_row_has_medians_and_what_is_over_the_floor():
    """A row has medians and what is over the floor."""
    row = next(line for line in report().markdown().splitlines() if line.startswith("| asyncio, hit |"))
    assert "18.0 (15.0-90.0)" in row
    assert row.endswith("| +8 µs, x 1.80 |")


def test_goals_are_judged_by_what_was_measured():
    """Goals are judged by what was measured."""
    text = goals.markdown(report())
    assert "| asyncio hit, CPU: of its own no-op | ≤ 1.8 | 1.80 | yes |" in text
    assert "Rust" not in text


def test_a_goal_that_is_missed_says_so():
    """A goal that is missed says so."""
    made = report()
    for _ in range(5):
        made.add("asyncio, hit", SATURATED, measurement(40.0))
    assert "| ≤ 1.8 | 4.00 | **no** |" in goals.markdown(made)


def test_no_figures_no_goals():
    """No figures no goals."""
    assert not goals.markdown(Report("", "", {}))


def test_a_curve_is_a_table():
    """A curve is a table."""
    curve = Curve(
        name="routes", label="routes", counts=(10, 100_000), lines=(Line("hit", (8.04, 8.2)), Line("miss", (80.0, 1_234.0))), unit="µs"
    )
    assert curve.markdown().splitlines()[2:] == ["| 10 | 8.0 | 80.0 |", "| 100,000 | 8.2 | 1,234 |"]


def test_a_block_of_a_document_is_replaced(tmp_path: Path):
    """A block of a document is replaced."""
    file = tmp_path / "a.md"
    file.write_text("before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n")
    document.replace_block(file, "table", "new\n")
    assert file.read_text() == "before\n<!-- table -->\n\nnew\n\n<!-- end of table -->\nafter\n"


def test_a_document_without_the_block_is_an_error(tmp_path: Path):
    """A document without the block is an error."""
    file = tmp_path / "a.md"
    file.write_text("nothing\n")
    with pytest.raises(ValueError, match="no block"):
        document.replace_block(file, "table", "new")
