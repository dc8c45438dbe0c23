"""One HTTP/2 connection that serves gRPC calls, without I/O: octets in, octets out, time told from outside."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import zttp

from authz_server.transport import grpc
from authz_server.transport.door import EXPECTED_TIMEOUT, Wait, late, patience, tried
from authz_server.transport.grpc import HTTP_OK, OK_TRAILERS, RESPONSE_HEAD, CallError, Refusal, framed, message
from authz_server.transport.health import Health
from authz_server.transport.pulse import Pulse

# zttp ends a connection after 4,096 streams, and after 256 that its peer reset or malformed: say goodbye in good time.
MAX_STREAMS: Final = 3_500
MAX_RESETS: Final = 128

# What a peer may send without completing a call. Control frames are charged as if they were this long.
MAX_UNPRODUCTIVE: Final = 8 * grpc.MAX_MESSAGE_SIZE
CONTROL_CHARGE: Final = 4_096
MAX_HELD: Final = 4 * grpc.MAX_MESSAGE_SIZE  # of bodies that arrive in several pieces, all calls together

HALF_OPEN_SECONDS: Final = 20.0  # from the head of a call to its end
KEEPALIVE_SECONDS: Final = 60.0  # of silence before a ping
SILENCE_SECONDS: Final = 80.0  # of silence before the peer is taken to be gone
GOAWAY_SECONDS: Final = 2.0  # before each of the two steps of a goodbye, if the ping before it is not answered
MAX_WITHHELD: Final = 2**20  # octets that are held back for the first of them
FAREWELL_SECONDS: Final = 30.0  # after them, for calls to be finished and answers to be taken

_STAYING, _PAUSING, _LEAVING, _LEFT = range(4)  # a goodbye: none, none until all before it is read, its first step, both steps
_NO_ERROR, _STREAM_CLOSED, _REFUSED_STREAM, _CANCEL, _ENHANCE_YOUR_CALM = 0, 5, 7, 8, 11
_EXPECTED_TIMEOUT: Final = EXPECTED_TIMEOUT.encode()
_GOAWAY: Final = b"\0\0\x08\x07\0\0\0\0\0" + b"\x7f\xff\xff\xff" + bytes(4)  # every stream is served; no error
_PING: Final = b"\0\0\x08\x06\0\0\0\0\0"
_ALIVE: Final = b"alive?.."
_READ: Final = b"read it?"
_GOODBYE: Final = b"goodbye."

Unary = Callable[[bytes], "bytes | Wait"]
Refuse = Callable[[bytes, float], bytes]
Reply = Callable[[bytes], None]
Cancel = Callable[[], None]


class _Head:
    """The head of a call that can be served, as far as it matters."""

    __slots__ = ("expected", "headers", "path", "timeout")

    def __init__(self, path: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.path = path
        self.headers = headers
        named = dict(headers)
        self.timeout = named.get(b"grpc-timeout")
        self.expected = named.get(_EXPECTED_TIMEOUT)


class _Call:
    """A request that is arriving; once it is complete, one that waits for its answer or that watches."""

    head: _Head
    began: float
    body = b""
    longer: bytearray | None = None  # a body that comes in several pieces
    cancel: Cancel | None = None  # ends what a complete request waits for


class Peer(Protocol):
    """The other end of a connection, as the door sees it."""

    def write(self, octets: bytes) -> None:
        """Send octets."""
        ...

    def end(self) -> None:
        """Send what was written, and close."""
        ...

    def wait(self, check: Wait, seconds: float, reply: Reply) -> Cancel:
        """Call back once with the answer of a check that waits for keys, in so many seconds at most, unless that is cancelled."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """What a connection serves.

    Args:
        methods: unary methods by path.
        watch: path of the health service's `Watch`.
        health: answers it.
        refusals: answer, by path, calls of methods which have waited too long, for so many seconds.
    """

    methods: Mapping[bytes, Unary]
    watch: bytes
    health: Health
    refusals: Mapping[bytes, Refuse] = field(default_factory=dict)


class Connection:
    """Serve the calls of one peer.

    Args:
        services: what it may call.
        peer: who it is.
        now: seconds of a monotonic clock.
        lifetime: seconds after which the connection says goodbye, busy or idle.
    """

    def __init__(self, services: Services, peer: Peer, *, now: float, lifetime: float) -> None:
        self._services = services
        self._methods = services.methods
        self._peer = peer
        self._write = peer.write
        self._now = self._heard = self._pinged = now
        self._goodbye = _STAYING
        self._next_step = now + lifetime  # of the goodbye
        self._withheld = bytearray()
        self._ended = False
        self._last_stream = 0
        self._streams = self._resets = self._held = 0
        self._credit = MAX_UNPRODUCTIVE
        self._head = _Head(b"", ())
        self._behind: Pulse | None = None
        self._calls: dict[int, _Call] = {}
        self._refused: dict[int, float] = {}  # streams that were answered before their end, and since when
        self._http2: Any = zttp.Connection(zttp.SERVER, protocol=zttp.HTTP2)
        self._http2.initiate_connection()
        self._flush()

    def receive(self, octets: bytes, now: float, behind: Pulse | None = None) -> None:
        """Take in what the peer sent, and write what it is owed.

        Args:
            octets: any part of the stream, however it was cut.
            now: seconds of the same clock as before.
            behind: the pulse of the loop, when it is behind.
        """
        if self._ended:
            return
        http2 = self._http2
        self._behind = behind
        self._now = self._heard = now
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
        if self._ended:
            return
        self._now = now
        silence = now - self._heard
        if silence > SILENCE_SECONDS or (self._goodbye == _LEFT and now >= self._next_step):
            self.abandon()
            return
        if silence > KEEPALIVE_SECONDS and self._pinged <= self._heard:
            self._pinged = now
            self._write(_PING + _ALIVE)
        self._end_half_open(now - HALF_OPEN_SECONDS)
        if now >= self._next_step:
            self._next_goodbye()
        self._flush()

    def leave(self) -> None:
        """Begin to say goodbye; calls in flight, and those the peer sends until it hears of it, are served.

        The goodbye must be the first that the peer reads when it reads on. Envoy puts a waiting call in the place of each whose answer
        it reads, and sends those calls when it has read all that there is: if a goodbye is among it, it fails them instead. So a ping
        asks whether all was read, and until the answer comes, what is written is held back.
        """
        if self._goodbye == _STAYING:
            self._flush()
            self._goodbye = _PAUSING
            self._next_step = self._now + GOAWAY_SECONDS
            self._write(_PING + _READ)

    def abandon(self) -> None:
        """Forget every call and close."""
        if self._goodbye == _PAUSING:
            self._announce()  # and send what was held back
        self._goodbye = _LEFT
        for stream in list(self._calls):
            self._drop(stream)
        self._refused.clear()
        self._end()

    def _open(self, event: Any) -> None:
        """Take the head of a request."""
        stream = event.stream_id
        if self._goodbye == _LEFT:
            self._http2.stream(stream).reset(_REFUSED_STREAM)
            return
        self._last_stream = stream
        self._streams += 1
        if self._streams >= MAX_STREAMS:
            self.leave()
        head = self._head  # most heads of a peer are alike
        if event.headers != head.headers or event.target != head.path or event.method != grpc.POST or event.end_stream:
            refusal = self._refusal(event)
            if refusal is not None:
                self._turn_away(event, refusal)
                return
            head = self._head = _Head(event.target, event.headers)
        call = self._calls[stream] = _Call()
        call.head = head
        call.began = self._now

    def _refusal(self, event: Any) -> Refusal | None:
        """Look for what is wrong with the head of a request."""
        refusal = grpc.refusal(event.method, dict(event.headers))
        if refusal is None and event.target not in self._methods and event.target != self._services.watch:
            return grpc.UNKNOWN_METHOD
        return grpc.NO_MESSAGE if refusal is None and event.end_stream else refusal

    def _turn_away(self, event: Any, refusal: Refusal) -> None:
        """Answer a request that can not be served, before its end."""
        if not event.end_stream:
            self._refused[event.stream_id] = self._now
        if refusal.http == HTTP_OK:
            self._refuse(event.stream_id, refusal)
        else:
            self._refuse_as_text(event.stream_id, refusal, bodyless=event.method == b"HEAD")

    def _data(self, stream: int, data: bytes) -> None:
        """Take a piece of a request's body."""
        call = self._calls.get(stream)
        if call is None:
            return  # it is answered already
        if not call.body:
            call.body = data
            return
        if call.longer is None:
            call.longer = bytearray(call.body)
            self._held += len(call.longer)
        call.longer += data
        self._held += len(data)
        if len(call.longer) > grpc.MAX_MESSAGE_SIZE + grpc.PREFIX_SIZE:
            self._stop(stream, grpc.TOO_LONG)
        elif self._held > MAX_HELD:
            self._stop(stream, grpc.TOO_MANY)

    def _finish(self, stream: int) -> None:
        """Serve a request that is complete."""
        call = self._calls.get(stream)
        if call is None:
            self._refused.pop(stream, None)
            return
        self._credit = MAX_UNPRODUCTIVE
        method = self._methods.get(call.head.path)
        try:
            data = message(call.body if call.longer is None else self._whole(call))
            if method is None:
                self._begin_watch(stream, call, data)
                return
            answer = method(data) if self._behind is None else self._hurry(self._behind, call, method, data)
        except CallError as error:
            self._drop(stream)
            self._refuse(stream, error.refusal)
            return
        if isinstance(answer, bytes):
            del self._calls[stream]
            self._reply(stream, answer)
        else:
            call.body = b""
            call.cancel = self._peer.wait(answer, patience(self._left(call)), partial(self._late, stream, call))

    def _hurry(self, behind: Pulse, call: _Call, method: Unary, data: bytes) -> "bytes | Wait":
        """Answer a call while the loop is behind: one that comes too late, or is one too many, is refused."""
        refuse = self._services.refusals.get(call.head.path)
        if refuse is None:
            return method(data)
        call.began = min(call.began, behind.before)
        waited = self._now - call.began
        return refuse(data, waited) if late(waited, self._left(call)) or not behind.take() else method(data)

    def _reply(self, stream: int, answer: bytes) -> None:
        sent = self._http2.stream(stream)
        sent.send_response(HTTP_OK, RESPONSE_HEAD)
        sent.send_data(framed(answer))
        sent.end_message(OK_TRAILERS)

    def _late(self, stream: int, call: _Call, answer: bytes) -> None:
        """Answer a call that had to wait, if it is still there."""
        if self._calls.get(stream) is call:
            self._drop(stream)
            self._reply(stream, answer)
            self._flush()

    def _left(self, call: _Call) -> float:
        """Seconds until the caller gives up."""
        timeout = call.head.timeout
        return min(math.inf if timeout is None else grpc.seconds(timeout), tried(call.head.expected)) - (self._now - call.began)

    def _refuse(self, stream: int, refusal: Refusal) -> None:
        """Answer with a status and nothing else."""
        self._http2.stream(stream).send_response(HTTP_OK, grpc.trailers_only(refusal), True)  # noqa: FBT003 - zttp's signature

    def _refuse_as_text(self, stream: int, refusal: Refusal, *, bodyless: bool) -> None:
        """Answer a peer that does not speak gRPC."""
        headers, body = grpc.as_text(refusal)
        sent = self._http2.stream(stream)
        sent.send_response(refusal.http, headers, bodyless)
        if not bodyless:
            sent.send_data(body)
            sent.end_message()

    def _stop(self, stream: int, refusal: Refusal) -> None:
        """Answer a request that has not ended, and have no more of it sent.

        Source: RFC 9113 section 8.1: RST_STREAM with NO_ERROR after a complete answer.
        """
        self._drop(stream)
        self._refuse(stream, refusal)
        self._http2.stream(stream).reset(_NO_ERROR)

    def _begin_watch(self, stream: int, call: _Call, data: bytes) -> None:
        """Send the status of a service now and whenever it changes, until the peer or the connection ends it."""

        def tell(status: bytes) -> None:
            self._http2.stream(stream).send_data(framed(status))
            self._flush()

        now = self._services.health.watch(data, tell)
        call.body = b""
        call.cancel = partial(self._services.health.unwatch, tell)
        sent = self._http2.stream(stream)
        sent.send_response(HTTP_OK, RESPONSE_HEAD)
        sent.send_data(framed(now))
        if self._goodbye == _LEFT:
            self._end_watch(stream)

    def _end_watch(self, stream: int) -> None:
        """Have the peer watch elsewhere."""
        self._drop(stream)
        self._http2.stream(stream).end_message(grpc.GOODBYE_TRAILERS)

    def _control(self, event: Any) -> None:
        """Take a frame that belongs to no request; enough of them in a row end the connection."""
        self._credit -= CONTROL_CHARGE
        if isinstance(event, zttp.RstStream):
            self._drop(event.stream_id)
            self._refused.pop(event.stream_id, None)
            if event.error_code not in (_REFUSED_STREAM, _STREAM_CLOSED):  # zttp's own: one stream too many, DATA after a reset
                self._resets += 1
                if self._resets >= MAX_RESETS:
                    self.leave()
        elif isinstance(event, zttp.Ping) and event.ack and (self._goodbye, event.data) in ((_PAUSING, _READ), (_LEAVING, _GOODBYE)):
            self._next_goodbye()

    def _end_half_open(self, before: float) -> None:
        """Give up calls whose head came earlier than that and whose end did not."""
        for stream, call in list(self._calls.items()):
            if call.began < before and call.cancel is None:
                self._drop(stream)
                self._http2.stream(stream).reset(_CANCEL)
        for stream, since in list(self._refused.items()):
            if since < before:
                del self._refused[stream]
                self._http2.stream(stream).reset(_NO_ERROR)

    def _next_goodbye(self) -> None:
        """Go on with the goodbye, or begin it."""
        if self._goodbye == _STAYING:
            self.leave()
        elif self._goodbye == _PAUSING:
            self._announce()
        else:
            self._leave_now()

    def _announce(self) -> None:
        """Say the first half of the goodbye, and then what was held back for it.

        Source: RFC 9113 section 6.8: first the highest stream id, then, a round trip later, the last one served.
        """
        self._goodbye = _LEAVING
        self._next_step = self._now + GOAWAY_SECONDS
        self._write(_GOAWAY + _PING + _GOODBYE + self._withheld)
        self._withheld.clear()

    def _leave_now(self) -> None:
        """Say the second half of the goodbye; watches end, other calls are finished."""
        self._goodbye = _LEFT
        self._next_step = self._now + FAREWELL_SECONDS
        self._http2.close(_NO_ERROR, self._last_stream)
        for stream, call in list(self._calls.items()):
            if call.head.path == self._services.watch and call.cancel is not None:
                self._end_watch(stream)

    def _drop(self, stream: int) -> None:
        call = self._calls.pop(stream, None)
        if call is None:
            return
        if call.longer is not None:
            self._held -= len(call.longer)
        if call.cancel is not None:
            call.cancel()

    def _whole(self, call: _Call) -> bytes:
        """Take the body of a request, however many pieces it came in."""
        if call.longer is None:
            return call.body
        self._held -= len(call.longer)
        body, call.longer = bytes(call.longer), None
        return body

    def _flush(self) -> None:
        octets = self._http2.data_to_send()
        if self._goodbye == _PAUSING:
            self._withheld += octets
            if len(self._withheld) > MAX_WITHHELD:
                self._announce()
        elif octets and not self._ended:
            self._write(octets)
        if self._goodbye == _LEFT and not self._calls and not self._http2.has_pending_send():
            self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._peer.end()
