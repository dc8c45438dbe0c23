"""What one HTTP/2 connection promises against any octets.

An input is one octet of options, and what a client sends: the options say whether a good beginning goes before it, into
what pieces it is cut, and what happens between the pieces.
"""

import random
from collections.abc import Callable

from authz_server.transport.grpc import framed
from fuzz.mutation import Mutate
from tests.transport.http2 import HEALTH_CHECK, HEALTH_WATCH, PREFACE, Client, Waiting, body, greeting, written

GREETED, HURRIED, EVENTFUL = 1, 2, 4  # options
STREAMS_AT_ONE_TIME = 128  # as the connection announces
FRAME_HEAD = 9
NAMES = (0, 1, 2, 3, 5, 7, 2**31 - 1)  # of streams


class Counting(Client):
    """A client that knows which of its calls still wait."""

    def wait(self, check: Waiting, seconds: float, reply: Callable[[bytes], None]) -> Callable[[], None]:
        """Note what is waited for, and forget it once it is answered."""

        def answered(octets: bytes) -> None:
            reply(octets)
            self.waits[at].cancelled = True

        at = len(self.waits)
        return super().wait(check, seconds, answered)

    @property
    def waiting(self) -> list[int]:
        """The calls that still wait."""
        return [at for at, wait in enumerate(self.waits) if not wait.cancelled]


def run(octets: bytes) -> None:
    """Hold what a connection promises against any octets.

    Raises:
        AssertionError: when it does not hold.
    """
    options, sent = (octets[0], octets[1:]) if octets else (0, b"")
    size = len(sent) + 1 if options & HURRIED else 1 + options // 8
    client = _played(sent, size, options)
    if not options & EVENTFUL:
        _is_the_same_in_one_piece(client, sent, options)
    client.connection.abandon()
    assert client.ended
    assert not client.waiting, "what a connection waited for ends with it"
    for wait in client.waits:
        wait.reply(b"late")  # whatever a door still does, it does no harm
    client.health.set(ready=True)


def _check(data: bytes) -> bytes | Waiting:
    return Waiting() if data.startswith(b"w") else data


def _played(sent: bytes, size: int, options: int) -> Counting:
    client = Counting(_check, handshake=False)
    if options & GREETED:
        client.send(*greeting())
    happen = _happenings(client)
    for number, at in enumerate(range(0, len(sent), size)):
        client.send(sent[at : at + size])
        if options & EVENTFUL:
            happen[number % len(happen)]()
        assert len(client.waiting) <= STREAMS_AT_ONE_TIME
        assert len(client.octets) < 10_000 + 50 * len(sent) + 100 * len(client.waits), "a little never asks for much"
    client.read()  # frames are whole, header blocks can be read, each stream is answered once: the client asserts that
    for stream, answer in client.answers.items():
        assert stream % 2 == 1 or not answer.headers
        assert not answer.trailers or answer.ended
    return client


def _happenings(client: Counting) -> list[Callable[[], object]]:
    """List what may happen between two pieces, apart from nothing."""
    return [
        lambda: client.tick(0.25),
        lambda: client.health.set(ready=len(client.octets) % 2 == 0),
        lambda: [client.waits[at].reply(b"late") for at in client.waiting[-2:]],
        lambda: None,
        lambda: client.tick(30),
        client.connection.leave,
        lambda: None,
    ]


def _is_the_same_in_one_piece(client: Counting, sent: bytes, options: int) -> None:
    """However octets are cut, they mean the same; an error may be found sooner."""
    whole = _played(sent, len(sent) + 1, options)
    if not client.ended and not whole.ended:
        assert whole.checked == client.checked
        assert {stream: answer.status for stream, answer in whole.answers.items()} == {
            stream: answer.status for stream, answer in client.answers.items()
        }


def mutate(octets: bytes, chance: random.Random, anyhow: Mutate) -> bytes:
    """Change an input frame by frame: most changes to raw octets would only break the framing."""
    frames = _frames(octets[1:])
    if not frames or chance.random() < 0.2:
        return anyhow(octets)
    at, other = chance.randrange(len(frames)), chance.randrange(len(frames))
    head, payload = frames[at][:FRAME_HEAD], frames[at][FRAME_HEAD:]
    match chance.randrange(6):
        case 0:
            frames.insert(other, frames[at])
        case 1:
            del frames[at]
        case 2:
            frames[at], frames[other] = frames[other], frames[at]
        case 3:  # type and flags
            frames[at] = head[:3] + bytes([chance.randrange(11), chance.randrange(256)]) + head[5:] + payload
        case 4:  # stream
            frames[at] = head[:5] + chance.choice(NAMES).to_bytes(4) + payload
        case _:
            changed = anyhow(payload or b"\0")[:16_384]
            frames[at] = len(changed).to_bytes(3) + head[3:] + changed
    options = chance.randrange(256) if chance.random() < 0.1 else octets[0]
    return bytes([options]) + b"".join(frames)


def _frames(octets: bytes) -> list[bytes]:
    """Cut octets into frames; what is left over is one."""
    preface = PREFACE if octets.startswith(PREFACE) else b""
    frames, octets = [preface] if preface else [], octets[len(preface) :]
    while len(octets) >= FRAME_HEAD:
        length = FRAME_HEAD + int.from_bytes(octets[:3])
        frames.append(octets[:length])
        octets = octets[length:]
    return [*frames, octets] if octets else frames


def seeds() -> dict[str, bytes]:
    """Make inputs to begin with: calls of each kind, whole, half, broken off and refused."""
    client = Client(handshake=False)
    calls = [client.call(stream, message) for stream, message in ((1, b"ask"), (3, b"wait"), (5, b"wait"))]
    health = [client.call(7, b"", HEALTH_CHECK), client.call(9, b"", HEALTH_WATCH), client.call(11, b"", "/else")]
    halves = [client.head(13).serialize(), body(13, framed(b"in pieces")[:7], end=False).serialize()]
    refused = [client.head(15, drop=["te"]).serialize(), client.head(17, method="GET", drop=["content-type"], end=True).serialize()]
    sent = written(*calls, *health, *halves, *refused)
    return {
        "calls": bytes([GREETED | HURRIED]) + written(*calls),
        "preface": bytes([HURRIED]) + written(*greeting(), *calls),
        "all": bytes([GREETED | HURRIED]) + sent,
        "all-in-pieces": bytes([GREETED | 8 * 8]) + sent,
        "all-eventful": bytes([GREETED | EVENTFUL | 16 * 8 - 8]) + sent,
    }
