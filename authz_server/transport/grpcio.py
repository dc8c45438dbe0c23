"""The grpcio door: a thread pool, health and reflection."""

import sys
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event, Thread
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from authz_server.envoy import stubs
from authz_server.transport import addresses
from authz_server.transport.door import EXPECTED_TIMEOUT, LIFETIME_SECONDS, Check, ListenError, late, patience, tried
from authz_server.transport.grpc import MAX_MESSAGE_SIZE
from authz_server.transport.grpcio_guard import Admission, server_credentials
from authz_server.transport.grpcio_held import OpenCalls
from authz_server.transport.grpcio_queue import Queue, Queued, move
from authz_server.transport.grpcio_releases import choose_pools
from authz_server.transport.guard import OPEN, Guard
from authz_server.transport.places import Places
from authz_server.transport.sockets import bound, guarded, most_connections

THREADS: Final = 8
TURN_SECONDS: Final = 0.001  # for which a thread may keep the interpreter from the one that takes in calls, else they wait there unseen
MAX_CHECKS: Final = 1_000  # in progress: what is answered in some 0.2 s, less than half of what Envoy gives a try
MAX_STREAMS_AT_ONE_TIME: Final = 128  # of one connection, as at the other door: whoever asks more must not fill the queue of all
NO_LIMIT: Final = 2**31 - 1
FAREWELL_SECONDS: Final = 30.0  # after a connection's lifetime, for its calls to be finished
MAX_CONNECTIONS: Final = 1_024  # grpcio turns newcomers away beyond it
HANDSHAKE_SECONDS: Final = 10.0  # up to the client's first settings
IDLE_SECONDS: Final = 45.0  # without a call, up to twice that as grpcio looks; no round number, at which a timer would ask again
KEEPALIVE_SECONDS: Final = 60.0  # of silence before a ping
KEEPALIVE_TIMEOUT_SECONDS: Final = 20.0  # for its answer; as long the kernel waits for a client that takes no octets
HALF_OPEN_SECONDS: Final = 20.0  # from the head of a call to its end
MAX_HALF_OPEN: Final = 64  # of all connections together, each of which may hold as much as a message is long
MAX_WATCHES: Final = 32  # each has a thread of its own
MAX_REFLECTIONS: Final = 4
SWEEP_SECONDS: Final = 0.5

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class GrpcioDoor:
    """Serve `Authorization/Check`, `grpc.health.v1` and reflection with grpcio's synchronous server.

    Args:
        check: answers checks.
        threads: how many checks run at once; half of them may wait for the keys of one user pool, and three quarters for any.
        guard: who may connect.
        max_checks: how many may be in progress, be it that they run or that they wait for a thread.
    """

    def __init__(self, check: Check, threads: int = THREADS, guard: Guard = OPEN, max_checks: int = MAX_CHECKS) -> None:
        self._check = check
        self._guard = guard
        self._places = Places(max(1, 3 * threads // 4), max(1, threads // 2))
        half_open = OpenCalls(MAX_HALF_OPEN, time.monotonic, HALF_OPEN_SECONDS)
        reflecting = OpenCalls(MAX_REFLECTIONS, time.monotonic, HALF_OPEN_SECONDS)
        watching = OpenCalls(MAX_WATCHES, time.monotonic)
        self._swept = (half_open, reflecting, watching)
        self._stopped = Event()
        pools = choose_pools()
        self._server = grpc.server(
            pools.arrivals(
                ThreadPoolExecutor(threads, thread_name_prefix="health"), half_open
            ),  # which waits for no checks, nor they for it
            options=_options(),
            interceptors=[Admission(guard.clients)] if guard.clients is not None or guard.asks_for_certificates else [],
        )
        queue = Queue(threads, max_checks, time.monotonic)
        checks = Queued(f"/{stubs.SERVICE}/Check", queue, pools.arrivals(queue, half_open), self._answer, self._refuse)
        self._server.add_generic_rpc_handlers((checks,))
        self._health = health.HealthServicer()
        self._health.set("liveness", _SERVING)
        self.serving(ready=False)
        watches = pools.arrivals(pools.lasting("watch", MAX_WATCHES, watching), half_open)
        # In threads: `set`, and with it `Check`, would else wait for each watcher that does not read.
        move(self._health, "Watch", watches)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._reflect(pools.lasting("reflection", MAX_REFLECTIONS, reflecting))

    def listen(self, address: str) -> None:
        """Bind an address, see `Door.listen`."""
        try:
            with guarded(address, self._guard.socket):
                if address.startswith("unix:"):
                    self._bind(address)
                else:
                    self._bind_each(addresses.free(address))
        except RuntimeError as error:
            for each in bound(address, 1, self._guard.socket):  # grpcio does not say why; this raises what is in the way
                each.close()
            raise ListenError(f"cannot listen on {address}: it was taken, or is no address of this machine") from error

    def start(self) -> None:
        """Begin to answer."""
        sys.setswitchinterval(TURN_SECONDS)
        self._server.start()
        Thread(target=self._sweep, name="sweep", daemon=True).start()

    def serving(self, *, ready: bool) -> None:
        """Tell health checks whether to send traffic here."""
        for service in ("", stubs.SERVICE):
            self._health.set(service, _SERVING if ready else _NOT_SERVING)

    def stop(self, grace: float) -> None:
        """Take no new calls, finish those in flight, and close."""
        self._server.stop(grace).wait()
        self._stopped.set()

    def _reflect(self, pool: ThreadPoolExecutor) -> None:
        shown = stubs.load()
        shown.AddSerializedFile(reflection_pb2.DESCRIPTOR.serialized_pb)
        servicer = reflection.ReflectionServicer((stubs.SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), shown)
        move(servicer, "ServerReflectionInfo", pool)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, self._server)  # type: ignore[no-untyped-call]

    def _sweep(self) -> None:
        while not self._stopped.wait(SWEEP_SECONDS):
            for held in self._swept:
                held.sweep()

    def _bind_each(self, places: Iterable[addresses.Place]) -> None:
        """Bind what an address means: grpcio by itself takes 0.0.0.0 for IPv6, too, and is content with a part."""
        for place in places:
            with addresses.ipv4_alone(place):
                self._bind(str(place))

    def _bind(self, address: str) -> None:
        if self._guard.credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, server_credentials(self._guard.credentials))
        if not port:
            raise RuntimeError(address)  # as grpcio does, mostly

    def _answer(self, waited: float, data: bytes, context: grpc.ServicerContext) -> bytes:
        expected = dict(context.invocation_metadata()).get(EXPECTED_TIMEOUT)
        left = min(context.time_remaining(), tried(expected) - waited)
        if late(waited, left):
            return self._check.refuse(data, waited)
        answer = self._check(data)
        if isinstance(answer, bytes):
            return answer
        fetch = answer.fetch
        if not self._places.take(fetch):
            return answer.refuse()
        try:
            _wait(fetch, patience(left), context)
        finally:
            self._places.leave(fetch)
        return answer.resume() if fetch.done() else answer.refuse()

    def _refuse(self) -> bytes:
        return self._check.refuse(None, 0.0)


def _wait(fetch: Future[None], seconds: float, context: grpc.ServicerContext) -> None:
    """Wait for a fetch for so many seconds, while there is a client that does."""
    gone = Future[None]()
    if context.add_callback(lambda: gone.set_result(None)):
        wait((fetch, gone), seconds, FIRST_COMPLETED)


def _options() -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # a taken port is an error, not a second server that gets some of the calls
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # Envoy's keepalive
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_time_ms", int(KEEPALIVE_SECONDS * 1000)),
        ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT_SECONDS * 1000)),
        ("grpc.http2.ping_timeout_ms", int(KEEPALIVE_TIMEOUT_SECONDS * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_allowed_incoming_connections", most_connections(MAX_CONNECTIONS)),
        ("grpc.max_concurrent_streams", MAX_STREAMS_AT_ONE_TIME),
        ("grpc.server.max_pending_requests", NO_LIMIT),  # beyond its limits, grpcio answers with a gRPC error
        ("grpc.server.max_pending_requests_hard_limit", NO_LIMIT),
        ("grpc.max_receive_message_length", MAX_MESSAGE_SIZE),
        ("grpc.max_connection_idle_ms", int(IDLE_SECONDS * 1000)),
        ("grpc.max_connection_age_ms", int(LIFETIME_SECONDS * 1000)),  # grpcio spreads it by a tenth
        ("grpc.max_connection_age_grace_ms", int(FAREWELL_SECONDS * 1000)),
        ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_SECONDS * 1000)),
    ]
