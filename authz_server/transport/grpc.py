"""gRPC over HTTP/2 as pure rules: request heads, message frames, deadlines and status.

Source: gRPC's "gRPC over HTTP2" protocol description.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final
from urllib.parse import quote

MAX_MESSAGE_SIZE: Final = 1_048_576
PREFIX_SIZE: Final = 5  # octets before a message: a flag, and its length in four
HTTP_OK: Final = 200
POST: Final = b"POST"

_READ_PREFIX: Final = Struct(">BI").unpack_from
_TIMEOUT: Final = re.compile(rb"(\d{1,8})([HMSmun])")
_SECONDS: Final = {b"H": 3_600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_PRINTABLE: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")

Headers = list[tuple[bytes, bytes]]


class Status(IntEnum):
    """The status codes that this server gives about the protocol itself; a denial is never one of them."""

    OK = 0
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call can not be served.

    Args:
        status: for `grpc-status`.
        message: for `grpc-message`.
        http: HTTP status; anything but 200 is for a peer that does not speak gRPC, which gets the message as text.
    """

    status: Status
    message: str
    http: int = HTTP_OK


class CallError(Exception):
    """End a call without an answer.

    Args:
        refusal: what the caller is told.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


UNKNOWN_METHOD: Final = Refusal(Status.UNIMPLEMENTED, "unknown method")
NO_MESSAGE: Final = Refusal(Status.INTERNAL, "the request has no message")
TOO_LONG: Final = Refusal(Status.RESOURCE_EXHAUSTED, f"the message is longer than {MAX_MESSAGE_SIZE} bytes")
TOO_MANY: Final = Refusal(Status.RESOURCE_EXHAUSTED, "too many long messages at one time")
TOO_MANY_WATCHES: Final = Refusal(Status.RESOURCE_EXHAUSTED, "too many watches; one tells of each change")
_CUT_OFF: Final = Refusal(Status.INTERNAL, "the message is cut off")
_SEVERAL: Final = Refusal(Status.INTERNAL, "a unary call has one message")
_FLAGGED: Final = Refusal(Status.INTERNAL, "the message is flagged as compressed, but grpc-encoding is identity")
_NOT_GRPC: Final = Refusal(Status.INTERNAL, "content-type is not application/grpc", http=415)
_NOT_POST: Final = Refusal(Status.INTERNAL, "the method of a gRPC call is POST", http=405)
_NO_TRAILERS: Final = Refusal(Status.INTERNAL, "te: trailers is missing; a proxy on the way does not speak gRPC")
_COMPRESSED: Final = Refusal(Status.UNIMPLEMENTED, "grpc-encoding is not identity")
_BAD_TIMEOUT: Final = Refusal(Status.INTERNAL, "grpc-timeout is malformed")

RESPONSE_HEAD: Final[Headers] = [(b"content-type", b"application/grpc")]
OK_TRAILERS: Final[Headers] = [(b"grpc-status", b"0")]
GOODBYE_TRAILERS: Final[Headers] = [(b"grpc-status", b"%d" % Status.UNAVAILABLE), (b"grpc-message", b"the connection ends")]


def refusal(method: bytes, headers: Mapping[bytes, bytes]) -> Refusal | None:
    """Look for what is wrong with the head of a request.

    Args:
        method: `:method`.
        headers: by lower-case name.

    Returns:
        What the caller is told, or None; a peer that does not speak gRPC gets an HTTP status.
    """
    content_type = headers.get(b"content-type", b"")
    if content_type != b"application/grpc" and not content_type.startswith((b"application/grpc+", b"application/grpc;")):
        return _NOT_GRPC
    if method != POST:
        return _NOT_POST
    if headers.get(b"te") != b"trailers":
        return _NO_TRAILERS
    if headers.get(b"grpc-encoding", b"identity") != b"identity":
        return _COMPRESSED
    if b"grpc-timeout" in headers and not _TIMEOUT.fullmatch(headers[b"grpc-timeout"]):
        return _BAD_TIMEOUT
    return None


def seconds(timeout: bytes) -> float:
    """Read a `grpc-timeout` that was found well-formed.

    Args:
        timeout: up to eight digits and a unit.

    Returns:
        Seconds.
    """
    return int(timeout[:-1]) * _SECONDS[timeout[-1:]]


def message(body: bytes) -> bytes:
    """Take the one message out of the body of a unary call.

    Args:
        body: all DATA of the request.

    Returns:
        The bytes of the message.

    Raises:
        CallError: when the body is no single, uncompressed message.
    """
    size = len(body) - PREFIX_SIZE
    if size < 0:
        raise CallError(_CUT_OFF if body else NO_MESSAGE)
    flag, length = _READ_PREFIX(body)
    if flag:
        raise CallError(_FLAGGED)
    if length != size:
        raise CallError(_CUT_OFF if length > size else _SEVERAL)
    return body[PREFIX_SIZE:]


def framed(answer: bytes) -> bytes:
    """Put a message into its frame."""
    return len(answer).to_bytes(PREFIX_SIZE) + answer  # the first of these octets is the flag: 0, not compressed


def as_text(refusal: Refusal) -> tuple[Headers, bytes]:
    """Write the answer to a peer that does not speak gRPC, without `:status`.

    Args:
        refusal: what the caller is told.

    Returns:
        Headers, and a body that a human can read.
    """
    body = refusal.message.encode() + b"\n"
    allow = [(b"allow", b"POST")] if refusal is _NOT_POST else []
    return [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)), *allow], body


def trailers_only(refusal: Refusal) -> Headers:
    """Write the headers of an answer that is nothing but a status, without `:status`.

    Args:
        refusal: what the caller is told.

    Returns:
        Headers that end the call; the message is percent-encoded.
    """
    return [
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"%d" % refusal.status),
        (b"grpc-message", quote(refusal.message, safe=_PRINTABLE).encode()),
        *([(b"grpc-accept-encoding", b"identity")] if refusal.status is Status.UNIMPLEMENTED else []),
    ]
