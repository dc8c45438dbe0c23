"""The bytes of a CheckRequest become the core's request, in either shape in which headers arrive."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.core.request import Request
from authz_server.envoy.request import MalformedRequestError, parse
from authz_server.envoy.stubs import CheckRequest
from authz_server.testing import UserPool


def check(lines: list[tuple[str, bytes | str]] | None = None, **http: object) -> CheckRequest:
    """Make a CheckRequest; lines stand where `encode_raw_headers` puts them."""
    message = CheckRequest()
    fields = message.attributes.request.http
    for name, value in http.items():
        if name == "headers":
            fields.headers.update(value)
        else:
            setattr(fields, name, value)
    for key, value in lines or []:
        if isinstance(value, bytes):
            fields.header_map.headers.add(key=key, raw_value=value)
        else:
            fields.header_map.headers.add(key=key, value=value)
    return message


def read(message: CheckRequest) -> Request:
    """Write a message and read it."""
    request = parse(message.SerializeToString())
    return request._replace(headers=dict(request.headers), context=dict(request.context))


def test_typed_fields_are_read() -> None:
    """Method, host and path come from their fields; pseudo-headers, which a filter may drop, do not matter."""
    message = check(
        method="GET",
        host="api.test:443",
        path="/pets?a=1",
        headers={":method": "POST", ":authority": "evil.test", ":path": "/admin", "authorization": "Bearer a.b.c"},
    )
    message.attributes.context_extensions.update({"api": "pets", "authorizer": "users"})
    request = read(message)

    assert (request.method, request.host, request.path) == ("GET", "api.test:443", "/pets?a=1")
    assert request.headers["authorization"] == "Bearer a.b.c"
    assert request.context == {"api": "pets", "authorizer": "users"}


def test_an_empty_message_is_an_empty_request() -> None:
    """Nothing is made up for what is absent: the core will refuse it."""
    assert read(CheckRequest()) == Request("", "", "", {}, {})
    assert parse(b"") == Request("", "", "", {}, {})


def test_looking_into_a_request_does_not_change_it() -> None:
    """Asking for a header or extension that is absent does not make it appear."""
    request = parse(check(method="GET").SerializeToString())

    assert request.headers.get("authorization") is None
    assert request.context.get("authorization_scopes", "") == ""
    assert "api" not in request.context
    assert (dict(request.headers), dict(request.context)) == ({}, {})


@pytest.mark.parametrize(
    ("lines", "headers"),
    [
        pytest.param([("authorization", b"Bearer a")], {"authorization": "Bearer a"}, id="octets"),
        pytest.param([("authorization", "Bearer a")], {"authorization": "Bearer a"}, id="text"),
        pytest.param([("Authorization", b"a"), ("X-Request-ID", b"b")], {"authorization": "a", "x-request-id": "b"}, id="capitals"),
        pytest.param([("a", b"1"), ("b", b"2"), ("a", b"3")], {"a": "1,3", "b": "2"}, id="lines of one name, CVE-2021-32777"),
        pytest.param([("a", b"1"), ("A", b"2"), ("a", "3")], {"a": "1,2,3"}, id="lines of one name in any case and shape"),
        pytest.param([("a", b""), ("a", b"x")], {"a": ",x"}, id="an empty line counts"),
        pytest.param([("a", b"")], {"a": ""}, id="empty"),
        pytest.param([("a", b"\xff\xc3\xa9")], {"a": "\xff\xc3\xa9"}, id="octets that are no UTF-8 stay apart"),
    ],
)
def test_raw_header_lines_are_joined(lines: list[tuple[str, bytes | str]], headers: dict[str, str]) -> None:
    """With `encode_raw_headers` each line is an entry: names are lower-cased, and lines of one name joined by a comma, as in the map."""
    assert read(check(lines)).headers == headers


def test_many_lines_beside_a_long_one_cost_no_more() -> None:
    """What was joined is not copied for each line that comes after it."""

    def cost(first: bytes) -> float:
        data = check([("a", first), *[("a", b"")] * 10_000]).SerializeToString()
        began = time.thread_time()
        parse(data)
        return time.thread_time() - began

    assert min(cost(b"x" * 400_000) for _ in range(3)) < 4 * min(cost(b"x") for _ in range(3))


def test_raw_header_lines_replace_the_map() -> None:
    """When both shapes are there, the lines are what the upstream will see."""
    assert read(check([("a", b"line")], headers={"a": "map", "b": "map"})).headers == {"a": "line"}


def test_an_empty_set_of_lines_means_no_headers() -> None:
    """When Envoy sends lines, and there are none, the map is not looked at."""
    message = check(headers={"a": "map"})
    message.attributes.request.http.header_map.SetInParent()

    assert read(message).headers == {}


def test_two_tokens_are_seen_as_two(pool: UserPool) -> None:
    """Of two Authorization lines neither wins: both shapes give one value that no token reader takes."""
    token = pool.id_token()
    for message in (
        check([("authorization", f"Bearer {token}".encode())] * 2),
        check(headers={"authorization": f"Bearer {token},Bearer {token}"}),
    ):
        assert read(message).headers["authorization"] == f"Bearer {token},Bearer {token}"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff", id="a cut tag"),
        pytest.param(b"not a message", id="text"),
        pytest.param(check(method="GET", path="/pets").SerializeToString()[:-1], id="a cut message"),
        pytest.param(check(path="/aaaa").SerializeToString().replace(b"/aaaa", b"/a\xffaa"), id="path is no UTF-8"),
        pytest.param(check(host="aaaa").SerializeToString().replace(b"aaaa", b"a\xffaa"), id="host is no UTF-8"),
        pytest.param(check(method="aaaa").SerializeToString().replace(b"aaaa", b"a\xffaa"), id="method is no UTF-8"),
        pytest.param(
            check(headers={"a": "bbbb"}).SerializeToString().replace(b"bbbb", b"b\xffbb"), id="a header is no UTF-8, CVE-2023-27488"
        ),
        pytest.param(check(headers={"aaaa": "b"}).SerializeToString().replace(b"aaaa", b"a\xffaa"), id="a header name is no UTF-8"),
        pytest.param(check([("aaaa", b"")]).SerializeToString().replace(b"aaaa", b"a\xffaa"), id="a line's name is no UTF-8"),
        pytest.param(check(path="/aaaa").SerializeToString().replace(b"/aaaa", b"/\xed\xa0\x80a"), id="half of a surrogate pair"),
    ],
)
def test_other_bytes_are_malformed(data: bytes) -> None:
    """Bytes that are no CheckRequest are told apart, so that they can be denied and never become a gRPC error."""
    with pytest.raises(MalformedRequestError):
        parse(data)


def test_fields_that_are_not_declared_are_passed_over() -> None:
    """A newer Envoy may send more."""
    assert parse(b"\xfa\x3e\x03new" + check(method="GET").SerializeToString()).method == "GET"


@given(st.binary(max_size=60))
def test_any_bytes_are_a_request_or_malformed(data: bytes) -> None:
    """No bytes cause any other exception."""
    try:
        request = parse(data)
    except MalformedRequestError:
        return
    assert isinstance(request.path, str)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "A", "b", "authorization"]), st.binary(max_size=4) | st.text(max_size=4)), max_size=6),
)
def test_no_line_is_lost(lines: list[tuple[str, bytes | str]]) -> None:
    """Every line of a name is in its value, in order."""
    request = read(check(lines))

    for name in {key.lower() for key, _ in lines}:
        values = [value.decode("latin-1") if isinstance(value, bytes) else value for key, value in lines if key.lower() == name]
        assert request.headers[name] == ",".join(values)
    assert set(request.headers) == {key.lower() for key, _ in lines}
