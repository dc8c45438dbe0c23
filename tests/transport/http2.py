"""HTTP/2 clients that build any frame, well-formed or not, and read what a server writes."""

import socket
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

from authz_server.transport import grpc
from authz_server.transport.call import Held, Method, Services
from authz_server.transport.connection import Connection
from authz_server.transport.health import Health
from authz_server.transport.pulse import Pulse
from tests.waiting import PATIENCE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CHECK = "/envoy.service.auth.v3.Authorization/Check"
HEALTH_CHECK = "/grpc.health.v1.Health/Check"
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
GRPC_HEADERS = {"content-type": "application/grpc", "te": "trailers"}


class Waiting:
    """A check that waits for one fetch."""

    def __init__(self):
        self.fetch = Future()
        self.told = []

    def resume(self):
        """Answer after the fetch."""
        self.told.append("resumed")
        return b"resumed"

    def refuse(self):
        """Answer without the fetch."""
        self.told.append("refused")
        return b"refused"


@dataclass
class Wait:
    """What the connection asked its peer to wait for."""

    check: Waiting
    seconds: float
    reply: Callable[[bytes], None]
    cancelled: bool = False

    def cancel(self):
        """Take the request back."""
        self.cancelled = True


@dataclass
class Answer:
    """What came back on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> str | None:
        """The gRPC status, wherever it stands."""
        return (self.trailers or self.headers).get("grpc-status")

    @property
    def messages(self) -> list[bytes]:
        """The gRPC messages of the body."""
        found, rest = [], self.body
        while rest:
            length = int.from_bytes(rest[1:5])
            found.append(rest[5 : 5 + length])
            rest = rest[5 + length :]
        return found


class Frames:
    """The client's half of HTTP/2: builds frames, sends them, and reads those that come back."""

    def __init__(self):
        self.octets = b""
        self.frames: list[Frame] = []
        self.answers: dict[int, Answer] = {}
        self._encoder, self._decoder = Encoder(), Decoder()
        self._read = 0

    def head(self, stream, path=CHECK, *, end=False, method="POST", drop=(), **headers) -> HeadersFrame:
        """Build the head of a call; header names are given with underscores."""
        wanted = {**GRPC_HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
        fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "authz")]
        return self.block(stream, [*fields, *((name, value) for name, value in wanted.items() if name not in drop)], end=end)

    def block(self, stream, fields: Iterable[tuple[str, str]], *, end=False) -> HeadersFrame:
        """Build a header block of any fields."""
        frame = HeadersFrame(stream, self._encoder.encode(list(fields)), flags=["END_HEADERS"])
        if end:
            frame.flags.add("END_STREAM")
        return frame

    def call(self, stream, message=b"ask", path=CHECK, **headers) -> bytes:
        """Build a whole call."""
        return self.head(stream, path, **headers).serialize() + body(stream, grpc.framed(message)).serialize()

    def send(self, *parts: bytes | Frame):
        """Send octets and frames."""
        raise NotImplementedError

    def read(self) -> list[Frame]:
        """Read the frames that came since the last time, and add them to the answers."""
        new = []
        while len(self.octets) - self._read >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self.octets)[self._read : self._read + 9])
            if len(self.octets) < self._read + 9 + length:
                break
            frame.parse_body(memoryview(self.octets)[self._read + 9 : self._read + 9 + length])
            self._read += 9 + length
            new.append(frame)
            self._note(frame)
        self.frames += new
        return new

    def _note(self, frame):
        if not isinstance(frame, HeadersFrame | DataFrame | RstStreamFrame):
            assert not isinstance(frame, ContinuationFrame)
            return
        answer = self.answers.setdefault(frame.stream_id, Answer())
        if isinstance(frame, HeadersFrame):
            assert not answer.ended
            headers = dict(self._decoder.decode(frame.data))
            if answer.headers:
                answer.trailers = headers
            else:
                answer.headers = headers
        elif isinstance(frame, DataFrame):
            assert answer.headers
            assert not answer.ended
            answer.body += frame.data
        elif answer.reset is None:  # a client looks at the first only
            answer.reset = frame.error_code
        if "END_STREAM" in frame.flags:
            answer.ended = True

    def answer(self, stream) -> Answer:
        """Read what came, and give what belongs to a stream."""
        self.read()
        return self.answers.get(stream, Answer())

    def all(self, kind: type[Frame]) -> list:
        """Read what came, and give all frames of a kind, acknowledgements aside."""
        self.read()
        return [frame for frame in self.frames if isinstance(frame, kind) and "ACK" not in frame.flags]

    def goaways(self) -> list[tuple[int, int]]:
        """Read what came, and give the last stream and the error of each goodbye."""
        return [(frame.last_stream_id, frame.error_code) for frame in self.all(GoAwayFrame)]

    def pong(self):
        """Answer the last ping."""
        self.send(PingFrame(0, self.all(PingFrame)[-1].opaque_data, flags=["ACK"]))


class Client(Frames):
    """Both ends of one connection: what the peer sends, and what it gets.

    Args:
        check: answers checks; without one, with the check backwards.
        lifetime: of the connection.
        held: octets that all connections of the door hold; without one, it is the only one.
        handshake: send the preface and settings at once.
        settings: what they say, by name.
    """

    def __init__(self, check=None, *, lifetime=300.0, handshake=True, held=None, **settings):
        super().__init__()
        self.now = 1_000.0
        self.ended = False
        self.waits: list[Wait] = []
        self.checked: list[bytes] = []
        self.refused: list[tuple[bytes, float]] = []
        self.behind: Pulse | None = None
        self.health = Health(lambda call: call())
        self._check = check or (lambda data: data[::-1])
        methods = {CHECK.encode(): Method(self._checks, self._refuse), HEALTH_CHECK.encode(): Method(self.health.check)}
        services = Services(methods, HEALTH_WATCH.encode(), self.health, held or Held())
        self.connection = Connection(services, self, now=self.now, lifetime=lifetime)
        if handshake:
            self.send(*greeting(**settings))

    def _checks(self, data):
        self.checked.append(data)
        return self._check(data)

    def _refuse(self, data, waited):
        self.refused.append((data, waited))
        return b"refused"

    def write(self, octets):
        """Take octets, as the connection's peer; none may come after the end."""
        assert not self.ended
        self.octets += octets

    def end(self):
        """Note the end, as the connection's peer; it comes once."""
        assert not self.ended
        self.ended = True

    def wait(self, check, seconds, reply):
        """Note what is waited for, as the connection's peer."""
        self.waits.append(Wait(check, seconds, reply))
        return self.waits[-1].cancel

    def send(self, *parts: bytes | Frame):
        """Let the connection receive octets and frames, in one piece."""
        self.connection.receive(written(*parts), self.now, self.behind)

    def tick(self, seconds=0.0):
        """Let time pass, in the steps of the door."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 0.25)
            self.connection.tick(self.now)

    def read(self):
        """Read the frames that came since the last time; the last must be whole."""
        new = super().read()
        assert self._read == len(self.octets)
        return new

    def leave(self):
        """Have the connection say the first half of its goodbye: the client tells that it has read everything."""
        self.connection.leave()
        self.pong()


class Remote(Frames):
    """A client at the other end of a real socket.

    Args:
        address: a port of the loopback interface, or the path of a Unix socket.
        settings: what it says in its greeting, by name.
    """

    def __init__(self, address: int | str, **settings):
        super().__init__()
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect(address if isinstance(address, str) else ("127.0.0.1", address))
        except OSError:
            self.socket.close()
            raise
        self.closed = False
        self.send(*greeting(**settings))

    def send(self, *parts: bytes | Frame):
        """Send octets and frames."""
        self.socket.sendall(written(*parts))

    def until(self, condition: Callable[[], bool]):
        """Receive until something comes true, which must be while the connection is open."""
        while not condition():
            assert self._receive(), "the connection was closed"

    def served(self, *streams) -> list[list[bytes]]:
        """Receive until streams are ended; give their messages."""
        self.until(lambda: all(self.answer(stream).ended for stream in streams))
        return [self.answer(stream).messages for stream in streams]

    def drain(self):
        """Receive until the server closes."""
        while self._receive():
            pass
        self.read()

    def _receive(self) -> bool:
        try:
            octets = self.socket.recv(65_536)
        except ConnectionError:
            octets = b""
        self.octets += octets
        self.closed = not octets
        return not self.closed

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


SETTINGS = {
    "table_size": SettingsFrame.HEADER_TABLE_SIZE,
    "window": SettingsFrame.INITIAL_WINDOW_SIZE,
    "frame_size": SettingsFrame.MAX_FRAME_SIZE,
}


def greeting(**settings) -> tuple[bytes, Frame]:
    """Build the beginning of a connection."""
    return PREFACE, SettingsFrame(0, settings={SETTINGS[name]: value for name, value in settings.items()})


def written(*parts: bytes | Frame) -> bytes:
    """Write frames, and octets as they are."""
    return b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts)


def body(stream, data=b"", *, end=True) -> DataFrame:
    """Build a piece of a request's body."""
    return DataFrame(stream, data, flags=["END_STREAM"] if end else [])


def pieces(stream, octets, size=16_384) -> list[DataFrame]:
    """Cut octets into DATA frames; a further, empty one is the end."""
    cut = [body(stream, octets[at : at + size], end=False) for at in range(0, len(octets), size)]
    return [*cut, body(stream)]


def open_calls(connection) -> list[int]:
    """The streams of the calls that a connection knows of."""
    return [*connection._arriving, *connection._waiting]
