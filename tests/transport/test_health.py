"""The health service: what each service's status is, and who hears of a change."""

import pytest
from grpc_health.v1 import health_pb2

from authz_server.transport.grpc import CallError, Status
from authz_server.transport.health import Health

SERVING, NOT_SERVING, UNKNOWN = 1, 2, 3
AUTHORIZATION = "envoy.service.auth.v3.Authorization"


def ask(service):
    """Write a HealthCheckRequest with the published protos."""
    return health_pb2.HealthCheckRequest(service=service).SerializeToString()


def status(answer):
    """Read a HealthCheckResponse with the published protos."""
    return health_pb2.HealthCheckResponse.FromString(answer).status


@pytest.mark.parametrize(
    ("service", "before", "ready", "after"),
    [
        ("", NOT_SERVING, SERVING, NOT_SERVING),
        (AUTHORIZATION, NOT_SERVING, SERVING, NOT_SERVING),
        ("liveness", SERVING, SERVING, SERVING),
    ],
)
def test_readiness_is_the_status_of_all_but_liveness(service, before, ready, after):
    """It begins as not ready; restarting a server would not make it ready."""
    health = Health()
    seen = [status(health.check(ask(service)))]
    for change in (True, False):
        health.set(ready=change)
        seen.append(status(health.check(ask(service))))

    assert seen == [before, ready, after]


def test_check_of_an_unknown_service_is_not_found():
    """As the health protocol says."""
    with pytest.raises(CallError) as refused:
        Health().check(ask("else"))

    assert refused.value.refusal.status is Status.NOT_FOUND


def test_bytes_that_are_no_request_are_an_error():
    """Of gRPC, since this is no check."""
    for method in (lambda data: Health().check(data), lambda data: Health().watch(data, print)):
        with pytest.raises(CallError) as refused:
            method(b"\xff")
        assert refused.value.refusal.status is Status.INTERNAL


def test_a_watcher_hears_the_status_and_each_change():
    """And nothing when nothing changed."""
    health, heard = Health(), []
    heard.append(health.watch(ask(AUTHORIZATION), heard.append))
    for ready in (True, True, False, False):
        health.set(ready=ready)

    assert [status(answer) for answer in heard] == [NOT_SERVING, SERVING, NOT_SERVING]


@pytest.mark.parametrize(("service", "first"), [("liveness", SERVING), ("else", UNKNOWN)])
def test_a_watcher_of_what_never_changes_hears_once(service, first):
    """Watching an unknown service is no error, as the health protocol says."""
    health, heard = Health(), []
    heard.append(health.watch(ask(service), heard.append))
    health.set(ready=True)

    assert [status(answer) for answer in heard] == [first]


def test_the_name_of_an_unknown_service_is_not_kept():
    """Else a peer could fill the memory with names."""
    health = Health()
    health.watch(ask("x" * 1_000), print)

    assert not health._watchers


def test_a_watcher_that_left_hears_nothing():
    """Leaving twice is no error."""
    health, heard = Health(), []
    health.watch(ask(""), heard.append)
    health.unwatch(heard.append)
    health.unwatch(heard.append)
    health.set(ready=True)

    assert not heard


def test_a_watcher_may_leave_while_it_is_told():
    """Telling one may end another's connection."""
    health, heard = Health(), []

    def second(answer):
        heard.append(answer)

    def first(_):
        health.unwatch(second)

    health.watch(ask(""), first)
    health.watch(ask(""), second)
    health.set(ready=True)

    assert not heard
