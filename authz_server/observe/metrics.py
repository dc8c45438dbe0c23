"""Prometheus metrics. Every label comes from the configuration or from a closed table, never from a request."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from authz_server.core.decisions import Allow, Deny

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.25, 1.0)


class KeySetSample(NamedTuple):
    """The keys of one user pool at the moment of a scrape.

    Args:
        user_pool: id of the pool.
        age: seconds since the last good fetch, or None before it.
        keys: how many keys are usable.
    """

    user_pool: str
    age: float | None
    keys: int


class _KeySets(Collector):
    def __init__(self, samples: Callable[[], Iterable[KeySetSample]]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[GaugeMetricFamily]:
        age = GaugeMetricFamily("authz_jwks_age_seconds", "Seconds since the last good fetch of a user pool's keys.", labels=["user_pool"])
        count = GaugeMetricFamily("authz_jwks_keys", "Usable keys of a user pool.", labels=["user_pool"])
        for sample in self._samples():
            if sample.age is not None:
                age.add_metric([sample.user_pool], sample.age)
            count.add_metric([sample.user_pool], sample.keys)
        yield age
        yield count


class Metrics:
    """The metrics of one process, in a registry of their own.

    Args:
        version: of the server.
    """

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self._checks = Counter("authz_checks", "Checks answered.", ["api", "route", "decision", "reason"], registry=self.registry)
        self._duration = Histogram("authz_check_duration_seconds", "Time to answer a check.", buckets=_BUCKETS, registry=self.registry)
        self._dropped = Counter("authz_claim_headers_dropped", "Claim headers left out for size.", ["api"], registry=self.registry)
        self._fetches = Counter("authz_jwks_fetches", "Fetches of key sets.", ["user_pool", "outcome"], registry=self.registry)
        self._skipped = Gauge("authz_jwks_skipped_keys", "Keys of the last set that are not usable.", ["user_pool"], registry=self.registry)
        self._generation = Gauge("authz_configuration_generation", "Configurations loaded since the start.", registry=self.registry)
        self._reload_good = Gauge("authz_configuration_last_reload_successful", "1 or 0.", registry=self.registry)
        self._reload_time = Gauge("authz_configuration_last_reload_timestamp_seconds", "Unix time.", registry=self.registry)
        self._unlogged = Counter("authz_decision_log_dropped", "Decision log lines that could not be written.", registry=self.registry)
        build = Gauge("authz_build_info", "Version of the server.", ["version"], registry=self.registry)
        build.labels(version).set(1)

    def check(self, decision: Allow | Deny, seconds: float) -> None:
        """Count a check.

        Args:
            decision: its answer.
            seconds: how long it took, waiting for keys included.
        """
        reason = "" if isinstance(decision, Allow) else decision.reason.label
        self._checks.labels(decision.api, decision.route, decision.decision, reason).inc()
        self._duration.observe(seconds)
        if isinstance(decision, Allow) and decision.dropped:
            self._dropped.labels(decision.api).inc(decision.dropped)

    def fetch(self, user_pool: str, outcome: str) -> None:
        """Count a fetch of a key set."""
        self._fetches.labels(user_pool, outcome).inc()

    def skipped_keys(self, user_pool: str, count: int) -> None:
        """Show how many keys of the last set are not usable."""
        self._skipped.labels(user_pool).set(count)

    def reloaded(self, generation: int, when: float, *, good: bool) -> None:
        """Show the running configuration.

        Args:
            generation: its number.
            when: Unix time of the last try to load one.
            good: whether that try succeeded.
        """
        self._generation.set(generation)
        self._reload_time.set(when)
        self._reload_good.set(good)

    def log_dropped(self, lines: int) -> None:
        """Count decision log lines that could not be written."""
        self._unlogged.inc(lines)

    def show_keys(self, samples: Callable[[], Iterable[KeySetSample]]) -> None:
        """Read the state of the key sets at each scrape."""
        self.registry.register(_KeySets(samples))

    def text(self) -> bytes:
        """Write every metric in Prometheus' text format."""
        return generate_latest(self.registry)
