"""Measurements: warm up, then count what a run of traffic costs."""

from collections.abc import Mapping
from dataclasses import dataclass

from targets import Running
from traffic import Load, Traffic

FIRST_RATE = 500.0  # a guess, until the first run tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long runs last, in seconds.

    Args:
        warm_up: before the figures count.
        run: of the run that counts.
    """

    warm_up: float
    run: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One run of one target under one load.

    Args:
        traffic: how it went.
        cpu: microseconds of processor time for each request, by process.
        rest: resident MiB of all processes before the warm-up.
        memory: the same at the end.
    """

    traffic: Traffic
    cpu: Mapping[str, float]
    rest: float
    memory: float


def measure(running: Running, load: Load, lengths: Lengths) -> Measurement:
    """Measure a running target.

    Raises:
        TrafficError: when a request failed.
    """
    rate = FIRST_RATE
    rest = _memory(running)
    for seconds in (lengths.warm_up / 3, lengths.warm_up):  # the first only to learn how many requests the second should have
        rate = running.source(load, seconds, rate).rate
    before = {name: process.usage() for name, process in running.processes.items()}
    traffic = running.source(load, lengths.run, rate)
    after = {name: process.usage() for name, process in running.processes.items()}
    return Measurement(
        traffic=traffic,
        cpu={name: (after[name].cpu - before[name].cpu) / traffic.requests * 1e6 for name in after},
        rest=rest,
        memory=_memory(running),
    )


def _memory(running: Running) -> float:
    return sum(process.usage().memory for process in running.processes.values()) / 2**20
