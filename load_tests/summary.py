"""The summary: a few rows of a report, for the README. `python load_tests/summary.py` makes it of the report in docs/performance.md."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from document import PERFORMANCE, README, block, replace_block
from report import row

BUSY, BEHIND_ENVOY, ONE = "8x16", "16", "1"
ALONE = "Envoy, no authorization"
NOTHING = "-"


class Line(NamedTuple):
    """A row.

    Args:
        label: for people.
        direct: the target at its gRPC port, or "".
        proxied: the target behind Envoy, or "".
    """

    label: str
    direct: str
    proxied: str


LINES: Sequence[Line] = (
    Line("Envoy alone, without a check", "", ALONE),
    Line("Envoy's own `jwt_authn`", "", "Envoy, jwt_authn"),
    Line("the same with its cache", "", "Envoy, jwt_authn with its cache"),
    Line("**authz-server `--transport asyncio`**, token seen before", "asyncio, hit", "Envoy, asyncio, hit"),
    Line("the same, the token verified each time", "asyncio, miss", "Envoy, asyncio, miss"),
    Line("**authz-server on grpcio** (the default), token seen before", "grpcio, hit", "Envoy, grpcio, hit"),
    Line("a server in Go with a token cache, written for the comparison", "Go, hit", "Envoy, Go, hit"),
    Line("the same, verifying each time", "Go, miss", ""),
    Line("a no-op on grpcio", "grpcio, no-op", ""),
    Line("a no-op in Rust", "Rust, no-op", "Envoy, Rust, no-op"),
)

Figures = Mapping[tuple[str, str], Mapping[str, float]]


def summary(report: str) -> str:
    """Write it.

    Args:
        report: Markdown, see `Report.markdown`.
    """
    figures = _figures(report)
    machine = next(line for line in report.splitlines() if line)
    head = ("what answers", "CPU µs per check", "through Envoy: requests/s", "added to Envoy's p50, one in flight")
    lines = [row(head), row(("---", *["--:"] * 3))]
    measured = (line for line in LINES if {(line.direct, BUSY), (line.proxied, ONE)} & figures.keys())
    lines += (row(_cells(line, figures)) for line in measured)
    return f"One run ({machine}), server and Envoy on one core, medians:\n\n" + "\n".join(lines) + "\n"


def _cells(line: Line, figures: Figures) -> Sequence[str]:
    cpu = figures.get((line.direct, BUSY), {}).get("server CPU µs")
    rate = figures.get((line.proxied, BEHIND_ENVOY), {}).get("requests/s")
    p50, alone = (figures.get((target, ONE), {}).get("p50 µs") for target in (line.proxied, ALONE))
    added = None if p50 is None or alone is None or line.proxied == ALONE else p50 - alone
    return (
        line.label,
        NOTHING if cpu is None else f"{cpu:.0f}",
        NOTHING if rate is None else f"{rate:,.0f}",
        NOTHING if added is None else f"+{added / 1_000:.2f} ms",
    )


def _figures(report: str) -> Figures:
    """Read the table of a report: the middle of each cell that has one, by target and load."""
    table = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in report.splitlines() if line.startswith("| ")]
    head = table[0]
    return {
        (cells[0], cells[1]): {name: _middle(cell) for name, cell in zip(head[2:], cells[2:], strict=True) if cell[0].isdigit()}
        for cells in table
        if len(cells) == len(head) and cells[0] not in (head[0], "---")
    }


def _middle(cell: str) -> float:
    return float(cell.partition(" ")[0].replace(",", ""))


if __name__ == "__main__":
    replace_block(README, "fast", summary(block(PERFORMANCE, "bench")))
