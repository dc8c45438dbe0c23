"""Misuse of the gRPC port over real sockets: the server stays up, its memory stays bounded, and others are answered."""

import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from select import select

import grpc
import pytest
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from authz_server.envoy.stubs import CheckRequest, CheckResponse
from authz_server.transport.grpc import framed
from tests.transport.http2 import CHECK, HEALTH_CHECK, HEALTH_WATCH, PREFACE, Remote, body, greeting, written
from tests.waiting import PATIENCE, until

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
CANCEL = 8
SECONDS = 2.0  # of misuse, and until a good client was answered so many times beside it
ANSWERS = 20
MEMORY = 64 * 2**20  # that a kind of it may cost, buffers of the door included; grpcio's take the most


def message():
    """Write a check that is denied at once: it has no token."""
    request = CheckRequest()
    http = request.attributes.request.http
    http.method, http.path, http.host = "GET", "/prod/pets", "api.example.com"
    return request.SerializeToString()


def streams():
    """Number the streams of a client."""
    return range(1, 2**31, 2)


def in_streams(frames: Callable[[Remote, int], list[Frame | bytes]]):
    """Misuse one stream after the other, a hundred at a time."""

    def misuse(remote):
        number = iter(streams())
        while True:
            yield written(*(part for _ in range(100) for part in frames(remote, next(number))))

    return misuse


def again(*frames: Frame | bytes):
    """Send the same, a thousand at a time, beside one call that is open."""

    def misuse(remote):
        yield remote.head(1).serialize()
        while True:
            yield written(*frames) * 1_000

    return misuse


def continuations(fragment: bytes):
    """Begin a header block, and never end it; slowly, for many long ones are more than grpcio withstands (see SECURITY.md)."""

    def misuse(remote):
        yield HeadersFrame(1, remote.head(1).data).serialize()
        yield written(ContinuationFrame(1, fragment)) * 100
        time.sleep(0.2)

    return misuse


def header_bomb(_):
    """Put a long field into the table, and refer to it thousands of times in every request."""
    encoder = Encoder()
    fields = [(":method", "POST"), (":scheme", "http"), (":path", CHECK), (":authority", "a"), ("x-bomb", "a" * 4_000)]
    block = encoder.encode(fields)
    for stream in streams():
        yield HeadersFrame(stream, block + b"\xbe" * 12_000, flags=["END_HEADERS", "END_STREAM"]).serialize()


def long_header_list(remote):
    """Send far more header fields than anybody needs."""
    for stream in streams():
        fields = [(f"x-{number}", "a" * 100) for number in range(500)]
        block = remote.block(stream, fields)
        pieces = [block.data[at : at + 16_000] for at in range(0, len(block.data), 16_000)]
        last = len(pieces) - 1
        frames = [ContinuationFrame(stream, piece, flags=["END_HEADERS"] if at == last else []) for at, piece in enumerate(pieces)]
        yield written(HeadersFrame(stream, pieces[0]), *frames[1:])


def half_open(remote):
    """Begin calls, and never end them."""
    for stream in streams():
        yield half(remote, stream)


def half(remote, stream, method=CHECK):
    """Begin a call, and break off in its message."""
    return written(remote.head(stream, method), body(stream, framed(b"x" * 10_000)[:9_000], end=False))


def held_open(*methods):
    """Begin a few calls, and do nothing more."""

    def misuse(remote):
        yield b"".join(half(remote, stream, method) for stream, method in zip(streams(), methods, strict=False))
        while True:
            time.sleep(0.01)
            yield b""

    return misuse


def half_open_on_new_connections(remote):
    """Begin a call on each of hundreds of connections a second, and leave them alone."""
    opened = []
    try:
        while True:
            opened.append(Remote(remote.socket.getpeername()[1]))
            opened[-1].send(half(opened[-1], 1))
            time.sleep(0.001)
            yield b""
    finally:
        for each in opened:
            each.socket.close()


def never_reads(remote):
    """Ask with all the credit in the world, and read nothing."""
    yield written(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2**31 - 1}), WindowUpdateFrame(0, 2**30))
    for stream in streams():
        yield remote.call(stream, message())


def gives_no_credit(remote):
    """Ask, and never allow an answer."""
    yield SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}).serialize()
    for stream in streams():
        yield remote.call(stream, message())


def credit_of_one(remote):
    """Ask, and allow answers octet by octet."""
    yield SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1}).serialize()
    for stream in streams():
        yield remote.call(stream, message()) + written(*[WindowUpdateFrame(stream, 1)] * 20)


# What is misused, and who warned of it.
MISUSES = {
    "rapid reset, CVE-2023-44487": in_streams(lambda remote, stream: [remote.head(stream), RstStreamFrame(stream, CANCEL)]),
    "rapid reset of whole calls, CVE-2023-44487": in_streams(
        lambda remote, stream: [remote.call(stream, message()), RstStreamFrame(stream, CANCEL)]
    ),
    "having the server reset, CVE-2025-8671": in_streams(
        lambda remote, stream: [remote.head(stream), b"\0\0\4\x08\0" + stream.to_bytes(4) + bytes(4)]
    ),
    "data after the end, CVE-2025-8671": in_streams(lambda remote, stream: [remote.call(stream, message()), DataFrame(stream, b"x")]),
    "reset flood, CVE-2019-9514": in_streams(lambda remote, stream: [remote.block(stream, [("no", "request")])]),
    "continuations without end, CVE-2024-27316": continuations(b"\0\3x-a\3abc" * 100),
    "empty continuations without end, CVE-2024-27316": continuations(b""),
    "continuations that index, CVE-2023-45288": continuations(b"\x40\3x-b\3abc" * 100),
    "ping flood, CVE-2019-9512": again(PingFrame(0, b"12345678")),
    "settings flood, CVE-2019-9515": again(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 100})),
    "empty settings, CVE-2019-9515": again(SettingsFrame(0)),
    "empty frames, CVE-2019-9518": again(DataFrame(1)),
    "padding alone, CVE-2019-9518": again(DataFrame(1, b"", pad_length=100, flags=["PADDED"])),
    "priority loop, CVE-2019-9513": again(PriorityFrame(1, depends_on=3), PriorityFrame(3, depends_on=1)),
    "headers without a name, CVE-2019-9516": in_streams(lambda remote, stream: [remote.block(stream, [("", "")] * 50, end=True)]),
    "header bomb, CVE-2016-6581": header_bomb,
    "long header lists": long_header_list,
    "unknown frames": again(b"\0\0\x08\xfa\0\0\0\0\1abcdefgh"),
    "credit for nothing": again(WindowUpdateFrame(0, 1)),
    "half-open streams, CVE-2007-6750": half_open,
    "eight half-open streams, CVE-2007-6750": held_open(*[CHECK] * 8),
    "a hundred half-open streams, CVE-2007-6750": held_open(*[CHECK] * 100),
    "half-open streams on new connections, CVE-2007-6750": half_open_on_new_connections,
    "half-open questions for health, CVE-2007-6750": held_open(*[HEALTH_CHECK, HEALTH_WATCH] * 20),
    "half-open reflection, CVE-2007-6750": held_open(*[REFLECTION] * 20),
    "a client that never reads, CVE-2019-9517": never_reads,
    "a client that gives no credit, CVE-2019-9511": gives_no_credit,
    "credit of one octet, CVE-2019-9511": credit_of_one,
    "no frames at all": lambda _: iter(lambda: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100, None),
}
PAIRS = [list(MISUSES)[at : at + 2] for at in range(0, len(MISUSES), 2)]  # two at a time take half the time
KEEP_THEIR_MOUTH = {"a client that never reads, CVE-2019-9517"}


def misuse(port: int, name: str, over: threading.Event):
    """Misuse connections until it is over; a new one whenever the server ends one."""
    while not over.is_set():
        with suppress(OSError), Remote(port) as remote:
            remote.socket.settimeout(0.2)
            for octets in MISUSES[name](remote):
                remote.socket.sendall(octets)
                if name not in KEEP_THEIR_MOUTH:
                    while select([remote.socket], [], [], 0)[0] and remote.socket.recv(65_536):
                        pass
                if over.is_set():
                    break


def memory(server) -> int:
    """Octets that the server holds in memory."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return 1_024 * int(status.partition("VmRSS:")[2].split()[0])


def misused(server, names, seconds=SECONDS) -> tuple[float, int]:
    """Misuse a server until a good client was answered beside it; give its slowest answer, in seconds, and the most memory.

    Who is kept waiting until the misuse ends is kept waiting for ever, and loses patience.
    """
    began, answers, over = time.monotonic(), 0, threading.Event()
    misusing = [threading.Thread(target=misuse, args=(server.port, name, over)) for name in names]
    slowest, most = 0.0, 0
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        check = channel.unary_unary(CHECK, response_deserializer=CheckResponse.FromString)
        health = channel.unary_unary(HEALTH_CHECK)

        def ask():
            nonlocal slowest, most
            asked = time.monotonic()
            assert check(message(), timeout=PATIENCE).denied_response.status.code == 401
            checked = time.monotonic()
            assert health(b"", timeout=PATIENCE)
            slowest = max(slowest, checked - asked, time.monotonic() - checked)
            most = max(most, memory(server))

        for each in misusing:
            each.start()
        try:
            while answers < ANSWERS or time.monotonic() - began < seconds:
                ask()
                answers += 1
                time.sleep(0.01)
        finally:
            over.set()
            for each in misusing:
                each.join()
        ask()
    return slowest, most


@pytest.mark.parametrize("names", PAIRS, ids=" and ".join)
def test_misuse_hurts_nobody_else(server, transport, names):
    """A good client is answered beside it, as it is afterwards; memory stays in bounds, or comes back to them."""
    before = memory(server)
    _, most = misused(server, names)
    assert server.process.running()
    bound = before + MEMORY * len(names)
    assert most < bound or transport == "grpcio"  # which at times takes what it can for frames of no use, while they come
    until(lambda: memory(server) <= bound)


@pytest.mark.load
@pytest.mark.parametrize("names", PAIRS, ids=" and ".join)
def test_how_long_others_wait_beside_misuse(server, transport, names, capsys):
    """It is told here, and fails nothing: what a client waits for also depends on the machine."""
    slowest, _ = misused(server, names, seconds=0.5)
    with capsys.disabled():
        sys.stdout.write(f"\n{transport}: {1000 * slowest:.0f} ms at most beside {' and '.join(names)}\n")


def test_many_connections_that_say_nothing_keep_nobody_out(server):
    """Two hundred sockets that were opened and left alone, with a greeting and without, leave room for a good client."""
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    try:
        for half in silent[::2]:
            half.sendall(written(*greeting())[: len(PREFACE) + 3])
        assert server.check("GET", "/prod/pets").denied_response.status.code == 401
    finally:
        for each in silent:
            each.close()
