"""The report: a Markdown table of medians with their range, and one of goals."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from measurement import Measurement
from traffic import Load

_COLUMNS: Mapping[str, Callable[[Measurement], float | None]] = {
    "requests/s": lambda one: one.traffic.rate,
    "p50 µs": lambda one: one.traffic.p50,
    "p99 µs": lambda one: one.traffic.p99,
    "server CPU µs": lambda one: one.cpu.get("server"),
    "Envoy CPU µs": lambda one: one.cpu.get("envoy"),
    "a core's worth/s": lambda one: 1e6 / sum(one.cpu.values()),
    "MiB at rest": lambda one: one.rest,
    "MiB after": lambda one: one.memory,
}
HEAD = ("target", "in flight", *_COLUMNS, "over its floor")


@dataclass(frozen=True, slots=True)
class Report:
    """Measurements by target and load, in the order they first came, and targets that failed.

    Args:
        machine: what it was measured on.
        method: how it was measured.
        floors: for each target that has one, the target that shows what its answers cost without the work.
        rows: the repetitions of each target and load.
        figures: what was found out otherwise, by what it is.
        failures: why a target could not be measured.
    """

    machine: str
    method: str
    floors: Mapping[str, str]
    rows: dict[tuple[str, Load], list[Measurement]] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, target: str, load: Load, measurement: Measurement) -> None:
        """Take in one repetition."""
        self.rows.setdefault((target, load), []).append(measurement)

    def fail(self, target: str, reason: str) -> None:
        """Take note of a target that could not be measured."""
        self.failures[target] = reason

    def median(self, target: str, load: Load, column: str) -> float | None:
        """Find the middle of the repetitions, or None when there are none."""
        values = _values(self.rows.get((target, load), ()), column)
        return median(values) if values else None

    def markdown(self) -> str:
        """Write the table."""
        lines = [self.machine, "", self.method, "", row(HEAD), row(["---", *("--:" for _ in HEAD[1:])])]
        for (target, load), repetitions in self.rows.items():
            cells = (_spread(_values(repetitions, column)) for column in _COLUMNS)
            lines.append(row([target, str(load), *cells, self._over(target, load)]))
        lines += [f"\nNOT MEASURED: {target}: {reason}" for target, reason in self.failures.items()]
        return "\n".join(lines) + "\n"

    def _over(self, target: str, load: Load) -> str:
        """Compare with the floor: processor time at a gRPC port, and the time of half of the requests behind Envoy."""
        column = "p50 µs" if target.startswith("Envoy") else "server CPU µs"
        value, floor = self.median(target, load, column), self.median(self.floors.get(target, ""), load, column)
        return f"+{value - floor:,.0f} µs, x {value / floor:.2f}" if value is not None and floor else "-"


def row(cells: Iterable[str]) -> str:
    """Write a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def _values(repetitions: Sequence[Measurement], column: str) -> list[float]:
    return [value for one in repetitions if (value := _COLUMNS[column](one)) is not None]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    digits = 0 if median(values) >= 100 else 1
    middle = f"{median(values):,.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"
