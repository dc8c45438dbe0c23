"""Traffic: how much is asked at once, and how it went."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many requests are under way at any moment.

    Args:
        connections: opened at the start and kept.
        streams: requests at once on each of them.
        rate: requests per second of all connections together; 0 for as many as are answered.
    """

    connections: int
    streams: int = 1
    rate: float = 0.0

    def __str__(self) -> str:
        return f"{self.connections}x{self.streams}" if self.streams > 1 else str(self.connections)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How a run of a load generator went; every request of it was answered well.

    Args:
        requests: how many.
        rate: of them, per second.
        p50: microseconds that half of the requests took at most.
        p90: the same for nine of ten.
        p99: the same for ninety-nine of a hundred.
        longest: the same for all.
    """

    requests: int
    rate: float
    p50: float
    p90: float
    p99: float
    longest: float


# A load, for so many seconds, at a rate that is known from an earlier run.
Source = Callable[[Load, float, float], Traffic]


class TrafficError(Exception):
    """A run whose figures mean nothing: a request failed, or was answered with something else."""


def percentile(ordered: Sequence[float], share: float) -> float:
    """Find the smallest value that *share* of all values do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
