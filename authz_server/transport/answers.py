"""Answers on the streams of one connection, and what the peer is owed: octets of answers that it has given no credit for."""

from typing import Any, Final

from authz_server.transport import grpc
from authz_server.transport.call import Held
from authz_server.transport.grpc import HTTP_OK, OK_TRAILERS, RESPONSE_HEAD, Refusal, framed

# As much as is held of what peers send: by one connection; by all, and what each may be owed even then.
MAX_OWED: Final = 4 * grpc.MAX_MESSAGE_SIZE
MAX_OWED_BY_ALL: Final = 32 * grpc.MAX_MESSAGE_SIZE
ALWAYS_OWED: Final = 65_536


class Answers:
    """Write answers.

    Args:
        http2: the connection, which sends as the peer gives credit.
        held: by all connections.
    """

    __slots__ = ("_held", "_http2", "_octets", "_owed")

    def __init__(self, http2: Any, held: Held) -> None:
        self._http2: Any = http2
        self._held = held
        self._owed: dict[int, int] = {}  # by stream, as far as it was counted
        self._octets = 0

    def reply(self, stream: int, answer: bytes) -> None:
        """Answer with a message."""
        sent = self._http2.stream(stream)
        sent.send_response(HTTP_OK, RESPONSE_HEAD)
        sent.send_data(framed(answer))
        sent.end_message(OK_TRAILERS)
        if sent.pending_bytes:
            self._owed[stream] = sent.pending_bytes
            self._count(sent.pending_bytes)

    def refuse(self, stream: int, refusal: Refusal) -> None:
        """Answer with a status and nothing else."""
        self._http2.stream(stream).send_response(HTTP_OK, grpc.trailers_only(refusal), True)  # noqa: FBT003 - zttp's signature

    def refuse_as_text(self, stream: int, refusal: Refusal, *, bodyless: bool) -> None:
        """Answer a peer that does not speak gRPC."""
        headers, body = grpc.as_text(refusal)
        sent = self._http2.stream(stream)
        sent.send_response(refusal.http, headers, bodyless)
        if not bodyless:
            sent.send_data(body)
            sent.end_message()

    def are_too_many(self) -> bool:
        """Count what the peer has taken meanwhile; tell whether it is owed more than it may be."""
        for stream, before in list(self._owed.items()):
            left = self._http2.stream(stream).pending_bytes or 0
            self._count(left - before)
            if left:
                self._owed[stream] = left
            else:
                del self._owed[stream]
        return self._octets > MAX_OWED or (self._held.owed > MAX_OWED_BY_ALL and self._octets > ALWAYS_OWED)

    def __bool__(self) -> bool:
        """Whether the peer is owed anything."""
        return bool(self._owed)

    def clear(self) -> None:
        """Owe nothing any more, and write nothing."""
        self._owed.clear()
        self._count(-self._octets)
        self._http2 = None

    def _count(self, octets: int) -> None:
        self._octets += octets
        self._held.owed += octets
