"""Reports, goals and curves: what a reader is told."""

from pathlib import Path

import disturbances
import document
import goals
import parts
import pytest
from curve import Curve, Line
from measurement import Measurement
from report import Report
from targets import OVER_GRPC
from traffic import Traffic

SATURATED = OVER_GRPC[0]
P99S = {disturbances.QUIET: (10.0, 20.0, 90.0), disturbances.RELOADS: (30.0, 25.0, 90.0)}


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


def test_what_parts_found_out_is_judged_beside_it():
    """At the size that the goal names, and no other."""
    made = report()
    made.figures[parts.memory_of("off", 100_000)] = 52.31
    made.figures[parts.memory_of("off", 1_000)] = 0.5
    made.figures[parts.cost_of("miss", 100_000)] = 1.25
    made.figures[parts.delay_of("grpcio", disturbances.RELOADS)] = 1.5
    text = goals.markdown(made)

    assert "| asyncio, dynamic metadata off: MiB more with 100,000 tokens known | ≤ 64 | 52 | yes |" in text
    assert "| miss in the process, CPU: with 100,000 routes, of that with 10 | ≤ 1.1 | 1.25 | **no** |" in text
    assert "| grpcio, p99 at half load while the configuration is loaded again each second: of the quiet one | ≤ 1.5 | 1.50 | yes |" in text
    assert "1,000 tokens known" not in text


def test_a_door_is_compared_with_itself_when_quiet():
    """By the p99 in the middle of its runs."""
    runs = {name: [Traffic(requests=9, rate=9.0, p50=1.0, p90=2.0, p99=p99, longest=9.0) for p99 in p99s] for name, p99s in P99S.items()}
    found = disturbances.Disturbed(door="asyncio", rate=9.0, took=runs)

    assert found.ratios() == {disturbances.RELOADS: 1.5}
    assert found.markdown().splitlines()[-1].endswith("| 30 | 9 | 1.50 |")


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
