"""Tallies: what each thread has counted of checks, and the families of metrics that add them up."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Labels = tuple[str, str, str, str]  # api, route, decision, reason

BUCKETS: Final = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.25, 1.0)


class Tally:
    """What one thread has counted; plain numbers, since a check should not pay for locks."""

    def __init__(self) -> None:
        self.checks: dict[Labels, int] = {}
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.hits = 0
        self.misses = 0


class Checks(Collector):
    """Add up the tallies of all threads at each scrape."""

    def __init__(self) -> None:
        self.tallies: list[Tally] = []

    def collect(self) -> Iterator[Metric]:
        """Add up, and yield each family."""
        checks = CounterMetricFamily("authz_checks", "Checks answered.", labels=["api", "route", "decision", "reason"])
        totals: dict[Labels, int] = {}
        for tally in self.tallies:
            for labels, count in list(tally.checks.items()):
                totals[labels] = totals.get(labels, 0) + count
        for (api, route, decision, reason), count in totals.items():
            checks.add_metric([api, route, decision, reason], count)
        yield checks
        duration = HistogramMetricFamily("authz_check_duration_seconds", "Time to answer a check.")
        sums = list(accumulate(sum(column) for column in zip(*(tally.buckets for tally in self.tallies), strict=True)))
        bounds = [*map(str, BUCKETS), "+Inf"]
        duration.add_metric([], list(zip(bounds, sums or [0] * len(bounds), strict=True)), sum(tally.seconds for tally in self.tallies))
        yield duration
        lookups = CounterMetricFamily("authz_verdict_lookups", "Tokens looked up among the kept verdicts.", labels=["result"])
        lookups.add_metric(["hit"], sum(tally.hits for tally in self.tallies))
        lookups.add_metric(["miss"], sum(tally.misses for tally in self.tallies))
        yield lookups
