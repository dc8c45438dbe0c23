"""Servers under load, faults, and one table of what came out."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.figure import Figure, table
from tests.chaos.stage import Stage

FOLDER = Path(__file__).parent
README = FOLDER.parents[1] / "README.md"
PAGE = FOLDER.parents[1] / "docs" / "chaos.md"
IN_README = ("JWKS endpoint down", "keys rotated", "Envoy killed and started again")


def pytest_addoption(parser):
    """Let the Makefile say how long, and where the table goes."""
    parser.addoption("--fault-seconds", type=float, default=1.0, help="for which each fault lasts, at least")
    parser.addoption("--minutes", type=float, default=1.0, help="that a soak lasts")
    parser.addoption("--document", action="store_true", help="rewrite the table in docs/chaos.md, and its rows in README.md")


def pytest_collection_modifyitems(items):
    """Mark every test that lets a fault loose; those of the oracle itself are quick."""
    for item in items:
        if {"stage", "record"} & set(getattr(item, "fixturenames", ())) and not item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.chaos)


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    """Print the table, and what a soak has found; fail when docs/chaos.md does not tell of a fault."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, ())]
    told = [each for report in reports for each in report.user_properties]
    for line in sorted(value for name, value in told if name == "soak"):
        terminalreporter.write_line(line)
    figures = [value for name, value in told if name == "figure"]
    if not figures:
        return
    text = table(figures)
    terminalreporter.write_line(f"\n{text}\n")
    if config.getoption("--document") and exitstatus == 0:
        sys.path.append(str(FOLDER.parents[1] / "load_tests"))  # a folder of programs, no package
        from document import replace_block  # noqa: PLC0415 - needs the line above

        replace_block(PAGE, "chaos", text)
        replace_block(README, "chaos", table(figure for figure in figures if figure[2] in IN_README))
    untold = {fault for _, _, fault, _ in figures if f"\n| {fault} |" not in PAGE.read_text()}
    if untold and exitstatus == 0 and not hasattr(config, "workerinput"):
        pytest.exit(
            f"docs/chaos.md does not tell of {sorted(untold)}; let `make chaos CHAOS_FLAGS=--document` write its table", returncode=1
        )


@pytest.fixture(params=["grpcio", "asyncio"])
def transport(request) -> str:
    """Every promise holds behind both doors."""
    return request.param


@pytest.fixture
def record(request, record_property) -> Callable[[Figure], None]:
    """Take a figure for the table."""
    place = request.session.items.index(request.node)
    variant = getattr(request.node, "callspec", None)
    transport = variant.params.get("transport", "") if variant else ""
    return lambda figure: record_property("figure", (place, transport, figure.fault, figure.cells()))


@pytest.fixture
def stage(request, tmp_path, transport, record) -> Iterator[Stage]:
    """A user pool that is served, and whatever a test starts around it."""
    seconds = request.config.getoption("--fault-seconds")
    with ExitStack() as running:
        yield Stage(folder=tmp_path, transport=transport, seconds=seconds, running=running, record=record)
