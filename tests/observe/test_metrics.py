"""Metrics count what happens, under labels that no client chooses."""

import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from authz_server.core.decisions import Allow, Deny
from authz_server.core.reasons import Reason
from authz_server.observe.metrics import Metrics
from authz_server.observe.registry import CONTENT_TYPE
from authz_server.observe.samples import KeySetSample, VerdictsSample
from authz_server.observe.totals import SupervisorMetrics


@pytest.fixture
def metrics() -> Metrics:
    """The metrics of a process that has done nothing yet."""
    return Metrics("1.2.3")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Read one sample."""
    return metrics.registry.get_sample_value(name, labels)


def test_checks_are_counted_by_route_and_reason(metrics: Metrics) -> None:
    """Each check counts once under its api, route, decision and reason, which is empty for an allow."""
    allow, deny = Allow(api="pets", route="GET /pets"), Deny(reason=Reason.TOKEN_EXPIRED, api="pets", route="GET /pets")
    for decision in (allow, allow, deny, Deny(reason=Reason.NO_API), Deny(reason=Reason.KEYS_UNAVAILABLE, api="pets", route="GET /pets")):
        metrics.check(decision, 0.001)

    route = {"api": "pets", "route": "GET /pets"}
    assert value(metrics, "authz_checks_total", **route, decision="allow", reason="") == 2
    assert value(metrics, "authz_checks_total", **route, decision="deny", reason="token_expired") == 1
    assert value(metrics, "authz_checks_total", **route, decision="unavailable", reason="keys_unavailable") == 1
    assert value(metrics, "authz_checks_total", api="", route="", decision="deny", reason="no_api") == 1


def test_durations_are_observed(metrics: Metrics) -> None:
    """Every check is in the histogram, whatever its answer."""
    metrics.check(Allow(api="a", route="r"), 0.0003)
    metrics.check(Deny(reason=Reason.NO_API), 0.7)

    assert value(metrics, "authz_check_duration_seconds_count") == 2
    assert value(metrics, "authz_check_duration_seconds_sum") == pytest.approx(0.7003)
    assert value(metrics, "authz_check_duration_seconds_bucket", le="0.0005") == 1
    assert value(metrics, "authz_check_duration_seconds_bucket", le="1.0") == 2


def test_dropped_claim_headers_are_counted(metrics: Metrics) -> None:
    """Headers that did not fit count under their api; an allow without such leaves no trace."""
    metrics.check(Allow(api="a", route="r", dropped=("x-a", "x-b")), 0.0)
    metrics.check(Allow(api="a", route="r", dropped=("x-c",)), 0.0)
    metrics.check(Allow(api="b", route="r"), 0.0)

    assert value(metrics, "authz_claim_headers_dropped_total", api="a") == 3
    assert value(metrics, "authz_claim_headers_dropped_total", api="b") is None


def test_no_series_says_when_a_counter_began(metrics: Metrics) -> None:
    """Each counter is one series and not two: a server with many routes has many."""
    metrics.check(Allow(api="a", route="r", dropped=("x",)), 0.0)
    metrics.fetch("p", "ok")

    assert b"authz_jwks_fetches_total{" in metrics.text()
    assert b"_created" not in metrics.text()
    assert b"_created" not in SupervisorMetrics(1).text([metrics.text()], {"0": metrics.text()})


def test_fetches_are_counted_by_outcome(metrics: Metrics) -> None:
    """A pool's fetches count under how they ended; skipped keys are those of the last set."""
    for outcome in ("ok", "ok", "timeout"):
        metrics.fetch("p", outcome)
    for count in (3, 1):
        metrics.skipped_keys("p", count)

    assert value(metrics, "authz_jwks_fetches_total", user_pool="p", outcome="ok") == 2
    assert value(metrics, "authz_jwks_fetches_total", user_pool="p", outcome="timeout") == 1
    assert value(metrics, "authz_jwks_skipped_keys", user_pool="p") == 1


@pytest.mark.parametrize("good", [True, False])
def test_reloads_are_shown(*, good: bool, metrics: Metrics) -> None:
    """The running generation, and when and how the last load ended."""
    metrics.reloaded(7, 1_757_430_433.5, good=good)

    assert value(metrics, "authz_configuration_generation") == 7
    assert value(metrics, "authz_configuration_last_reload_successful") == int(good)
    assert value(metrics, "authz_configuration_last_reload_timestamp_seconds") == 1_757_430_433.5


def test_lost_lines_are_counted(metrics: Metrics) -> None:
    """The decision log's losses add up."""
    metrics.log_dropped(2)
    metrics.log_dropped(3)

    assert value(metrics, "authz_decision_log_dropped_total") == 5


def test_key_sets_are_read_at_each_scrape(metrics: Metrics) -> None:
    """Age and number of keys are those of the moment; a pool that never had keys has no age."""

    def sample(pool: str, age: float | None, keys: int, used: int = 0) -> KeySetSample:
        unchanged = None if age is None else age + 1
        unseen = {"absent": 4, "fetch": 3}
        return KeySetSample(
            user_pool=pool, age=age, unchanged=unchanged, ceiling=86_400.0, keys=keys, waiting=7, stale_uses=used, unseen=unseen
        )

    samples = [sample("a", 12.5, 2, used=5), sample("b", None, 0)]
    metrics.show_keys(lambda: samples)

    assert value(metrics, "authz_jwks_age_seconds", user_pool="a") == 12.5
    assert value(metrics, "authz_jwks_keys", user_pool="a") == 2
    assert value(metrics, "authz_jwks_age_seconds", user_pool="b") is None
    assert value(metrics, "authz_jwks_keys", user_pool="b") == 0
    assert value(metrics, "authz_jwks_unchanged_seconds", user_pool="a") == 13.5
    assert value(metrics, "authz_jwks_unchanged_seconds", user_pool="b") is None
    assert value(metrics, "authz_jwks_stale_ceiling_seconds", user_pool="b") == 86_400.0
    assert value(metrics, "authz_jwks_waiting_checks", user_pool="a") == 7
    assert value(metrics, "authz_jwks_stale_uses_total", user_pool="a") == 5
    assert value(metrics, "authz_jwks_stale_uses_total", user_pool="b") == 0
    assert value(metrics, "authz_jwks_unseen_kids_total", user_pool="a", outcome="absent") == 4
    assert value(metrics, "authz_jwks_unseen_kids_total", user_pool="a", outcome="fetch") == 3
    samples[:] = [sample("a", 0.0, 3)]
    assert value(metrics, "authz_jwks_age_seconds", user_pool="a") == 0.0
    assert value(metrics, "authz_jwks_keys", user_pool="b") is None


def test_files_of_the_state_directory_are_counted(metrics: Metrics) -> None:
    """Each reading and writing counts by how it ended."""
    for outcome in ("ok", "ok", "failed"):
        metrics.state_file("p", "write", outcome)

    assert value(metrics, "authz_jwks_state_files_total", user_pool="p", operation="write", outcome="ok") == 2
    assert value(metrics, "authz_jwks_state_files_total", user_pool="p", operation="write", outcome="failed") == 1


def test_lookups_are_counted(metrics: Metrics) -> None:
    """Tokens whose verdict was kept, and those whose was not."""
    metrics.missed()
    for _ in range(3):
        metrics.hit()
    metrics.repeated(("a", "r", "allow", ""), 0.002)

    assert value(metrics, "authz_verdict_lookups_total", result="hit") == 4
    assert value(metrics, "authz_checks_total", api="a", route="r", decision="allow", reason="") == 1
    assert value(metrics, "authz_check_duration_seconds_sum") == 0.002
    assert value(metrics, "authz_check_duration_seconds_bucket", le="0.002") == 1
    assert value(metrics, "authz_check_duration_seconds_bucket", le="0.001") == 0
    assert value(metrics, "authz_verdict_lookups_total", result="miss") == 1


def test_verdicts_are_read_at_each_scrape(metrics: Metrics) -> None:
    """Number, size and losses of kept verdicts are those of the moment."""
    samples = [VerdictsSample("allow", 2, 1_000, 5), VerdictsSample("deny", 0, 0, 0)]
    metrics.show_verdicts(lambda: samples)

    for name, expected in (("authz_verdicts", 2), ("authz_verdicts_bytes", 1_000), ("authz_verdicts_evicted", 5)):
        assert value(metrics, name, decision="allow") == expected
        assert value(metrics, name, decision="deny") == 0


def test_checks_of_all_threads_add_up(metrics: Metrics) -> None:
    """Threads count for themselves, and a scrape sees them all, also those that have ended."""

    def check() -> None:
        for _ in range(500):
            metrics.check(Allow(api="a", route="r"), 0.001)
            metrics.hit()

    threads = [threading.Thread(target=check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert value(metrics, "authz_checks_total", api="a", route="r", decision="allow", reason="") == 4_000
    assert value(metrics, "authz_check_duration_seconds_count") == 4_000
    assert value(metrics, "authz_check_duration_seconds_bucket", le="0.001") == 4_000
    assert value(metrics, "authz_check_duration_seconds_bucket", le="0.0005") == 0
    assert value(metrics, "authz_verdict_lookups_total", result="hit") == 4_000


def test_a_process_without_checks_has_an_empty_histogram(metrics: Metrics) -> None:
    """A scrape before the first check shows zeros."""
    assert value(metrics, "authz_check_duration_seconds_count") == 0
    assert value(metrics, "authz_check_duration_seconds_sum") == 0
    assert value(metrics, "authz_verdict_lookups_total", result="miss") == 0


def test_the_version_is_shown(metrics: Metrics) -> None:
    """One sample names the version."""
    assert value(metrics, "authz_build_info", version="1.2.3") == 1


def test_two_servers_in_one_process_do_not_share_metrics(metrics: Metrics) -> None:
    """Each has a registry of its own."""
    metrics.log_dropped(1)

    assert value(Metrics("2"), "authz_decision_log_dropped_total") == 0


def test_the_text_is_prometheus_format(metrics: Metrics) -> None:
    """What is served can be parsed, and says so in its content type."""
    metrics.check(Allow(api='a"\n', route="GET /{é}"), 0.001)
    families = {family.name: family for family in text_string_to_metric_families(metrics.text().decode())}

    assert families["authz_checks"].samples[0].labels == {"api": 'a"\n', "route": "GET /{é}", "decision": "allow", "reason": ""}
    assert families["authz_checks"].documentation == "Checks answered."
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
