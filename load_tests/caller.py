"""A load generator for gRPC calls that differ from each other; h2load knows one request only.

    python caller.py PORT FILE --path PATH --connections 8 --streams 16 --calls 10000 --seed 1 --reply-size 158

Prints one line of JSON: how long all calls took together, in seconds, and how long each took, in microseconds. Frames are written by hand:
a call costs this program some microseconds, less than any server that it asks.
"""

import argparse
import json
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import mixture
from hpack import Encoder

MAX_CALLS = 3_400  # on one connection, see h2load.py
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_INITIAL_WINDOW = 65_535
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class CallError(Exception):
    """A call that was not answered, or with something else."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Write an HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


class Calls:
    """The calls of one connection, without I/O: octets in, octets out.

    Args:
        path: of the method.
        requests: gRPC messages to send, one for each call.
        streams: calls at once.
    """

    def __init__(self, path: str, requests: Iterator[bytes], streams: int) -> None:
        self.took: list[int] = []
        self.received = 0  # octets of answers
        self.open: dict[int, float] = {}
        self._requests, self._streams = requests, streams
        self._window, self._next, self._waiting = _INITIAL_WINDOW, 1, next(requests, None)
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "authz"}
        fields |= {"content-type": "application/grpc", "te": "trailers"}
        self._encoder, self._fields = Encoder(), list(fields.items())
        self._in = b""
        settings = struct.pack(">HI", 4, 2**31 - 1)  # any number of octets of each answer
        self._out = (
            _GREETING + frame(_SETTINGS, 0, 0, settings) + frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 1 - _INITIAL_WINDOW))
        )

    @property
    def done(self) -> bool:
        """Whether every call is answered."""
        return not self.open and self._waiting is None

    def send(self, now: float) -> bytes:
        """Begin as many calls as may run at once; take what is to be written."""
        parts = [self._out]
        while (message := self._waiting) is not None and len(self.open) < self._streams and len(message) <= self._window:
            stream = self._next
            parts.append(frame(_HEADERS, _END_HEADERS, stream, self._encoder.encode(self._fields)))
            parts.append(frame(_DATA, _END_STREAM, stream, message))
            self._window -= len(message)
            self._next += 2
            self.open[stream] = now
            self._waiting = next(self._requests, None)
        self._out = b""
        return b"".join(parts)

    def receive(self, octets: bytes, now: float) -> None:
        """Take in what came.

        Raises:
            CallError: when a call failed.
        """
        octets, place = self._in + octets, 0
        while len(octets) - place >= 9:
            length = int.from_bytes(octets[place : place + 3])
            if len(octets) - place < 9 + length:
                break
            kind, flags, stream = octets[place + 3], octets[place + 4], int.from_bytes(octets[place + 5 : place + 9])
            self._take(kind, flags, stream, octets[place + 9 : place + 9 + length], now)
            place += 9 + length
        self._in = octets[place:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes, now: float) -> None:
        if kind == _DATA:
            self.received += len(payload)
        elif kind in (_RST_STREAM, _GOAWAY):
            raise CallError(f"the server ended {'the connection' if kind == _GOAWAY else 'a call'}: {payload.hex()}")
        elif kind == _SETTINGS and not flags & _ACK:
            self._out += frame(_SETTINGS, _ACK, 0)
        elif kind == _PING and not flags & _ACK:
            self._out += frame(_PING, _ACK, 0, payload)
        elif kind == _WINDOW_UPDATE and not stream:
            self._window += int.from_bytes(payload)
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            self.took.append(round((now - self.open.pop(stream)) * 1e6))


def run(port: int, path: str, requests: Sequence[Iterator[Any]], streams: int, kind: Callable[..., Calls] = Calls) -> list[Calls]:
    """Make calls on some connections until all are answered.

    Args:
        port: of the loopback interface.
        path: of the method.
        requests: gRPC messages for each connection.
        streams: calls at once on each.
        kind: makes the calls of a connection, of these three.

    Raises:
        CallError: when a call failed.
    """
    made = []
    with selectors.DefaultSelector() as ready:
        try:
            for some in requests:
                opened = socket.create_connection(("127.0.0.1", port), 30)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                made.append(kind(path, some, streams))
                ready.register(opened, selectors.EVENT_READ, made[-1])
                opened.sendall(made[-1].send(time.perf_counter()))
            while not all(calls.done for calls in made):
                events = ready.select(30)
                if not events:
                    raise CallError("no answer for 30 s")
                for key, _ in events:
                    octets = key.fileobj.recv(262_144)  # type: ignore[union-attr]
                    if not octets:
                        raise CallError("the server closed the connection")
                    key.data.receive(octets, time.perf_counter())
                    key.fileobj.sendall(key.data.send(time.perf_counter()))  # type: ignore[union-attr]
        finally:
            for key in list(ready.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
    return made


def main() -> int:
    """Make the calls that the arguments ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path, help="gRPC messages, one behind the other; users are drawn by Zipf's law")
    parser.add_argument("--path", required=True)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--reply-size", type=int, required=True, help="octets of each right answer")
    wanted = parser.parse_args()
    messages = mixture.messages(wanted.file.read_bytes())
    drawn = (messages[number] for number in mixture.order(len(messages), wanted.seed))
    seconds, took, received, left = 0.0, list[int](), 0, wanted.calls
    while left:
        shares = [min(MAX_CALLS, left // wanted.connections + (number < left % wanted.connections)) for number in range(wanted.connections)]
        requests = [iter(list(islice(drawn, share))) for share in shares if share]
        began = time.perf_counter()
        try:
            made = run(wanted.port, wanted.path, requests, wanted.streams)
        except (CallError, OSError) as error:
            print(error, file=sys.stderr)
            return 1
        seconds += time.perf_counter() - began
        took += (each for calls in made for each in calls.took)
        received += sum(calls.received for calls in made)
        left -= sum(shares)
    if received != wanted.calls * (mixture.PREFIX_SIZE + wanted.reply_size):
        print(f"answers of {received} octets to {wanted.calls} calls, each of which should have {wanted.reply_size}", file=sys.stderr)
        return 1
    print(json.dumps({"seconds": seconds, "took": took}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
