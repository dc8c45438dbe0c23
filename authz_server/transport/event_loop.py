"""The asyncio door: one thread with an event loop that answers checks as their octets arrive."""

import asyncio
import random
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, cast

import uvloop

from authz_server.envoy import stubs
from authz_server.transport.connection import Connection, Reply, Services
from authz_server.transport.door import Check, Wait
from authz_server.transport.health import Health
from authz_server.transport.sockets import bound

MAX_CONNECTIONS: Final = 1_024
MAX_WAITING: Final = 64  # checks that wait for keys at one time
LIFETIME_SECONDS: Final = 300.0  # of a connection, give or take a tenth; spreads Envoy's connections anew after a restart
STUCK_SECONDS: Final = 30.0  # a peer that does not read what it is sent
TICK_SECONDS: Final = 0.25
BACKLOG: Final = 1_024

_CHECK: Final = f"/{stubs.SERVICE}/Check".encode()
_HEALTH_CHECK: Final = f"/{stubs.HEALTH_SERVICE}/Check".encode()
_HEALTH_WATCH: Final = f"/{stubs.HEALTH_SERVICE}/Watch".encode()


class EventLoopDoor:
    """Serve `Authorization/Check` and `grpc.health.v1` over HTTP/2 on uvloop.

    Args:
        check: answers checks.
        spread: random number from -1 to 1, so that connections do not end in step.
    """

    def __init__(self, check: Check, spread: Callable[[], float] = lambda: random.uniform(-1, 1)) -> None:  # noqa: S311 - spreads load
        self._spread = spread
        self._health = Health()
        self._services = Services({_CHECK: check, _HEALTH_CHECK: self._health.check}, _HEALTH_WATCH, self._health)
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.AbstractServer] = []
        self._peers: set[_Peer] = set()
        self._waiting = 0
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="door", daemon=True)

    def listen(self, address: str) -> None:
        """Bind an address, see `Door.listen`."""
        self._sockets.append(bound(address, BACKLOG))

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        self._run(self._open())

    def serving(self, *, ready: bool) -> None:
        """Tell health checks whether to send traffic here."""
        self.loop.call_soon_threadsafe(lambda: self._health.set(ready=ready))

    def stop(self, grace: float) -> None:
        """Take no new calls, finish those in flight, and close."""
        if self._thread.is_alive():
            self._run(self._close(grace))
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
        for listening in self._sockets:
            listening.close()
        self.loop.close()

    def admit(self, peer: "_Peer") -> Connection | None:
        """Begin to serve a peer, unless there are too many."""
        if len(self._peers) >= MAX_CONNECTIONS:
            return None
        self._peers.add(peer)
        lifetime = LIFETIME_SECONDS * (1 + 0.1 * self._spread())
        return Connection(self._services, peer, now=self.loop.time(), lifetime=lifetime)

    def forget(self, peer: "_Peer") -> None:
        """Note that a peer is gone."""
        self._peers.discard(peer)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result()

    async def _open(self) -> None:
        for listening in self._sockets:
            self._servers.append(await self.loop.create_server(lambda: _Peer(self), sock=listening, backlog=BACKLOG))
        self._tick()

    def _tick(self) -> None:
        now = self.loop.time()
        for peer in list(self._peers):
            peer.tick(now)
        self.loop.call_later(TICK_SECONDS, self._tick)

    async def _close(self, grace: float) -> None:
        for server in self._servers:
            server.close()
        for peer in list(self._peers):
            peer.leave()
        until = time.monotonic() + grace
        while self._peers and time.monotonic() < until:  # noqa: ASYNC110 - once in a process's life
            await asyncio.sleep(0.01)
        for peer in list(self._peers):
            peer.abort()
        await asyncio.sleep(0)

    def wait(self, check: Wait, seconds: float, reply: Reply) -> None:
        """Answer a check when the fetch it waits for ends, or in so many seconds."""
        if self._waiting >= MAX_WAITING:
            reply(check.refuse())
            return
        self._waiting += 1
        pending = [reply]

        def answer(of: Callable[[], bytes]) -> None:
            if pending:  # whichever comes first
                self._waiting -= 1
                late.cancel()
                pending.pop()(of())

        late = self.loop.call_later(seconds, answer, check.refuse)
        fetch: Future[None] = check.fetch
        fetch.add_done_callback(lambda _: self._from_thread(answer, check.resume))

    def _from_thread(self, call: Callable[..., None], *arguments: Any) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(call, *arguments)


class _Peer(asyncio.Protocol):
    """One accepted socket: hands octets to its connection, and stops reading while the peer does not."""

    _transport: asyncio.Transport
    write: Callable[[bytes], None]
    end: Callable[[], None]

    def __init__(self, door: EventLoopDoor) -> None:
        self._door = door
        self.wait = door.wait
        self._connection: Connection | None = None
        self._stuck_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.write, self.end = self._transport.write, self._transport.close
        self._connection = self._door.admit(self)
        if self._connection is None:
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.receive(data)

    def pause_writing(self) -> None:
        self._stuck_since = self._door.loop.time()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._stuck_since = None
        self._transport.resume_reading()

    def connection_lost(self, _: Exception | None) -> None:
        self._door.forget(self)
        if self._connection is not None:
            self._connection.abandon()

    def tick(self, now: float) -> None:
        """Let time pass."""
        if self._stuck_since is not None and now - self._stuck_since > STUCK_SECONDS:
            self.abort()
        elif self._connection is not None:
            self._connection.tick(now)

    def leave(self) -> None:
        """Say goodbye; calls in flight are finished."""
        if self._connection is not None:
            self._connection.leave()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()
