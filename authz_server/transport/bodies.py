"""The bodies of calls that are not whole yet, of one connection and of all."""

from typing import Final

from authz_server.transport import grpc
from authz_server.transport.call import Call, Held

# Octets: of one connection; of all, and what each may hold even then.
MAX_HELD: Final = 4 * grpc.MAX_MESSAGE_SIZE
MAX_HELD_BY_ALL: Final = 32 * grpc.MAX_MESSAGE_SIZE
ALWAYS_HELD: Final = 65_536


class Bodies:
    """Hold pieces of bodies.

    Args:
        held: by all connections.
    """

    __slots__ = ("_held", "_octets")

    def __init__(self, held: Held) -> None:
        self._held = held
        self._octets = 0

    def add(self, call: Call, data: bytes) -> None:
        """Hold a piece of a call's body; with the second one, the first counts too."""
        if call.held is None:
            call.held = bytearray()
            data = call.body + data
        call.held += data
        self._count(len(data))

    def is_too_long(self, call: Call) -> bool:
        """Whether a body is longer than a message may be."""
        return len(call.held or b"") > grpc.MAX_MESSAGE_SIZE + grpc.PREFIX_SIZE

    def are_too_many(self) -> bool:
        """Whether no more can be held of this connection."""
        return self._octets > MAX_HELD or (self._held.octets > MAX_HELD_BY_ALL and self._octets > ALWAYS_HELD)

    def whole(self, call: Call) -> bytes:
        """Take the body of a call that came in several pieces."""
        body = bytes(call.held or b"")
        self.release(call)
        return body

    def release(self, call: Call) -> None:
        """Hold nothing more of a call's body."""
        self._count(-len(call.held or b""))
        call.held = None

    def _count(self, octets: int) -> None:
        self._octets += octets
        self._held.octets += octets
