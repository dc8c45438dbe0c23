"""The asyncio door: one thread with an event loop that answers checks as their octets arrive."""

import asyncio
import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, cast

import uvloop

from authz_server.envoy import stubs
from authz_server.transport.call import Cancel, Method, Services
from authz_server.transport.connection import Connection
from authz_server.transport.door import LIFETIME_SECONDS, Check, Wait
from authz_server.transport.guard import OPEN, Guard
from authz_server.transport.health import Health
from authz_server.transport.peer import Reply
from authz_server.transport.pulse import BEHIND_SECONDS, Pulse
from authz_server.transport.sockets import bound, most_connections
from authz_server.transport.tls_server import TlsServer, expires, may_ask, speaks_http2
from authz_server.transport.wrong_protocol import spoken

MAX_CONNECTIONS: Final = 1_024  # and never more than half of the files that this process may open
MAX_CHECKS: Final = 10_000  # in progress: what is answered in some 0.2 s, less than half of what Envoy gives a try
MAX_WAITING: Final = 1_024  # checks that wait for keys
MAX_JOINED: Final = 64  # of these for one fetch; a user pool has one at a time
GREETING_SECONDS: Final = 10.0  # for a peer to say how it begins, which with TLS comes after the handshake
SHORTEST_GREETING: Final = 33  # octets: HTTP/2's preface and a SETTINGS frame without any
LONGEST_GREETING: Final = 120  # octets, acknowledgements of ours included; who has sent more has asked
STUCK_SECONDS: Final = 30.0  # a peer that does not read what it is sent
LINGER_SECONDS: Final = 1.0  # after the last octet was sent, for the peer to close first
TICK_SECONDS: Final = 0.25
BACKLOG: Final = 1_024

_CHECK: Final = f"/{stubs.SERVICE}/Check".encode()
_HEALTH_CHECK: Final = f"/{stubs.HEALTH_SERVICE}/Check".encode()
_HEALTH_WATCH: Final = f"/{stubs.HEALTH_SERVICE}/Watch".encode()

Joined = dict[asyncio.TimerHandle, Callable[[], None]]  # checks that wait for one fetch: when that is enough, and how they go on


class EventLoopDoor:
    """Serve `Authorization/Check` and `grpc.health.v1` over HTTP/2 on uvloop.

    Args:
        check: answers checks.
        spread: random number from -1 to 1, so that connections do not end in step.
        guard: who may connect.
        max_checks: how many may be in progress, be it that they have come while others were answered or that they wait for keys.
    """

    pulse: Pulse

    def __init__(
        self,
        check: Check,
        spread: Callable[[], float] = lambda: random.uniform(-1, 1),  # noqa: S311 - spreads load
        guard: Guard = OPEN,
        max_checks: int = MAX_CHECKS,
    ) -> None:
        self._check = check
        self._spread = spread
        self._guard = guard
        self.loop = uvloop.new_event_loop()
        self._health = Health(self.loop.call_soon)
        methods = {_CHECK: Method(check.__call__, self._refuse), _HEALTH_CHECK: Method(self._health.check)}  # bound once
        self._services = Services(methods, _HEALTH_WATCH, self._health)
        self._max_checks = max_checks
        self._max_connections = most_connections(MAX_CONNECTIONS)
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.AbstractServer | TlsServer] = []
        self._peers: dict[_Peer, None] = {}  # oldest first
        self._waiting = 0
        self._joined: dict[Future[None], Joined] = {}
        self._leaving = False
        self._thread = threading.Thread(target=self.loop.run_forever, name="door", daemon=True)

    def listen(self, address: str) -> None:
        """Bind an address, see `Door.listen`."""
        self._sockets.extend(bound(address, BACKLOG, self._guard.socket))

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        self._run(self._open())

    def serving(self, *, ready: bool) -> None:
        """Tell health checks whether to send traffic here."""
        self._from_thread(lambda: self._health.set(ready=ready))

    def stop(self, grace: float) -> None:
        """Take no new calls, finish those in flight, and close."""
        if self._thread.is_alive():
            self._run(self._close(grace))
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
        for listening in self._sockets:
            listening.close()
        self.loop.close()

    def admit(self, peer: "_Peer", transport: asyncio.Transport) -> Connection | None:
        """Begin to serve a peer, unless it is none of those who may ask or there is no room."""
        if not speaks_http2(transport, self._guard):
            self._guard.wrong.note("http1", transport.get_extra_info("peername"))
            return None
        if not may_ask(transport, self._guard) or not self._has_room():
            return None
        self._peers[peer] = None
        lifetime = min(LIFETIME_SECONDS * (1 + 0.1 * self._spread()), expires(transport) - time.time())
        connection = Connection(self._services, peer, now=self.loop.time(), lifetime=lifetime)
        if self._leaving:  # it was accepted just before the listening sockets were closed
            connection.leave()
        return connection

    def wrong(self, beginning: bytes, client: object) -> None:
        """Note that a peer began with no HTTP/2."""
        self._guard.wrong.note(spoken(beginning), client)

    def forget(self, peer: "_Peer") -> None:
        """Note that a peer is gone."""
        self._peers.pop(peer, None)

    def wait(self, check: Wait, seconds: float, reply: Reply) -> Cancel:
        """Answer a check when the fetch it waits for ends, or in so many seconds, see `Peer.wait`."""
        if self._waiting >= MAX_WAITING or len(self._joined.get(check.fetch, ())) >= MAX_JOINED:
            reply(check.refuse())
            return lambda: None
        self._waiting += 1
        joined = self._join(check.fetch)

        def leave() -> None:
            if joined.pop(late, None) is not None:
                self._waiting -= 1
                late.cancel()

        def answer(of: Callable[[], bytes], reply: Reply) -> None:
            if late in joined:  # whichever comes first
                leave()
                reply(of())

        late = self.loop.call_later(seconds, answer, check.refuse, reply)
        joined[late] = partial(answer, check.resume, reply)  # `leave` must not hold what it lets go of
        return leave

    def _join(self, fetch: Future[None]) -> Joined:
        """Give those who wait for a fetch; it calls back once for all, since a callback can not be taken back."""
        joined = self._joined.get(fetch)
        if joined is None:
            joined = self._joined[fetch] = {}
            fetch.add_done_callback(lambda fetch: self._from_thread(self._wake, fetch))
        return joined

    def _wake(self, fetch: Future[None]) -> None:
        """Answer those who wait for a fetch, each in its own turn."""
        for resume in self._joined.pop(fetch).values():
            self.loop.call_soon(resume)

    def _has_room(self) -> bool:
        """Whether one more peer may come; for it, the oldest that has not asked anything has to go, or whoever asked nothing for longest."""
        if len(self._peers) < self._max_connections:
            return True
        leaving = next((peer for peer in self._peers if peer.heard <= LONGEST_GREETING), None)
        if leaving is None:
            leaving = min((peer for peer in self._peers if not peer.is_busy), key=_Peer.used, default=None)
        if leaving is None:
            return False
        self.forget(leaving)
        leaving.dismiss()
        return True

    def _refuse(self, data: bytes | None, waited: float) -> bytes:
        return self._check.refuse(data, waited)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def _from_thread(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, nobody is left to tell
            self.loop.call_soon_threadsafe(call, *arguments)

    async def _open(self) -> None:
        self.pulse = Pulse(self.loop.time(), self._max_checks)
        for listening in self._sockets:
            self._servers.append(await self._server(listening))
        self._tick()
        self._beat()

    async def _server(self, listening: socket.socket) -> asyncio.AbstractServer | TlsServer:
        if self._guard.credentials is None:
            return await self.loop.create_server(lambda: _Peer(self), sock=listening, backlog=BACKLOG)
        return TlsServer(self.loop, listening, lambda: _Peer(self), self._guard.credentials, self._guard.wrong)

    def _tick(self) -> None:
        self.loop.call_later(TICK_SECONDS, self._tick)
        now = self.loop.time()
        for peer in list(self._peers):
            try:
                peer.tick(now)
            except Exception as error:  # noqa: BLE001 - a bug at one peer must not stop the clock of the others
                self.loop.call_exception_handler({"message": "bug: the clock of a connection failed", "exception": error})
                peer.abort()

    def _beat(self) -> None:
        self.loop.call_later(self.pulse.beat(self.loop.time(), self._waiting), self._beat)

    async def _close(self, grace: float) -> None:
        self._leaving = True
        for server in self._servers:
            server.close()
        for peer in list(self._peers):
            peer.leave()
        until = self.loop.time() + grace
        while self._peers and self.loop.time() < until:  # noqa: ASYNC110 - once in a process's life
            await asyncio.sleep(0.01)
        for peer in list(self._peers):
            peer.abort()
        while self._peers:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)


class _Peer(asyncio.Protocol):
    """One accepted socket: hands octets to its connection, and stops reading while the peer does not."""

    _transport: asyncio.Transport
    write: Callable[[bytes], None]

    def __init__(self, door: EventLoopDoor) -> None:
        self._door = door
        self._time = door.loop.time
        self._pulse = door.pulse
        self.wait = door.wait
        self._connection: Connection | None = None
        self._stuck_since: float | None = None
        self._ended_at: float | None = None
        self._came = self._time()
        self.heard = 0  # octets

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.write = self._transport.write
        self._connection = self._door.admit(self, self._transport)
        if self._connection is None:
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self._connection is not None:
            self.heard += len(data)
            now = self._time()
            self._connection.receive(data, now, self._pulse if now - self._pulse.before > BEHIND_SECONDS else None)

    def pause_writing(self) -> None:
        self._stuck_since = self._time()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._stuck_since = None
        self._transport.resume_reading()

    def eof_received(self) -> None:
        if self._connection is not None:
            self._connection.abandon()

    def connection_lost(self, _: Exception | None) -> None:
        self._door.forget(self)
        if self._connection is not None:
            self._connection.abandon()
            self._connection = None  # they know each other: what it holds is free at once, and not when garbage is collected

    def end(self) -> None:
        """Send what was written, then wait for the peer to close: closing first would drop what it has not read yet."""
        self._ended_at = self._time()
        if self._connection is not None and self._connection.beginning:
            self._door.wrong(self._connection.beginning, self._transport.get_extra_info("peername"))
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:  # TLS, which waits for the peer's own farewell
            self._transport.close()

    def tick(self, now: float) -> None:
        """Let time pass."""
        if self._ended_at is not None:
            unsent = self._transport.get_write_buffer_size()
            if now - self._ended_at > (STUCK_SECONDS if unsent else LINGER_SECONDS):
                self.abort()
        elif self._stuck(now) or (self.heard < SHORTEST_GREETING and now - self._came > GREETING_SECONDS):
            self.abort()
        elif self._connection is not None:
            self._connection.tick(now)

    def _stuck(self, now: float) -> bool:
        return self._stuck_since is not None and now - self._stuck_since > STUCK_SECONDS

    def leave(self) -> None:
        """Say goodbye; calls in flight are finished."""
        if self._connection is not None:
            self._connection.leave()

    @property
    def is_busy(self) -> bool:
        """Whether a call waits for its answer."""
        return self._connection is not None and self._connection.is_busy

    def used(self) -> float:
        """Say when a call was last completed, in seconds of the loop's clock."""
        return self._came if self._connection is None else self._connection.used

    def dismiss(self) -> None:
        """Close for the sake of another one, and say so: a client that is asked by others calls again."""
        if self._connection is not None:
            self._connection.dismiss()
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
