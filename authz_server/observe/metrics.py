"""Prometheus metrics. Every label comes from the configuration or from a closed table, never from a request."""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from authz_server.core.decisions import Allow, Deny

Labels = tuple[str, str, str, str]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.25, 1.0)


class Registry(CollectorRegistry):
    """A registry without `_created` series: they double the series of each counter, and Prometheus' text format has no use for them."""

    def collect(self) -> Iterator[Metric]:
        """Yield every family, without the times at which its series began."""
        for family in super().collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class KeySetSample(NamedTuple):
    """The keys of one user pool at the moment of a scrape.

    Args:
        user_pool: id of the pool.
        age: seconds since the last good fetch, or None before it.
        unchanged: seconds since the keys were last seen to change, or None before the first good fetch.
        ceiling: seconds after which keys that were not fetched again are not used.
        keys: how many keys are usable.
        waiting: checks that wait for a fetch that is under way.
        stale_uses: checks answered with keys past their refresh.
        unseen: checks of tokens whose kid is not in the set, by what became of them.
    """

    user_pool: str
    age: float | None
    unchanged: float | None
    ceiling: float
    keys: int
    waiting: int
    stale_uses: int
    unseen: Mapping[str, int]


class _KeySets(Collector):
    def __init__(self, samples: Callable[[], Iterable[KeySetSample]]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        pool = ["user_pool"]
        age = GaugeMetricFamily("authz_jwks_age_seconds", "Seconds since the last good fetch of a user pool's keys.", labels=pool)
        unchanged = GaugeMetricFamily("authz_jwks_unchanged_seconds", "Seconds since the keys were last seen to change.", labels=pool)
        ceiling = GaugeMetricFamily("authz_jwks_stale_ceiling_seconds", "Age at which keys are no longer used.", labels=pool)
        count = GaugeMetricFamily("authz_jwks_keys", "Usable keys of a user pool; 0 also when they are too old.", labels=pool)
        waiting = GaugeMetricFamily("authz_jwks_waiting_checks", "Checks that wait for a fetch of keys that is under way.", labels=pool)
        stale = CounterMetricFamily("authz_jwks_stale_uses", "Checks answered with keys past their refresh.", labels=pool)
        unseen = CounterMetricFamily(
            "authz_jwks_unseen_kids",
            "Tokens whose kid is not in the set, by outcome: absent, fetch or unavailable.",
            labels=[*pool, "outcome"],
        )
        for sample in self._samples():
            label = [sample.user_pool]
            if sample.age is not None and sample.unchanged is not None:
                age.add_metric(label, sample.age)
                unchanged.add_metric(label, sample.unchanged)
            ceiling.add_metric(label, sample.ceiling)
            count.add_metric(label, sample.keys)
            waiting.add_metric(label, sample.waiting)
            stale.add_metric(label, sample.stale_uses)
            for outcome, checks in sample.unseen.items():
                unseen.add_metric([*label, outcome], checks)
        yield from (age, unchanged, ceiling, count, waiting, stale, unseen)


class VerdictsSample(NamedTuple):
    """The kept verdicts at the moment of a scrape.

    Args:
        decision: `allow` or `deny`.
        entries: how many.
        size: bytes.
        evictions: how many gave way since the configuration was loaded.
    """

    decision: str
    entries: int
    size: int
    evictions: int


class _Verdicts(Collector):
    def __init__(self, samples: Callable[[], Iterable[VerdictsSample]]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        entries = GaugeMetricFamily("authz_verdicts", "Verdicts about tokens that are kept.", labels=["decision"])
        size = GaugeMetricFamily("authz_verdicts_bytes", "Memory that the kept verdicts take.", labels=["decision"])
        gone = GaugeMetricFamily("authz_verdicts_evicted", "Verdicts of this generation that gave way to others.", labels=["decision"])
        for sample in self._samples():
            entries.add_metric([sample.decision], sample.entries)
            size.add_metric([sample.decision], sample.size)
            gone.add_metric([sample.decision], sample.evictions)
        yield from (entries, size, gone)


class CertificateSample(NamedTuple):
    """The server's certificate at the moment of a scrape.

    Args:
        expires: Unix time.
        valid_from: Unix time.
        reloaded_at: Unix time of the last try to load one.
        good: whether that try succeeded.
    """

    expires: float
    valid_from: float
    reloaded_at: float
    good: bool


class _Certificate(Collector):
    def __init__(self, sample: Callable[[], CertificateSample]) -> None:
        self._sample = sample

    def collect(self) -> Iterator[Metric]:
        sample = self._sample()
        for name, documentation, value in (
            (
                "certificate_expiry_timestamp_seconds",
                "Unix time at which the server's certificate, or one of its chain, expires.",
                sample.expires,
            ),
            (
                "certificate_not_before_timestamp_seconds",
                "Unix time from which the certificate that expires first is valid.",
                sample.valid_from,
            ),
            ("last_reload_successful", "1 or 0.", sample.good),
            ("last_reload_timestamp_seconds", "Unix time.", sample.reloaded_at),
        ):
            yield GaugeMetricFamily(f"authz_tls_{name}", f"With --tls-cert: {documentation}", value)


class RevocationsSample(NamedTuple):
    """The list of revocations at the moment of a scrape.

    Args:
        entries: how many.
        age: seconds since it was known to be whole; infinity when it never was.
        kept: how many of the entries it has lost; they stay refused.
        known: whether tokens are judged by it.
    """

    entries: int
    age: float
    kept: int
    known: bool


class _Revocations(Collector):
    def __init__(self, sample: Callable[[], RevocationsSample]) -> None:
        self._sample = sample

    def collect(self) -> Iterator[Metric]:
        sample = self._sample()
        for name, documentation, value in (
            ("", "Entries of the list.", sample.entries),
            ("_age_seconds", "Seconds since the list was known to be whole.", sample.age),
            ("_kept", "Entries that Redis has lost; they stay refused here.", sample.kept),
            ("_known", "1, or 0 while good tokens are answered 503 because the list is not known.", sample.known),
        ):
            yield GaugeMetricFamily(f"authz_revocations{name}", f"With --revocations: {documentation}", value)


class _WrongProtocols(Collector):
    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        connections = CounterMetricFamily(
            "authz_wrong_protocol_connections",
            "With --transport asyncio: connections to the gRPC port whose client speaks something else: http1, tls or plaintext.",
            labels=["protocol"],
        )
        for protocol, count in self._counts().items():
            connections.add_metric([protocol], count)
        yield connections


class _Tally:
    """What one thread has counted; plain numbers, since a check should not pay for locks."""

    def __init__(self) -> None:
        self.checks: dict[Labels, int] = {}
        self.buckets = [0] * (len(_BUCKETS) + 1)
        self.seconds = 0.0
        self.hits = 0
        self.misses = 0


class _Checks(Collector):
    """Adds up the tallies of all threads at each scrape."""

    def __init__(self) -> None:
        self.tallies: list[_Tally] = []

    def collect(self) -> Iterator[Metric]:
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
        bounds = [*map(str, _BUCKETS), "+Inf"]
        duration.add_metric([], list(zip(bounds, sums or [0] * len(bounds), strict=True)), sum(tally.seconds for tally in self.tallies))
        yield duration
        lookups = CounterMetricFamily("authz_verdict_lookups", "Tokens looked up among the kept verdicts.", labels=["result"])
        lookups.add_metric(["hit"], sum(tally.hits for tally in self.tallies))
        lookups.add_metric(["miss"], sum(tally.misses for tally in self.tallies))
        yield lookups


class Metrics:
    """The metrics of one process, in a registry of their own.

    Args:
        version: of the server.
    """

    def __init__(self, version: str) -> None:
        self.registry = Registry()
        self._checks = _Checks()
        self._own = threading.local()
        self.registry.register(self._checks)
        self._dropped = Counter("authz_claim_headers_dropped", "Claim headers left out for size.", ["api"], registry=self.registry)
        self._fetches = Counter("authz_jwks_fetches", "Fetches of key sets.", ["user_pool", "outcome"], registry=self.registry)
        self._skipped = Gauge("authz_jwks_skipped_keys", "Keys of the last set that are not usable.", ["user_pool"], registry=self.registry)
        self._state_files = Counter(
            "authz_jwks_state_files",
            "With --state-dir: key sets read and written, by outcome.",
            ["user_pool", "operation", "outcome"],
            registry=self.registry,
        )
        self._revocations_read = Counter(
            "authz_revocations_reads", "With --revocations: looks at the list, by outcome.", ["outcome"], registry=self.registry
        )
        self._revocations_skipped = Counter(
            "authz_revocations_skipped", "With --revocations: entries that could not be read and refuse nothing.", registry=self.registry
        )
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
        if isinstance(decision, Deny):
            self.count((decision.api, decision.route, decision.decision, decision.reason.label), seconds)
            return
        self.count((decision.api, decision.route, decision.decision, ""), seconds)
        if decision.dropped:
            self.dropped(decision.api, len(decision.dropped))

    def dropped(self, api: str, headers: int) -> None:
        """Count claim headers that did not fit."""
        self._dropped.labels(api).inc(headers)

    def count(self, labels: Labels, seconds: float) -> None:
        """Count a check by its labels: api, route, decision, and reason ("" for an allow)."""
        tally = self._tally()
        tally.checks[labels] = tally.checks.get(labels, 0) + 1
        tally.buckets[bisect_left(_BUCKETS, seconds)] += 1
        tally.seconds += seconds

    def repeated(self, labels: Labels, seconds: float) -> None:
        """Count a check whose verdict was repeated, and that it was."""
        try:
            tally: _Tally = self._own.tally
        except AttributeError:
            tally = self._tally()
        tally.hits += 1
        tally.checks[labels] = tally.checks.get(labels, 0) + 1
        tally.buckets[bisect_left(_BUCKETS, seconds)] += 1
        tally.seconds += seconds

    def hit(self) -> None:
        """Count a token whose verdict was repeated."""
        self._tally().hits += 1

    def missed(self) -> None:
        """Count a token whose verdict was not there."""
        self._tally().misses += 1

    def _tally(self) -> _Tally:
        try:
            tally: _Tally = self._own.tally
        except AttributeError:
            tally = self._own.tally = _Tally()
            self._checks.tallies.append(tally)
        return tally

    def fetch(self, user_pool: str, outcome: str) -> None:
        """Count a fetch of a key set."""
        self._fetches.labels(user_pool, outcome).inc()

    def skipped_keys(self, user_pool: str, count: int) -> None:
        """Show how many keys of the last set are not usable."""
        self._skipped.labels(user_pool).set(count)

    def state_file(self, user_pool: str, operation: str, outcome: str) -> None:
        """Count a key set that was read from the state directory, or written to it."""
        self._state_files.labels(user_pool, operation, outcome).inc()

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

    def show_verdicts(self, sizes: Callable[[], Iterable["VerdictsSample"]]) -> None:
        """Read the sizes of what is kept at each scrape."""
        self.registry.register(_Verdicts(sizes))

    def show_keys(self, samples: Callable[[], Iterable[KeySetSample]]) -> None:
        """Read the state of the key sets at each scrape."""
        self.registry.register(_KeySets(samples))

    def show_certificate(self, sample: Callable[[], CertificateSample]) -> None:
        """Read the state of the server's certificate at each scrape."""
        self.registry.register(_Certificate(sample))

    def show_revocations(self, sample: Callable[[], RevocationsSample]) -> None:
        """Read the state of the list of revocations at each scrape."""
        self.registry.register(_Revocations(sample))

    def show_wrong_protocols(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Read at each scrape how many clients spoke another protocol than the gRPC port, by which."""
        self.registry.register(_WrongProtocols(counts))

    def revocations_read(self, outcome: str) -> None:
        """Count a look at the list of revocations, by how it ended."""
        self._revocations_read.labels(outcome).inc()

    def revocation_skipped(self) -> None:
        """Count an entry that could not be read."""
        self._revocations_skipped.inc()

    def text(self) -> bytes:
        """Write every metric in Prometheus' text format."""
        return generate_latest(self.registry)
