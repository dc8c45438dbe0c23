"""The metrics of several workers taken together."""

import pytest
from prometheus_client import Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from authz_server.observe.registry import Registry
from authz_server.observe.totals import SupervisorMetrics, add


def worker(checks: dict[str, int], generation: int = 1) -> bytes:
    """Write the metrics of a worker that has answered checks."""
    registry = Registry()
    counter = Counter("checks", "Checks.", ["route"], registry=registry)
    seconds = Histogram("seconds", "Time.", buckets=(0.1, 1.0), registry=registry)
    for route, count in checks.items():
        for _ in range(count):
            counter.labels(route).inc()
            seconds.observe(0.5)
    Gauge("generation", "Generation.", registry=registry).set(generation)
    return generate_latest(registry)


def samples(text: bytes) -> dict[str, float]:
    """Read a text: value by name and labels."""
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_counters_and_histograms_add_up() -> None:
    """A series is the sum over all workers that have it."""
    text = SupervisorMetrics(2).text([worker({"/a": 1, "/b": 2}), worker({"/b": 3, '/"c"\n': 4})], {})

    told = samples(text)
    assert {name: told[name] for name in told if name.startswith("checks")} == {
        "checks_total route=/a": 1,
        "checks_total route=/b": 5,
        'checks_total route=/"c"\n': 4,
    }
    assert (told["seconds_bucket le=0.1"], told["seconds_bucket le=1.0"], told["seconds_bucket le=+Inf"]) == (0, 10, 10)
    assert (told["seconds_count"], told["seconds_sum"]) == (10, pytest.approx(5.0))


def test_everything_else_stands_beside_its_worker() -> None:
    """A sum of ages or generations would mean nothing, so each worker's own is shown."""
    told = samples(SupervisorMetrics(2).text([], {"0": worker({"/a": 1}, generation=3), "1": worker({}, generation=4)}))

    assert (told["generation worker=0"], told["generation worker=1"]) == (3, 4)
    assert "generation" not in told
    assert not any(name.startswith(("checks", "seconds")) for name in told)


def test_what_ended_workers_counted_stays() -> None:
    """A sum that went back would look like a restart, and be counted again."""
    ended = add([b"", worker({"/a": 2})])
    ended = add([ended, worker({"/a": 3})])

    assert samples(SupervisorMetrics(1).text([ended, worker({"/a": 1})], {}))["checks_total route=/a"] == 6
    assert b"generation" not in ended


def test_each_family_is_described_once() -> None:
    """Prometheus refuses a text that describes a metric twice."""
    texts = [worker({"/a": 1}), worker({"/a": 1})]
    lines = SupervisorMetrics(2).text(texts, dict(zip("01", texts, strict=True))).decode().splitlines()
    described = [line for line in lines if line.startswith("# TYPE")]

    assert len(described) == len(set(described))


def test_a_supervisor_shows_its_workers() -> None:
    """How many listen, and how often each was started again, from zero on."""
    metrics = SupervisorMetrics(2)
    metrics.listening(2)
    metrics.restarted(1)

    told = samples(metrics.text([], {}))
    assert told["authz_workers"] == 2
    assert (told["authz_worker_restarts_total worker=0"], told["authz_worker_restarts_total worker=1"]) == (0, 1)
