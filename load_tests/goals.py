"""Goals: what the figures of one report should be, as ratios and differences within it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import disturbances
from parts import FULL, cost_of, delay_of, memory_of
from report import Report, row
from targets import DOORS, OVER_GRPC, OVER_HTTP

SATURATED, ONE_IN_FLIGHT = OVER_GRPC
BEHIND_ENVOY = OVER_HTTP[0]

Value = Callable[[Report], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One comparison.

    Args:
        name: what is compared.
        value: finds it in a report; None when a part of it was not measured.
        limit: that the value must not pass.
        least: whether it must reach the limit instead.
    """

    name: str
    value: Value
    limit: float
    least: bool = False

    def line(self, report: Report) -> str | None:
        """Write its row of the table, or None without figures."""
        value = self.value(report)
        if value is None:
            return None
        met = value >= self.limit if self.least else value <= self.limit
        digits = 2 if self.limit < 10 else 0
        sign = "≥" if self.least else "≤"
        return row([self.name, f"{sign} {self.limit:g}", f"{value:.{digits}f}", "yes" if met else "**no**"])


def cpu(target: str) -> Value:
    """Find the processor time of a check, all cores busy."""
    return lambda report: report.median(target, SATURATED, "server CPU µs")


def behind_envoy(target: str, column: str) -> Value:
    """Find a figure of Envoy and a server together on one core."""
    return lambda report: report.median(f"Envoy, {target}", BEHIND_ENVOY, column)


def at_rest(target: str) -> Value:
    """Find the memory before any load."""
    return lambda report: report.median(target, SATURATED, "MiB at rest")


def ratio(one: Value, other: Value) -> Value:
    """Divide."""

    def value(report: Report) -> float | None:
        dividend, divisor = one(report), other(report)
        return dividend / divisor if dividend is not None and divisor else None

    return value


def difference(one: Value, other: Value) -> Value:
    """Subtract."""

    def value(report: Report) -> float | None:
        minuend, subtrahend = one(report), other(report)
        return minuend - subtrahend if minuend is not None and subtrahend is not None else None

    return value


def noted(figure: str, limit: float) -> Goal:
    """Compare what a part of the report noted, see `parts`."""
    return Goal(name=figure, value=lambda report: report.figures.get(figure), limit=limit)


TOKENS, ROUTES = FULL.tokens, FULL.routes
HIT, LOGGED, MISS, NOOP = "asyncio, hit", "asyncio, hit, log on", "asyncio, miss", "asyncio, no-op"
GRPCIO_HIT, GRPCIO_MISS, GRPCIO_NOOP = "grpcio, hit", "grpcio, miss", "grpcio, no-op"
GO_HIT, GO_MISS, RUST_NOOP = "Go, hit", "Go, miss", "Rust, no-op"
RATE, P99 = "a core's worth/s", "p99 µs"  # requests/s fall when something else wants the core; processor time hardly does

GOALS: Sequence[Goal] = (
    Goal(name="asyncio hit, CPU: of the no-op in Rust", value=ratio(cpu(HIT), cpu(RUST_NOOP)), limit=2),
    Goal(name="asyncio hit, CPU: of the hit in Go", value=ratio(cpu(HIT), cpu(GO_HIT)), limit=0.7),
    Goal(name="asyncio hit, CPU: of its own no-op", value=ratio(cpu(HIT), cpu(NOOP)), limit=1.8),
    Goal(name="asyncio hit with the decision log, CPU: of the hit in Go", value=ratio(cpu(LOGGED), cpu(GO_HIT)), limit=1),
    Goal(name="asyncio miss, CPU: of the miss in Go, which verifies each time", value=ratio(cpu(MISS), cpu(GO_MISS)), limit=1),
    Goal(name="asyncio miss, CPU: µs over its own no-op", value=difference(cpu(MISS), cpu(NOOP)), limit=65),
    Goal(name="grpcio hit, CPU: of its own no-op", value=ratio(cpu(GRPCIO_HIT), cpu(GRPCIO_NOOP)), limit=1.15),
    Goal(name="grpcio miss, CPU: µs over its own no-op", value=difference(cpu(GRPCIO_MISS), cpu(GRPCIO_NOOP)), limit=80),
    Goal(
        name="behind Envoy, asyncio hit, a core's worth: of the hit in Go",
        value=ratio(behind_envoy(HIT, RATE), behind_envoy(GO_HIT, RATE)),
        limit=1.2,
        least=True,
    ),
    Goal(
        name="behind Envoy, asyncio hit, a core's worth: of the no-op in Rust",
        value=ratio(behind_envoy(HIT, RATE), behind_envoy(RUST_NOOP, RATE)),
        limit=0.85,
        least=True,
    ),
    Goal(
        name="behind Envoy, asyncio hit, p99: of the hit in Go",
        value=ratio(behind_envoy(HIT, P99), behind_envoy(GO_HIT, P99)),
        limit=1,
    ),
    Goal(name="asyncio, MiB at rest", value=at_rest(HIT), limit=60),
    Goal(name="grpcio, MiB at rest", value=at_rest(GRPCIO_HIT), limit=80),
    noted(memory_of("off", TOKENS), limit=64),
    *(noted(cost_of(kind, ROUTES), limit=1.1) for kind in ("hit", "miss")),
    *(noted(delay_of(door, meanwhile), limit=disturbances.GOAL) for door in DOORS for meanwhile in disturbances.MEANWHILE),
)


def markdown(report: Report) -> str:
    """Write the table of goals that the report has figures for; nothing without any."""
    lines = list(_lines(report))
    head = [row(("goal", "limit", "measured", "met")), row(("---", "--:", "--:", "---"))]
    return "\n".join(["", *head, *lines]) + "\n" if lines else ""


def _lines(report: Report) -> Iterator[str]:
    for goal in GOALS:
        line = goal.line(report)
        if line is not None:
            yield line
