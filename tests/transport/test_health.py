"""The health service: what each service's status is, and who hears of a change."""

import pytest
from grpc_health.v1 import health_pb2

from authz_server.transport import health as health_module
from authz_server.transport.grpc import CallError, Status
from authz_server.transport.health import TOLD_AT_ONCE, Health

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
    health = Health(lambda call: call())
    seen = [status(health.check(ask(service)))]
    for change in (True, False):
        health.set(ready=change)
        seen.append(status(health.check(ask(service))))

    assert seen == [before, ready, after]


def test_check_of_an_unknown_service_is_not_found():
    """As the health protocol says."""
    with pytest.raises(CallError) as refused:
        Health(lambda call: call()).check(ask("else"))

    assert refused.value.refusal.status is Status.NOT_FOUND


def test_bytes_that_are_no_request_are_an_error():
    """Of gRPC, since this is no check."""
    for method in (lambda data: Health(lambda call: call()).check(data), lambda data: Health(lambda call: call()).watch(data, print)):
        with pytest.raises(CallError) as refused:
            method(b"\xff")
        assert refused.value.refusal.status is Status.INTERNAL


def test_a_watcher_hears_the_status_and_each_change():
    """And nothing when nothing changed."""
    health, heard = Health(lambda call: call()), []
    heard.append(health.watch(ask(AUTHORIZATION), heard.append))
    for ready in (True, True, False, False):
        health.set(ready=ready)

    assert [status(answer) for answer in heard] == [NOT_SERVING, SERVING, NOT_SERVING]


@pytest.mark.parametrize(("service", "first"), [("liveness", SERVING), ("else", UNKNOWN)])
def test_a_watcher_of_what_never_changes_hears_once(service, first):
    """Watching an unknown service is no error, as the health protocol says."""
    health, heard = Health(lambda call: call()), []
    heard.append(health.watch(ask(service), heard.append))
    health.set(ready=True)

    assert [status(answer) for answer in heard] == [first]


def test_the_name_of_an_unknown_service_is_not_kept():
    """Else a peer could fill the memory with names."""
    health = Health(lambda call: call())
    health.watch(ask("x" * 1_000), print)

    assert not health._watchers


def test_a_watcher_that_left_hears_nothing():
    """Leaving twice is no error."""
    health, heard = Health(lambda call: call()), []
    health.watch(ask(""), heard.append)
    health.unwatch(heard.append)
    health.unwatch(heard.append)
    health.set(ready=True)

    assert not heard


def test_a_watcher_may_leave_while_it_is_told():
    """Telling one may end another's connection."""
    health, heard = Health(lambda call: call()), []

    def second(answer):
        heard.append(answer)

    def first(_):
        health.unwatch(second)

    health.watch(ask(""), first)
    health.watch(ask(""), second)
    health.set(ready=True)

    assert not heard


def test_watchers_are_told_in_turns():
    """Each hears how things are when its turn comes, once; one that has gone meanwhile is not told."""
    turns, heard = [], []
    health = Health(turns.append)
    watchers = [lambda answer, number=number: heard.append((number, status(answer))) for number in range(TOLD_AT_ONCE + 2)]
    for watcher in watchers:
        health.watch(ask(""), watcher)
    health.set(ready=True)
    assert heard == [(number, SERVING) for number in range(TOLD_AT_ONCE)]
    health.set(ready=False)
    health.unwatch(watchers[-1])
    while turns:
        turns.pop(0)()

    assert heard[TOLD_AT_ONCE:] == [(TOLD_AT_ONCE, NOT_SERVING), *((number, NOT_SERVING) for number in range(TOLD_AT_ONCE))]


def test_watches_are_bounded(monkeypatch):
    """One too many is refused, until one has gone."""
    monkeypatch.setattr(health_module, "MAX_WATCHES", 1)
    health = Health(lambda call: call())
    health.watch(ask(""), print)
    with pytest.raises(CallError) as refused:
        health.watch(ask(""), repr)
    assert refused.value.refusal.status is Status.RESOURCE_EXHAUSTED
    health.unwatch(print)
    health.watch(ask(""), repr)
