"""Samples: what is read at the moment of a scrape, and the families of metrics that show it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


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


class KeySetFamilies(Collector):
    """Show the keys of each user pool.

    Args:
        samples: reads them.
    """

    def __init__(self, samples: Callable[[], Iterable[KeySetSample]]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        """Read, and yield each family."""
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


class VerdictFamilies(Collector):
    """Show the kept verdicts.

    Args:
        samples: reads them.
    """

    def __init__(self, samples: Callable[[], Iterable[VerdictsSample]]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        """Read, and yield each family."""
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


class CertificateFamilies(Collector):
    """Show the server's certificate.

    Args:
        sample: reads it.
    """

    def __init__(self, sample: Callable[[], CertificateSample]) -> None:
        self._sample = sample

    def collect(self) -> Iterator[Metric]:
        """Read, and yield each family."""
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


class RevocationFamilies(Collector):
    """Show the list of revocations.

    Args:
        sample: reads it.
    """

    def __init__(self, sample: Callable[[], RevocationsSample]) -> None:
        self._sample = sample

    def collect(self) -> Iterator[Metric]:
        """Read, and yield each family."""
        sample = self._sample()
        for name, documentation, value in (
            ("", "Entries of the list.", sample.entries),
            ("_age_seconds", "Seconds since the list was known to be whole.", sample.age),
            ("_kept", "Entries that Redis has lost; they stay refused here.", sample.kept),
            ("_known", "1, or 0 while good tokens are answered 503 because the list is not known.", sample.known),
        ):
            yield GaugeMetricFamily(f"authz_revocations{name}", f"With --revocations: {documentation}", value)


class WatchFamily(Collector):
    """Show how long ago watched files were looked at.

    Args:
        ages: seconds, by what the files hold.
    """

    def __init__(self, ages: Callable[[], Mapping[str, float]]) -> None:
        self._ages = ages

    def collect(self) -> Iterator[Metric]:
        """Read, and yield the family."""
        family = GaugeMetricFamily(
            "authz_watch_age_seconds",
            "Seconds since a look at watched files ended; one that does not end, as on a disk that is gone, lets it grow.",
            labels=["files"],
        )
        for files, age in self._ages().items():
            family.add_metric([files], age)
        yield family


class WrongProtocolFamily(Collector):
    """Show connections to the gRPC port of clients that speak another protocol.

    Args:
        counts: connections by protocol.
    """

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Read, and yield each family."""
        connections = CounterMetricFamily(
            "authz_wrong_protocol_connections",
            "With --transport asyncio: connections to the gRPC port whose client speaks something else: http1, tls or plaintext.",
            labels=["protocol"],
        )
        for protocol, count in self._counts().items():
            connections.add_metric([protocol], count)
        yield connections
