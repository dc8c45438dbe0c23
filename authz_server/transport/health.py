"""The health service as bytes: what each service's status is, and who wants to know when it changes."""

from collections.abc import Callable
from itertools import islice
from typing import Final

from google.protobuf.message import DecodeError

from authz_server.envoy import stubs
from authz_server.transport.grpc import TOO_MANY_WATCHES, CallError, Refusal, Status

SERVING: Final = "SERVING"
NOT_SERVING: Final = "NOT_SERVING"
UNKNOWN: Final = "SERVICE_UNKNOWN"

MAX_WATCHES: Final = 1_024  # as many as connections
TOLD_AT_ONCE: Final = 32  # which takes a millisecond

Watcher = Callable[[bytes], None]


class Health:
    """The statuses of `grpc.health.v1` for "", the Authorization service and `liveness`.

    Args:
        soon: has something done after what is due now.

    Source: gRPC's "GRPC Health Checking Protocol".
    """

    def __init__(self, soon: Callable[[Callable[[], None]], object]) -> None:
        self._soon = soon
        self._due: dict[Watcher, None] = {}  # who has not heard of the last change
        self._statuses = {"": NOT_SERVING, stubs.SERVICE: NOT_SERVING, "liveness": SERVING}
        self._watchers: dict[Watcher, str] = {}

    def set(self, *, ready: bool) -> None:
        """Change the statuses that follow readiness, and tell the watchers of each that changed, some at a time."""
        status = SERVING if ready else NOT_SERVING
        changed = {service for service in ("", stubs.SERVICE) if self._statuses[service] != status}
        self._statuses.update(dict.fromkeys(changed, status))
        is_told = bool(self._due)
        self._due.update(dict.fromkeys(watcher for watcher, service in self._watchers.items() if service in changed))
        if self._due and not is_told:
            self._tell()

    def _tell(self) -> None:
        """Tell some watchers how things are by now; the others have their turn when what came meanwhile is done."""
        for watcher in list(islice(self._due, TOLD_AT_ONCE)):
            if watcher in self._due:  # telling one may end another
                del self._due[watcher]
                watcher(_written(self._statuses[self._watchers[watcher]]))
        if self._due:
            self._soon(self._tell)

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
            CallError: for bytes that are no HealthCheckRequest, and where too many watch already.
        """
        service = _read(data)
        if len(self._watchers) >= MAX_WATCHES:
            raise CallError(TOO_MANY_WATCHES)
        if service not in self._statuses:
            return _written(UNKNOWN)  # now and for ever: no service comes later, and its name is not kept
        self._watchers[watcher] = service
        return _written(self._statuses[service])

    def unwatch(self, watcher: Watcher) -> None:
        """Forget a watcher."""
        self._watchers.pop(watcher, None)
        self._due.pop(watcher, None)


def _read(data: bytes) -> str:
    try:
        return str(stubs.HealthCheckRequest.FromString(data).service)
    except DecodeError:
        raise CallError(Refusal(Status.INTERNAL, "the message is no HealthCheckRequest")) from None


def _written(status: str) -> bytes:
    return bytes(stubs.HealthCheckResponse(status=status).SerializeToString())
