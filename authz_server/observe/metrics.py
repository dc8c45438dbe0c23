"""The metrics of a process. Every label comes from the configuration or from a closed table, never from a request."""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import Counter, Gauge, generate_latest

from authz_server.core.decisions import Allow, Deny
from authz_server.observe.registry import Registry
from authz_server.observe.samples import (
    CertificateFamilies,
    CertificateSample,
    KeySetFamilies,
    KeySetSample,
    RevocationFamilies,
    RevocationsSample,
    VerdictFamilies,
    VerdictsSample,
    WatchFamily,
    WrongProtocolFamily,
)
from authz_server.observe.tallies import BUCKETS, Checks, Labels, Tally


class Metrics:
    """The metrics of one process, in a registry of their own.

    Args:
        version: of the server.
    """

    def __init__(self, version: str) -> None:
        self.registry = Registry()
        self._checks = Checks()
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
        tally.buckets[bisect_left(BUCKETS, seconds)] += 1
        tally.seconds += seconds

    def repeated(self, labels: Labels, seconds: float) -> None:
        """Count a check whose verdict was repeated, and that it was."""
        try:
            tally: Tally = self._own.tally
        except AttributeError:
            tally = self._tally()
        tally.hits += 1
        tally.checks[labels] = tally.checks.get(labels, 0) + 1
        tally.buckets[bisect_left(BUCKETS, seconds)] += 1
        tally.seconds += seconds

    def hit(self) -> None:
        """Count a token whose verdict was repeated."""
        self._tally().hits += 1

    def missed(self) -> None:
        """Count a token whose verdict was not there."""
        self._tally().misses += 1

    def _tally(self) -> Tally:
        try:
            tally: Tally = self._own.tally
        except AttributeError:
            tally = self._own.tally = Tally()
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

    def show_verdicts(self, sizes: Callable[[], Iterable[VerdictsSample]]) -> None:
        """Read the sizes of what is kept at each scrape."""
        self.registry.register(VerdictFamilies(sizes))

    def show_keys(self, samples: Callable[[], Iterable[KeySetSample]]) -> None:
        """Read the state of the key sets at each scrape."""
        self.registry.register(KeySetFamilies(samples))

    def show_certificate(self, sample: Callable[[], CertificateSample]) -> None:
        """Read the state of the server's certificate at each scrape."""
        self.registry.register(CertificateFamilies(sample))

    def show_revocations(self, sample: Callable[[], RevocationsSample]) -> None:
        """Read the state of the list of revocations at each scrape."""
        self.registry.register(RevocationFamilies(sample))

    def show_watches(self, ages: Callable[[], Mapping[str, float]]) -> None:
        """Read at each scrape how many seconds ago watched files were looked at, by what they hold."""
        self.registry.register(WatchFamily(ages))

    def show_wrong_protocols(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Read at each scrape how many clients spoke another protocol than the gRPC port, by which."""
        self.registry.register(WrongProtocolFamily(counts))

    def revocations_read(self, outcome: str) -> None:
        """Count a look at the list of revocations, by how it ended."""
        self._revocations_read.labels(outcome).inc()

    def revocation_skipped(self) -> None:
        """Count an entry that could not be read."""
        self._revocations_skipped.inc()

    def text(self) -> bytes:
        """Write every metric in Prometheus' text format."""
        return generate_latest(self.registry)
