"""Charts: what a report's table says, drawn; servers at their gRPC port on the left, those behind Envoy on the right."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pictures
from machine import MissingError
from report import Report
from targets import OVER_GRPC, OVER_HTTP
from traffic import Load, Traffic

CURVES = Path(__file__).with_name("pictures")
SHARES: Mapping[str, Callable[[Traffic], float]] = {
    "50 %": lambda one: one.p50,
    "90 %": lambda one: one.p90,
    "99 %": lambda one: one.p99,
    "all": lambda one: one.longest,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture of a report.

    Args:
        name: of its file.
        title: what it shows.
        draw: draws some targets of the report on axes.
    """

    name: str
    title: str
    draw: Callable[[Any, Report, Sequence[str]], None]


def latencies(report: Report, target: str, load: Load) -> list[float]:
    """Find how long the given shares of a target's requests took at most: the median of its repetitions."""
    return [median(share(one.traffic) for one in report.rows[target, load]) for share in SHARES.values()]


def loads(report: Report, target: str) -> list[Load]:
    """List what a target was measured under, the quietest first."""
    return sorted((load for name, load in report.rows if name == target), key=lambda load: load.connections * load.streams)


def throughputs(report: Report, target: str) -> list[tuple[float, float]]:
    """Find requests per second and the time that half of them took, under each load."""
    return [(_median(report, target, load, "requests/s"), _median(report, target, load, "p50 µs")) for load in loads(report, target)]


def costs(report: Report, target: str) -> list[float]:
    """Find the processor time of a request, of all processes together, one in flight and saturated."""
    ends = [load for load in loads(report, target) if load in (*OVER_GRPC, *OVER_HTTP)]
    return [median(sum(one.cpu.values()) for one in report.rows[target, load]) for load in ends]


def sides(report: Report) -> list[list[str]]:
    """Divide the targets into those at a gRPC port and those behind Envoy, without a side that is empty."""
    names = list(dict.fromkeys(target for target, _ in report.rows))
    both = ([name for name in names if name.startswith("Envoy") == proxied] for proxied in (False, True))
    return [side for side in both if side]


def markdown(report: Report, file: Path) -> str:
    """Draw the charts beside a report's file, and write what shows them and the curves that were drawn before.

    Args:
        report: of a run.
        file: that the text is for.
    """
    try:
        parts = [f"\n## {chart.title}\n\n![{chart.name}]({chart.name}.png)\n" for chart in draw(report, file.parent)]
    except MissingError as error:
        print(error, file=sys.stderr)
        parts = [f"\n{error}\n"]
    if curves := sorted(CURVES.glob("*.png")):
        links = (f"![{curve.stem}]({Path(os.path.relpath(curve, file.parent.absolute())).as_posix()})" for curve in curves)
        parts.append("\n## How cost grows, as `make bench-scale` drew it last\n\n" + "\n".join(links) + "\n")
    return "".join(parts)


def draw(report: Report, folder: Path) -> Iterator[Chart]:
    """Draw the charts of which something was measured.

    Args:
        report: of a run.
        folder: for the pictures.

    Yields:
        Each that was drawn.

    Raises:
        MissingError: when matplotlib is not installed.
    """
    halves = sides(report)
    if not halves:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for chart in CHARTS:
        figure = pictures.figure(8 * len(halves), 6)
        for axes, targets in zip(figure.subplots(1, len(halves), squeeze=False)[0], halves, strict=True):
            chart.draw(axes, report, targets)
            axes.grid(visible=True, alpha=0.3)
        figure.savefig(folder / f"{chart.name}.png", dpi=100)
        yield chart


def _latency(axes: Any, report: Report, targets: Sequence[str]) -> None:
    for target, style in zip(targets, _styles(), strict=False):
        axes.plot(list(SHARES), latencies(report, target, loads(report, target)[0]), label=target, **style)
    axes.set(yscale="log", xlabel="of the requests, one in flight", ylabel="took at most, µs")
    axes.legend(fontsize="small")


def _throughput(axes: Any, report: Report, targets: Sequence[str]) -> None:
    for target, style in zip(targets, _styles(), strict=False):
        rates, halves = zip(*throughputs(report, target), strict=True)
        axes.plot(rates, halves, label=target, **style)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="requests/s, from one in flight to as many as make the core busy, or 512",
        ylabel="half of the requests took at most, µs",
    )
    axes.legend(fontsize="small")


def _cost(axes: Any, report: Report, targets: Sequence[str]) -> None:
    rows = range(len(targets))
    quiet, saturated = ([costs(report, target)[place] for target in targets] for place in (0, -1))
    axes.barh([row - 0.2 for row in rows], saturated, height=0.4, label="saturated")
    axes.barh([row + 0.2 for row in rows], quiet, height=0.4, label="one in flight")
    axes.set_yticks(list(rows), targets)
    axes.invert_yaxis()
    axes.set_xlabel("µs of CPU per request")
    axes.legend(fontsize="small")


def _styles() -> Iterator[dict[str, str]]:
    """Tell more lines apart than there are colours."""
    for line, marker in (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D")):
        for colour in range(10):
            yield {"color": f"C{colour}", "linestyle": line, "marker": marker}


def _median(report: Report, target: str, load: Load, column: str) -> float:
    value = report.median(target, load, column)
    if value is None:
        raise ValueError(f"{target}, {load}: no {column}")
    return value


CHARTS = (
    Chart(name="latency", title="Latency of a quiet server: how long shares of the requests took", draw=_latency),
    Chart(name="throughput", title="Throughput against latency, with ever more requests in flight", draw=_throughput),
    Chart(name="cpu", title="Processor time of a request, all processes of the target together", draw=_cost),
)
