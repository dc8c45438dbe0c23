"""What a connection serves, and what it knows of each call on the way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from authz_server.transport.door import EXPECTED_TIMEOUT, Wait
from authz_server.transport.health import Health

_EXPECTED: Final = EXPECTED_TIMEOUT.encode()

Unary = Callable[[bytes], "bytes | Wait"]
Refuse = Callable[[bytes | None, float], bytes]
Cancel = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Method:
    """A unary method.

    Args:
        answer: answers a message.
        refuse: answers one, or one that was not read, which is not served since it has waited for so many seconds or is one too many;
            None where each is served.
    """

    answer: Unary
    refuse: Refuse | None = None


class Held:
    """Octets that all connections of a door hold: of bodies which are not whole yet, and of answers that wait for credit."""

    octets = 0
    owed = 0


@dataclass(frozen=True, slots=True)
class Services:
    """What a connection serves.

    Args:
        methods: by path.
        watch: path of the health service's `Watch`.
        health: answers it.
        held: by all connections.
    """

    methods: Mapping[bytes, Method]
    watch: bytes
    health: Health
    held: Held = field(default_factory=Held)


class Head:
    """The head of a call that can be served, as far as it matters."""

    __slots__ = ("expected", "headers", "method", "path", "timeout")

    def __init__(self, path: bytes, headers: Sequence[tuple[bytes, bytes]], method: Method | None) -> None:
        self.path = path
        self.headers = headers
        self.method = method  # None watches
        named = dict(headers)
        self.timeout = named.get(b"grpc-timeout")
        self.expected = named.get(_EXPECTED)


class Call:
    """A request that is arriving; once it is complete, one that waits for its answer or that watches."""

    head: Head
    began: float
    body = b""  # its first piece, which mostly is all of it
    held: bytearray | None = None  # what is here of one that is not whole when all that came has been read
    cancel: Cancel | None = None  # ends what a complete request waits for
