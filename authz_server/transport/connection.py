"""One HTTP/2 connection that serves gRPC calls, without I/O: octets in, octets out, time told from outside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import zttp

from authz_server.transport import grpc
from authz_server.transport.door import MARGIN_SECONDS, MAX_WAIT_SECONDS, Wait
from authz_server.transport.grpc import CallError, Refusal, Status
from authz_server.transport.health import Health

# zttp ends a connection after 4,096 streams, and after 256 that its peer reset: say goodbye in good time.
MAX_STREAMS: Final = 3_500
MAX_RESETS: Final = 128

# What a peer may send without completing a call. Control frames are charged as if they were this long.
MAX_UNPRODUCTIVE: Final = 8 * grpc.MAX_MESSAGE_SIZE
CONTROL_CHARGE: Final = 4_096
MAX_HELD: Final = 4 * grpc.MAX_MESSAGE_SIZE  # of bodies that arrive in several pieces, all calls together

HALF_OPEN_SECONDS: Final = 20.0  # from the head of a call to its end
KEEPALIVE_SECONDS: Final = 60.0  # of silence before a ping
SILENCE_SECONDS: Final = 80.0  # of silence before the peer is taken to be gone
IDLE_SECONDS: Final = 900.0  # without a call
GOAWAY_SECONDS: Final = 1.0  # between the two steps of a goodbye, if the ping between them is not answered

_NO_ERROR, _ENHANCE_YOUR_CALM, _REFUSED_STREAM, _CANCEL = 0, 11, 7, 8
_LAST_STREAM: Final = 2**31 - 1
_PING: Final = b"\0\0\x08\x06\0\0\0\0\0authz..."

Unary = Callable[[bytes], "bytes | Wait"]
Reply = Callable[[bytes], None]


class _Call:
    """A request that is arriving, or that waits for its answer."""

    __slots__ = ("began", "body", "held", "path", "timeout", "watcher")

    def __init__(self, path: bytes, timeout: bytes | None, began: float) -> None:
        self.path = path
        self.timeout = timeout
        self.began = began
        self.body = b""
        self.held = 0
        self.watcher: Reply | None = None


class Peer(Protocol):
    """The other end of a connection, as the door sees it."""

    def write(self, octets: bytes) -> None:
        """Send octets."""
        ...

    def end(self) -> None:
        """Close the connection once all is sent."""
        ...

    def wait(self, check: Wait, seconds: float, reply: Reply) -> None:
        """Call back with the answer of a check that waits for keys, in so many seconds at most."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """What a connection serves.

    Args:
        methods: unary methods by path.
        watch: path of the health service's `Watch`.
        health: answers it.
    """

    methods: Mapping[bytes, Unary]
    watch: bytes
    health: Health


class Connection:
    """Serve the calls of one peer.

    Args:
        services: what it may call.
        peer: who it is.
        now: seconds of a monotonic clock.
        lifetime: seconds after which the connection says goodbye.
    """

    def __init__(self, services: Services, peer: Peer, *, now: float, lifetime: float) -> None:
        self._services = services
        self._methods = services.methods
        self._peer = peer
        self._write = peer.write
        self._now = self._heard = self._idle_since = now
        self._leave_at = now + lifetime
        self._goodbye = 0  # steps said, of two
        self._last_stream = 0
        self._streams = self._resets = self._held = 0
        self._credit = MAX_UNPRODUCTIVE
        self._calls: dict[int, _Call] = {}
        self._http2: Any = zttp.Connection(zttp.SERVER, protocol=zttp.HTTP2)
        self._http2.initiate_connection()
        self._flush()

    def receive(self, octets: bytes) -> None:
        """Take in what the peer sent, and write what it is owed.

        Args:
            octets: any part of the stream, however it was cut.
        """
        http2 = self._http2
        self._heard = self._now
        self._credit -= len(octets)
        try:
            http2.receive_data(octets)
            while (event := http2.next_event()) is not zttp.NEED_DATA:
                kind = type(event)
                if kind is zttp.Data:
                    self._data(event.stream_id, event.data)
                elif kind is zttp.EndOfMessage:
                    self._finish(event.stream_id)
                elif kind is zttp.Request:
                    self._open(event)
                elif kind is zttp.ConnectionClosed:
                    break
                else:
                    self._control(event)
        except zttp.RemoteProtocolError:
            self._flush()  # zttp has queued the GOAWAY that says why
            self.abandon()
            return
        if self._credit < 0:
            http2.close(_ENHANCE_YOUR_CALM)
            self._flush()
            self.abandon()
            return
        self._flush()

    def tick(self, now: float) -> None:
        """Let time pass: goodbyes, keepalive, and calls that never end.

        Args:
            now: seconds of the same clock as before.
        """
        self._now = now
        if now - self._heard > SILENCE_SECONDS:
            self.abandon()
            return
        if now - self._heard > KEEPALIVE_SECONDS:
            self._write(_PING)
        for stream, call in list(self._calls.items()):
            if now - call.began > HALF_OPEN_SECONDS and call.watcher is None:
                self._drop(stream)
                self._http2.stream(stream).reset(_CANCEL)
        if self._calls:
            self._idle_since = now
        if self._goodbye == 0 and (now >= self._leave_at or now - self._idle_since > IDLE_SECONDS):
            self.leave()
        elif self._goodbye == 1 and now >= self._leave_at:
            self._leave_now()
        self._flush()

    def leave(self) -> None:
        """Begin to say goodbye; calls in flight, and those the peer sends until it hears of it, are served.

        Source: RFC 9113 section 6.8: first the highest stream id, then, a round trip later, the last one served.
        """
        if self._goodbye == 0:
            self._goodbye = 1
            self._leave_at = self._now + GOAWAY_SECONDS
            self._http2.close(_NO_ERROR, _LAST_STREAM)
            self._flush()
            self._write(_PING)

    def abandon(self) -> None:
        """Forget every call and close."""
        self._goodbye = 2
        for stream in list(self._calls):
            self._drop(stream)
        self._peer.end()

    @property
    def calls(self) -> int:
        """How many calls are under way."""
        return len(self._calls)

    def _open(self, event: Any) -> None:
        """Take the head of a request."""
        stream = event.stream_id
        if self._goodbye == 2 and stream > self._last_stream:  # noqa: PLR2004 - the second step
            self._http2.stream(stream).reset(_REFUSED_STREAM)
            return
        self._last_stream = stream
        self._streams += 1
        if self._streams >= MAX_STREAMS:
            self.leave()
        headers = dict(event.headers)
        refusal = grpc.refusal(event.method, headers)
        if refusal is None and event.target not in self._methods and event.target != self._services.watch:
            refusal = Refusal(Status.UNIMPLEMENTED, "unknown method")
        elif refusal is None and event.end_stream:
            refusal = grpc.NO_MESSAGE
        if refusal is not None:
            self._refuse(stream, refusal)
            return
        self._calls[stream] = _Call(event.target, headers.get(b"grpc-timeout"), self._now)

    def _data(self, stream: int, data: bytes) -> None:
        """Take a piece of a request's body."""
        call = self._calls.get(stream)
        if call is None or call.watcher is not None:
            return
        if not call.body:
            call.body = data
        else:
            call.body += data
            call.held += len(data)
            self._held += len(data)
        if len(call.body) > grpc.MAX_MESSAGE_SIZE + grpc.PREFIX_SIZE or self._held > MAX_HELD:
            self._drop(stream)
            self._refuse(stream, Refusal(Status.RESOURCE_EXHAUSTED, f"the message is longer than {grpc.MAX_MESSAGE_SIZE} bytes"))
            self._http2.stream(stream).reset(_NO_ERROR)  # the answer is complete, send no more (RFC 9113 section 8.1)

    def _finish(self, stream: int) -> None:
        """Serve a request that is complete."""
        call = self._calls.get(stream)
        if call is None:
            return
        self._credit = MAX_UNPRODUCTIVE
        try:
            data = grpc.message(call.body)
            if call.path == self._services.watch:
                self._begin_watch(stream, call, data)
                return
            answer = self._methods[call.path](data)
        except CallError as error:
            self._drop(stream)
            self._refuse(stream, error.refusal)
            return
        if isinstance(answer, bytes):
            self._drop(stream)
            self._reply(stream, answer)
        else:
            self._peer.wait(answer, self._patience(call), lambda late: self._late(stream, call, late))

    def _reply(self, stream: int, answer: bytes) -> None:
        sent = self._http2.stream(stream)
        sent.send_response(200, grpc.RESPONSE_HEAD)
        sent.send_data(grpc.framed(answer))
        sent.end_message(grpc.OK_TRAILERS)

    def _late(self, stream: int, call: _Call, answer: bytes) -> None:
        """Answer a call that had to wait, if it is still there."""
        if self._calls.get(stream) is call:
            self._drop(stream)
            self._reply(stream, answer)
            self._flush()

    def _patience(self, call: _Call) -> float:
        """How long a call may wait: a second, and never past its deadline."""
        if call.timeout is None:
            return MAX_WAIT_SECONDS
        return max(0.0, min(MAX_WAIT_SECONDS, grpc.seconds(call.timeout) - MARGIN_SECONDS))

    def _refuse(self, stream: int, refusal: Refusal) -> None:
        """Answer with a status and nothing else."""
        self._http2.stream(stream).send_response(refusal.http, grpc.refused(refusal), True)  # noqa: FBT003 - zttp's signature

    def _begin_watch(self, stream: int, call: _Call, data: bytes) -> None:
        """Send the status of a service now and whenever it changes, until the peer or the connection ends it."""

        def tell(status: bytes) -> None:
            self._http2.stream(stream).send_data(grpc.framed(status))
            self._flush()

        now = self._services.health.watch(data, tell)
        call.watcher = tell
        call.body = b""
        sent = self._http2.stream(stream)
        sent.send_response(200, grpc.RESPONSE_HEAD)
        sent.send_data(grpc.framed(now))

    def _control(self, event: Any) -> None:
        """Take a frame that belongs to no request; enough of them in a row end the connection."""
        self._credit -= CONTROL_CHARGE
        if isinstance(event, zttp.RstStream):
            self._drop(event.stream_id)
            self._resets += 1
            if self._resets >= MAX_RESETS:
                self.leave()
        elif isinstance(event, zttp.Ping) and event.ack and self._goodbye == 1:
            self._leave_now()

    def _leave_now(self) -> None:
        """Say the second half of the goodbye; watches end, other calls are finished."""
        self._goodbye = 2
        self._http2.close(_NO_ERROR, self._last_stream)
        for stream, call in list(self._calls.items()):
            if call.watcher is not None:
                self._drop(stream)
                self._http2.stream(stream).end_message([(b"grpc-status", b"14"), (b"grpc-message", b"the connection ends")])

    def _drop(self, stream: int) -> None:
        call = self._calls.pop(stream, None)
        if call is not None:
            self._held -= call.held
            if call.watcher is not None:
                self._services.health.unwatch(call.watcher)

    def _flush(self) -> None:
        octets = self._http2.data_to_send()
        if octets:
            self._write(octets)
        if self._goodbye == 2 and not self._calls and not self._http2.has_pending_send():  # noqa: PLR2004 - both steps are said
            self._peer.end()
