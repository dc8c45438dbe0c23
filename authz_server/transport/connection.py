"""One HTTP/2 connection that serves gRPC calls, without I/O: octets in, octets out, time told from outside."""

import math
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from typing import Any, Final

import zttp

from authz_server.transport import grpc
from authz_server.transport.answers import Answers
from authz_server.transport.bodies import Bodies
from authz_server.transport.call import Call, Head, Method, Services
from authz_server.transport.door import Wait, late, patience, tried
from authz_server.transport.goodbye import LEFT, PAUSING, STAYING, Goodbye
from authz_server.transport.grpc import HTTP_OK, RESPONSE_HEAD, CallError, Refusal, framed, message
from authz_server.transport.peer import Peer
from authz_server.transport.pulse import Pulse

# zttp ends a connection after 4,096 streams, and after 256 that its peer reset or malformed: say goodbye in good time.
MAX_STREAMS: Final = 3_500
MAX_RESETS: Final = 128

# What a peer may send without completing a call. Control frames are charged as if they were this long.
MAX_UNPRODUCTIVE: Final = 8 * grpc.MAX_MESSAGE_SIZE
CONTROL_CHARGE: Final = 4_096

MAX_WATCHES_EACH: Final = 8  # health watches of one connection; clients have one

HALF_OPEN_SECONDS: Final = 20.0  # from the head of a call to its end
KEEPALIVE_SECONDS: Final = 60.0  # of silence before a ping
SILENCE_SECONDS: Final = 80.0  # of silence before the peer is taken to be gone
STALLED_SECONDS: Final = 30.0  # in which a peer gives no credit for the answers to its calls

_NO_ERROR, _STREAM_CLOSED, _REFUSED_STREAM, _CANCEL, _ENHANCE_YOUR_CALM = 0, 5, 7, 8, 11
_ALIVE: Final = b"\0\0\x08\x06\0\0\0\0\0" + b"alive?.."  # a ping


class Connection:
    """Serve the calls of one peer.

    Args:
        services: what it may call.
        peer: who it is.
        now: seconds of a monotonic clock.
        lifetime: seconds after which the connection says goodbye, busy or idle.

    Attributes:
        beginning: how the peer began, if that was no HTTP/2; else nothing.
    """

    def __init__(self, services: Services, peer: Peer, *, now: float, lifetime: float) -> None:
        self._services = services
        self._peer = peer
        self._write = peer.write
        self._now = self._heard = self._pinged = now
        self._goodbye = Goodbye(now + lifetime)
        self._stalled: float | None = None  # since when answers wait for credit
        self._ended = False
        self.beginning = b""
        self._last_stream = 0
        self._streams = self._resets = 0
        self._unproductive = 0  # octets since the last call was completed
        self._head = Head(b"", (), None)
        self._behind: Pulse | None = None
        self._arriving: dict[int, Call] = {}
        self._waiting: dict[int, Call] = {}  # complete, and waits for keys or watches
        self._refused: dict[int, float] = {}  # streams that were answered before their end, and since when
        self._http2: Any = zttp.Connection(zttp.SERVER, protocol=zttp.HTTP2)
        self._answers = Answers(self._http2, services.held)
        self._bodies = Bodies(services.held)
        self._watches = 0
        self.used = now  # when a call was last completed
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
        self._unproductive += len(octets)
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
            if not self._last_stream and self._unproductive == len(octets):  # the first that came
                self.beginning = octets
            self._flush()  # zttp has queued the GOAWAY that says why
            self.abandon()
            return
        if self._unproductive > MAX_UNPRODUCTIVE or (self._answers and self._answers.are_too_many()):
            http2.close(_ENHANCE_YOUR_CALM)
            self._flush()
            self.abandon()
            return
        if self._arriving:
            self._hold_the_rest()
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
        if silence > SILENCE_SECONDS or (self._goodbye.step == LEFT and now >= self._goodbye.due) or self._is_stalled():
            self.abandon()
            return
        if silence > KEEPALIVE_SECONDS and self._pinged <= self._heard:
            self._pinged = now
            self._write(_ALIVE)
        self._end_half_open(now - HALF_OPEN_SECONDS)
        if now >= self._goodbye.due:
            self._next_goodbye()
        self._flush()

    def leave(self) -> None:
        """Begin to say goodbye; calls in flight, and those the peer sends until it hears of it, are served."""
        if self._goodbye.step == STAYING:
            self._flush()
            self._write(self._goodbye.pause(self._now))

    def dismiss(self) -> None:
        """Name the last call that was served, and close at once."""
        if not self._ended:
            self._http2.close(_NO_ERROR, self._last_stream)
            self._write(self._http2.data_to_send())
            self.abandon()

    @property
    def is_busy(self) -> bool:
        """Whether a call waits for its answer; one that has not come whole does not, nor does a watch."""
        return len(self._waiting) > self._watches

    def abandon(self) -> None:
        """Forget every call and close."""
        if self._goodbye.step == PAUSING:
            self._write(self._goodbye.announce(self._now))  # and what was held back
        self._goodbye.leave(self._now)
        for stream in [*self._arriving, *self._waiting]:
            self._drop(stream)
        self._refused.clear()
        self._end()

    def _open(self, event: Any) -> None:
        """Take the head of a request."""
        stream = event.stream_id
        if self._goodbye.step == LEFT:
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
            head = self._head = Head(event.target, event.headers, self._services.methods.get(event.target))
        call = self._arriving[stream] = Call()
        call.head = head
        call.began = self._now

    def _refusal(self, event: Any) -> Refusal | None:
        """Look for what is wrong with the head of a request."""
        refusal = grpc.refusal(event.method, dict(event.headers))
        if refusal is None and event.target not in self._services.methods and event.target != self._services.watch:
            return grpc.UNKNOWN_METHOD
        return grpc.NO_MESSAGE if refusal is None and event.end_stream else refusal

    def _turn_away(self, event: Any, refusal: Refusal) -> None:
        """Answer a request that can not be served, before its end."""
        if not event.end_stream:
            self._refused[event.stream_id] = self._now
        if refusal.http == HTTP_OK:
            self._answers.refuse(event.stream_id, refusal)
        else:
            self._answers.refuse_as_text(event.stream_id, refusal, bodyless=event.method == b"HEAD")

    def _data(self, stream: int, data: bytes) -> None:
        """Take a piece of a request's body."""
        call = self._arriving.get(stream)
        if call is None:
            return  # it is answered already
        if call.held is None and not call.body:
            call.body = data
        else:
            self._hold(stream, call, data)

    def _hold_the_rest(self) -> None:
        """Hold what is here of calls that were not completed by what came with their heads."""
        for stream, call in list(takewhile(lambda item: item[1].began == self._now, reversed(self._arriving.items()))):
            if call.held is None:
                self._hold(stream, call, b"")

    def _hold(self, stream: int, call: Call, data: bytes) -> None:
        """Hold a piece of a body, unless that is too much."""
        self._bodies.add(call, data)
        if self._bodies.is_too_long(call):
            self._stop(stream, grpc.TOO_LONG)
        elif self._bodies.are_too_many():
            self._turn_down(stream, call)

    def _finish(self, stream: int) -> None:
        """Serve a request that is complete."""
        call = self._arriving.pop(stream, None)
        if call is None:
            self._refused.pop(stream, None)
            return
        self._unproductive = 0
        self.used = self._now
        method = call.head.method
        try:
            data = message(call.body if call.held is None else self._bodies.whole(call))
            if method is None:
                self._begin_watch(stream, call, data)
                return
            answer = method.answer(data) if self._behind is None else self._hurry(self._behind, call, method, data)
        except CallError as error:
            self._answers.refuse(stream, error.refusal)
            return
        if isinstance(answer, bytes):
            self._answers.reply(stream, answer)
        else:
            call.body = b""
            self._waiting[stream] = call
            call.cancel = self._peer.wait(answer, patience(self._left(call)), partial(self._late, stream, call))

    def _hurry(self, behind: Pulse, call: Call, method: Method, data: bytes) -> "bytes | Wait":
        """Answer a call while the loop is behind: one that comes too late, or is one too many, is refused."""
        if method.refuse is None:
            return method.answer(data)
        call.began = min(call.began, behind.before)
        waited = self._now - call.began
        return method.refuse(data, waited) if late(waited, self._left(call)) or not behind.take() else method.answer(data)

    def _turn_down(self, stream: int, call: Call) -> None:
        """Answer a call of which no more can be held."""
        refuse = call.head.method.refuse if call.head.method is not None else None
        if refuse is None:
            self._stop(stream, grpc.TOO_MANY)
            return
        self._drop(stream)
        self._answers.reply(stream, refuse(None, self._now - call.began))
        sent = self._http2.stream(stream)
        if sent.pending_bytes:
            self._refused[stream] = self._now  # a reset would take back what waits for credit
        else:
            sent.reset(_NO_ERROR)

    def _late(self, stream: int, call: Call, answer: bytes) -> None:
        """Answer a call that had to wait, if it is still there."""
        if self._waiting.get(stream) is call:
            self._drop(stream)
            self._answers.reply(stream, answer)
            self._flush()
            if self._answers and self._answers.are_too_many():
                self.abandon()

    def _left(self, call: Call) -> float:
        """Seconds until the caller gives up."""
        timeout = call.head.timeout
        return min(math.inf if timeout is None else grpc.seconds(timeout), tried(call.head.expected)) - (self._now - call.began)

    def _stop(self, stream: int, refusal: Refusal) -> None:
        """Answer a request that has not ended, and have no more of it sent.

        Source: RFC 9113 section 8.1: RST_STREAM with NO_ERROR after a complete answer.
        """
        self._drop(stream)
        self._answers.refuse(stream, refusal)
        self._http2.stream(stream).reset(_NO_ERROR)

    def _begin_watch(self, stream: int, call: Call, data: bytes) -> None:
        """Send the status of a service now and whenever it changes, until the peer or the connection ends it."""

        def tell(status: bytes) -> None:
            self._http2.stream(stream).send_data(framed(status))
            self._flush()

        if self._watches >= MAX_WATCHES_EACH:
            raise CallError(grpc.TOO_MANY_WATCHES)
        now = self._services.health.watch(data, tell)
        self._watches += 1
        call.body = b""
        call.cancel = partial(self._unwatch, tell)
        self._waiting[stream] = call
        sent = self._http2.stream(stream)
        sent.send_response(HTTP_OK, RESPONSE_HEAD)
        sent.send_data(framed(now))
        if self._goodbye.step == LEFT:
            self._end_watch(stream)

    def _unwatch(self, tell: Callable[[bytes], None]) -> None:
        self._watches -= 1
        self._services.health.unwatch(tell)

    def _end_watch(self, stream: int) -> None:
        """Have the peer watch elsewhere."""
        self._drop(stream)
        self._http2.stream(stream).end_message(grpc.GOODBYE_TRAILERS)

    def _control(self, event: Any) -> None:
        """Take a frame that belongs to no request; enough of them in a row end the connection."""
        self._unproductive += CONTROL_CHARGE
        if isinstance(event, zttp.RstStream):
            known = self._drop(event.stream_id) or self._refused.pop(event.stream_id, None) is not None
            if known or event.error_code not in (_REFUSED_STREAM, _STREAM_CLOSED):  # zttp's: one stream too many, DATA after a reset
                self._resets += 1
                if self._resets >= MAX_RESETS:
                    self.leave()
        elif isinstance(event, zttp.Ping) and event.ack and self._goodbye.is_answer(event.data):
            self._next_goodbye()

    def _end_half_open(self, before: float) -> None:
        """Give up calls whose head came earlier than that and whose end did not."""
        for stream, call in list(self._arriving.items()):
            if call.began < before:
                self._drop(stream)
                self._http2.stream(stream).reset(_CANCEL)
        for stream, since in list(self._refused.items()):
            if since < before:
                del self._refused[stream]
                self._http2.stream(stream).reset(_NO_ERROR)

    def _next_goodbye(self) -> None:
        """Go on with the goodbye, or begin it."""
        if self._goodbye.step == STAYING:
            self.leave()
        elif self._goodbye.step == PAUSING:
            self._write(self._goodbye.announce(self._now))
        else:
            self._leave_now()

    def _leave_now(self) -> None:
        """Name the last stream that is served; watches end, other calls are finished."""
        self._goodbye.leave(self._now)
        self._http2.close(_NO_ERROR, self._last_stream)
        for stream, call in list(self._waiting.items()):
            if call.head.method is None:
                self._end_watch(stream)

    def _is_stalled(self) -> bool:
        """Whether the peer has let answers wait for credit for too long."""
        if not self._http2.has_pending_send():
            self._stalled = None
        elif self._stalled is None:
            self._stalled = self._now
        return self._stalled is not None and self._now - self._stalled > STALLED_SECONDS

    def _drop(self, stream: int) -> bool:
        """Forget a call, if it is still there."""
        call = self._arriving.pop(stream, None) or self._waiting.pop(stream, None)
        if call is None:
            return False
        self._bodies.release(call)
        if call.cancel is not None:
            call.cancel()
        return True

    def _flush(self) -> None:
        octets = self._http2.data_to_send()
        goodbye = self._goodbye
        if goodbye.step == PAUSING:
            if goodbye.withhold(octets):
                self._write(goodbye.announce(self._now))
        elif octets and not self._ended:
            self._write(octets)
        if goodbye.step == LEFT and not self._arriving and not self._waiting and not self._http2.has_pending_send():
            self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._answers.clear()
            self._http2 = None  # with all answers that nobody took, while the peer has time to close
            self._peer.end()
