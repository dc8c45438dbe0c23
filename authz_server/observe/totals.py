"""The metrics of several workers taken together, and those of the supervisor that runs them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import Counter, Gauge, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from authz_server.observe.registry import Registry

_SUMMED: Final = frozenset({"counter", "histogram"})


class Totals(Collector):
    """Families that add up or stand side by side.

    Args:
        counted: texts of which counters and histograms are added up.
        shown: texts by worker, of which everything else is shown under the label `worker`.
    """

    def __init__(self, counted: Iterable[bytes], shown: Mapping[str, bytes]) -> None:
        self._counted = counted
        self._shown = shown

    def collect(self) -> Iterator[Metric]:
        """Yield what was added up, then what is shown."""
        yield from _together(
            family for text in self._counted for family in text_string_to_metric_families(text.decode()) if family.type in _SUMMED
        )
        yield from _together(
            _labelled(family, worker)
            for worker, text in self._shown.items()
            for family in text_string_to_metric_families(text.decode())
            if family.type not in _SUMMED
        )


def add(texts: Iterable[bytes]) -> bytes:
    """Add up the counters and histograms of several texts.

    Args:
        texts: in Prometheus' text format.

    Returns:
        A text of the sums alone.
    """
    return generate_latest(Totals(texts, {}))


class SupervisorMetrics:
    """What a supervisor shows: its own metrics, and those of its workers as if they were one process.

    Args:
        workers: how many it runs.
    """

    def __init__(self, workers: int) -> None:
        self.registry = Registry()
        self._listening = Gauge("authz_workers", "With --workers: workers that listen.", registry=self.registry)
        self._restarts = Counter(
            "authz_worker_restarts", "With --workers: starts of a worker after it had ended.", ["worker"], registry=self.registry
        )
        for number in range(workers):
            self._restarts.labels(str(number))

    def listening(self, workers: int) -> None:
        """Show how many workers listen."""
        self._listening.set(workers)

    def restarted(self, worker: int) -> None:
        """Count a start of a worker that had ended."""
        self._restarts.labels(str(worker)).inc()

    def text(self, counted: Sequence[bytes], shown: Mapping[str, bytes]) -> bytes:
        """Write every metric in Prometheus' text format, see `Totals`."""
        return generate_latest(self.registry) + generate_latest(Totals(counted, shown))


def _labelled(family: Metric, worker: str) -> Metric:
    family.samples = [Sample(name, {**labels, "worker": worker}, value) for name, labels, value, *_ in family.samples]
    return family


def _together(families: Iterable[Metric]) -> Iterable[Metric]:
    """Make families of one name one, adding up samples with the same labels."""
    merged: dict[str, Metric] = {}
    for family in families:
        kept = merged.setdefault(family.name, family)
        if kept is not family:
            kept.samples = _sum(kept.samples, family.samples)
    return merged.values()


def _sum(samples: Iterable[Sample], more: Iterable[Sample]) -> list[Sample]:
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for name, labels, value, *_ in (*samples, *more):
        key = name, tuple(sorted(labels.items()))
        sums[key] = sums.get(key, 0.0) + value
    return [Sample(name, dict(labels), value) for (name, labels), value in sums.items()]
