"""The rules of gRPC over HTTP/2, as tables."""

import pytest

from authz_server.transport import grpc
from authz_server.transport.grpc import CallError, Refusal, Status

GOOD = {b"content-type": b"application/grpc", b"te": b"trailers"}
UNLIMITED = grpc.MAX_MESSAGE_SIZE


def without(name):
    """Give good headers without one of them."""
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    "content_type", [b"application/grpc", b"application/grpc+proto", b"application/grpc+json", b"application/grpc;x=y"]
)
def test_any_grpc_content_type_is_served(content_type):
    """What the bytes of a message mean is not the transport's matter."""
    assert grpc.refusal(b"POST", {**GOOD, b"content-type": content_type}) is None


@pytest.mark.parametrize(
    "content_type", [None, b"", b"text/plain", b"application/json", b"application/grpc-web", b"application/grpcx", b"Application/GRPC"]
)
def test_any_other_content_type_gets_the_http_status_415(content_type):
    """A peer that does not speak gRPC would not find a gRPC status."""
    headers = without(b"content-type") if content_type is None else {**GOOD, b"content-type": content_type}

    refusal = grpc.refusal(b"POST", headers)

    assert (refusal.http, refusal.status) == (415, Status.INTERNAL)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"CONNECT", b"post"])
def test_a_call_is_a_post(method):
    """Any other method gets the HTTP status 405."""
    assert grpc.refusal(method, GOOD).http == 405


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        (without(b"te"), Status.INTERNAL, "te: trailers"),
        ({**GOOD, b"te": b"gzip"}, Status.INTERNAL, "te: trailers"),
        ({**GOOD, b"grpc-encoding": b"gzip"}, Status.UNIMPLEMENTED, "grpc-encoding"),
        ({**GOOD, b"grpc-encoding": b""}, Status.UNIMPLEMENTED, "grpc-encoding"),
    ],
)
def test_a_call_that_can_not_be_answered_gets_a_grpc_status(headers, status, said):
    """Trailers must reach the client, and messages must not be compressed."""
    refusal = grpc.refusal(b"POST", headers)

    assert (refusal.http, refusal.status) == (200, status)
    assert said in refusal.message


def test_encoding_identity_is_no_encoding():
    """A client may say so."""
    assert grpc.refusal(b"POST", {**GOOD, b"grpc-encoding": b"identity"}) is None


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        (b"1H", 3_600.0),
        (b"2M", 120.0),
        (b"3S", 3.0),
        (b"250m", 0.25),
        (b"250000u", 0.25),
        (b"99999999n", 0.099999999),
        (b"00000001S", 1.0),
        (b"0m", 0.0),
    ],
)
def test_a_timeout_is_up_to_eight_digits_and_a_unit(timeout, seconds):
    """Hours, minutes, seconds, milli-, micro- and nanoseconds."""
    assert grpc.refusal(b"POST", {**GOOD, b"grpc-timeout": timeout}) is None
    assert grpc.seconds(timeout) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "timeout", [b"", b"1", b"S", b"-1S", b"+1S", b" 1S", b"1S ", b"1S\n", b"1.5S", b"123456789S", b"1s", b"1h", b"1 S", b"\xd9\xa1S"]
)
def test_a_malformed_timeout_is_an_error(timeout):
    """It is never guessed."""
    refusal = grpc.refusal(b"POST", {**GOOD, b"grpc-timeout": timeout})

    assert (refusal.http, refusal.status) == (200, Status.INTERNAL)
    assert "grpc-timeout" in refusal.message


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 70_000])
def test_a_message_is_what_was_framed(content):
    """Five octets in front: not compressed, and how long."""
    framed = grpc.framed(content)

    assert framed[:5] == b"\0" + len(content).to_bytes(4)
    assert grpc.message(framed) == content


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no message"),
        (b"\0", "cut off"),
        (b"\0\0\0\0", "cut off"),
        (b"\0\0\0\0\x02x", "cut off"),
        (b"\0\xff\xff\xff\xffx", "cut off"),
        (b"\0\0\0\0\x01xy", "one message"),
        (b"\0\0\0\0\0\0", "one message"),
        (grpc.framed(b"one") + grpc.framed(b"two"), "one message"),
        (b"\x01\0\0\0\x01x", "compressed"),
        (b"\xff\0\0\0\x01x", "compressed"),
        (b"\x01\0\0\0\x02x", "compressed"),
    ],
)
def test_a_unary_call_has_one_uncompressed_message(body, said):
    """Anything else is INTERNAL, with what is wrong."""
    with pytest.raises(CallError, match=said) as refused:
        grpc.message(body)

    assert refused.value.refusal.status is Status.INTERNAL


@pytest.mark.parametrize(
    ("message", "written"),
    [
        ("plain text", b"plain text"),
        ("100%", b"100%25"),
        ("line\nbreak\r\0", b"line%0Abreak%0D%00"),
        ("ünï", b"%C3%BCn%C3%AF"),
        ("~!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}", b"~!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}"),
        ("\x7f", b"%7F"),
    ],
)
def test_a_status_message_is_percent_encoded(message, written):
    """Printable ASCII but % stands for itself; the rest is UTF-8 in escapes."""
    headers = dict(grpc.trailers_only(Refusal(Status.INTERNAL, message)))

    assert headers == {b"content-type": b"application/grpc", b"grpc-status": b"13", b"grpc-message": written}


def test_unimplemented_says_which_encodings_are_implemented():
    """A client that compresses learns to stop."""
    headers = dict(grpc.trailers_only(Refusal(Status.UNIMPLEMENTED, "")))

    assert headers[b"grpc-accept-encoding"] == b"identity"


@pytest.mark.parametrize(("method", "allow"), [(b"GET", b"POST"), (b"POST", None)])
def test_a_peer_that_speaks_no_grpc_gets_text(method, allow):
    """A human with curl reads what is wrong; 405 names the method."""
    headers, body = grpc.as_text(grpc.refusal(method, GOOD if allow else {}))

    fields = dict(headers)
    assert (fields[b"content-type"], fields.get(b"allow")) == (b"text/plain", allow)
    assert int(fields[b"content-length"]) == len(body)
    assert body.endswith(b"\n")
