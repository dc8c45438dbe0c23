"""The health service as bytes: what each service's status is, and who wants to know when it changes."""

from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError

from authz_server.envoy import stubs
from authz_server.transport.grpc import CallError, Refusal, Status

SERVING: Final = "SERVING"
NOT_SERVING: Final = "NOT_SERVING"
UNKNOWN: Final = "SERVICE_UNKNOWN"

Watcher = Callable[[bytes], None]


class Health:
    """The statuses of `grpc.health.v1` for "", the Authorization service and `liveness`.

    Source: gRPC's "GRPC Health Checking Protocol".
    """

    def __init__(self) -> None:
        self._statuses = {"": NOT_SERVING, stubs.SERVICE: NOT_SERVING, "liveness": SERVING}
        self._watchers: dict[Watcher, str] = {}

    def set(self, *, ready: bool) -> None:
        """Change the statuses that follow readiness, and tell the watchers of each that changed."""
        status = SERVING if ready else NOT_SERVING
        changed = {service for service in ("", stubs.SERVICE) if self._statuses[service] != status}
        self._statuses.update(dict.fromkeys(changed, status))
        for watcher, service in list(self._watchers.items()):
            if service in changed and watcher in self._watchers:  # telling one may end another
                watcher(_written(status))

    def check(self, data: bytes) -> bytes:
        """Answer `Check`.

        Raises:
            CallError: NOT_FOUND for a service that is not here.
        """
        status = self._statuses.get(_read(data))
        if status is None:
            raise CallError(Refusal(Status.NOT_FOUND, "unknown service"))
        return _written(status)

    def watch(self, data: bytes, watcher: Watcher) -> bytes:
        """Answer `Watch`: the status now; *watcher* is told each later one.

        Raises:
            CallError: for bytes that are no HealthCheckRequest.
        """
        service = _read(data)
        if service not in self._statuses:
            return _written(UNKNOWN)  # now and for ever: no service comes later, and its name is not kept
        self._watchers[watcher] = service
        return _written(self._statuses[service])

    def unwatch(self, watcher: Watcher) -> None:
        """Forget a watcher."""
        self._watchers.pop(watcher, None)


def _read(data: bytes) -> str:
    try:
        return str(stubs.HealthCheckRequest.FromString(data).service)
    except DecodeError:
        raise CallError(Refusal(Status.INTERNAL, "the message is no HealthCheckRequest")) from None


def _written(status: str) -> bytes:
    return bytes(stubs.HealthCheckResponse(status=status).SerializeToString())
