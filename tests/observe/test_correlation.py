"""The ids by which a request is known elsewhere come from its headers, if they can do no harm."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.observe.correlation import request_id, sent_id, trace_id

UUID = "6f1c2a34-0b7d-4d53-9a50-0d6c7e8f9a01"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
PLAIN = frozenset(string.ascii_letters + string.digits + "_.:-")
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("sent", "told"),
    [(UUID, UUID), (UUID.upper(), UUID.upper()), ("", ""), ("1", ""), (UUID + "\n", ""), (UUID.replace("-", ""), "")],
)
def test_a_uuid_is_told_back(sent: str, told: str) -> None:
    """Nothing else has the form of API Gateway's request ids."""
    assert request_id({"x-request-id": sent}) == told


@pytest.mark.parametrize(
    "sent",
    [
        UUID,
        pytest.param("7ce8f8e8c3f9b26f60e3ba3ac0b0a8b6", id="nginx"),
        pytest.param("01ARZ3NDEKTSV4RRFFQ69G5FAV", id="ULID"),
        pytest.param("1-67891233-abcdef012345678912345678", id="AWS"),
        pytest.param("req_1.2:3", id="every character"),
        "1",
        "a" * 128,
    ],
)
def test_a_harmless_id_is_logged_as_it_came(sent: str) -> None:
    """Letters, digits and `_.:-` in any order, 128 at most."""
    assert sent_id({"x-request-id": sent}) == sent


@pytest.mark.parametrize("sent", ["", "a" * 129, "a b", "a,b", 'a"', "a\n", "é", "a/b", "a=b", "\x1b[31m", TOKEN, TOKEN[:20]])
def test_any_other_id_is_not_logged(sent: str) -> None:
    """Nothing that could break a line, be read as two values, or be a token."""
    assert sent_id({"x-request-id": sent}) == ""


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        pytest.param({"traceparent": f"00-{TRACE}-{SPAN}-01"}, TRACE, id="W3C"),
        pytest.param({"traceparent": f"00-{TRACE}-{SPAN}-00"}, TRACE, id="W3C, not sampled"),
        pytest.param({"traceparent": f"01-{TRACE}-{SPAN}-01"}, TRACE, id="a later version"),
        pytest.param({"traceparent": f"fe-{TRACE}-{SPAN}-01-more"}, TRACE, id="a later version with more behind it"),
        pytest.param({"traceparent": f"00-{TRACE}-{SPAN}-01-more"}, "", id="more behind version 00"),
        pytest.param({"traceparent": f"ff-{TRACE}-{SPAN}-01"}, "", id="version ff"),
        pytest.param({"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, "", id="no trace"),
        pytest.param({"traceparent": f"00-{TRACE}-{'0' * 16}-01"}, "", id="no span"),
        pytest.param({"traceparent": f"00-{TRACE.upper()}-{SPAN}-01"}, "", id="capitals"),
        pytest.param({"traceparent": f"00-{TRACE[1:]}-{SPAN}-01"}, "", id="too short"),
        pytest.param({"traceparent": f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"}, "", id="two lines"),
        pytest.param({"traceparent": f"00-{TRACE}-{SPAN}-01\n"}, "", id="a line end"),
        pytest.param({"b3": f"{TRACE}-{SPAN}-1"}, TRACE, id="B3"),
        pytest.param({"b3": f"{TRACE}-{SPAN}"}, TRACE, id="B3 without sampling"),
        pytest.param({"b3": f"{TRACE}-{SPAN}-d-{SPAN}"}, TRACE, id="B3 with a parent"),
        pytest.param({"b3": f"{TRACE[:16].upper()}-{SPAN}-0"}, TRACE[:16], id="B3 of 64 bits, in capitals"),
        pytest.param({"b3": "0"}, "", id="B3 that says do not sample"),
        pytest.param({"b3": f"{'0' * 16}-{SPAN}-1"}, "", id="B3 without a trace"),
        pytest.param({"b3": f"{TRACE}-{SPAN}-2"}, "", id="B3 with another state"),
        pytest.param({"x-b3-traceid": TRACE}, TRACE, id="B3 in several headers"),
        pytest.param({"x-b3-traceid": TRACE[:16]}, TRACE[:16], id="the same of 64 bits"),
        pytest.param({"x-b3-traceid": "0" * 32}, "", id="the same without a trace"),
        pytest.param({"x-b3-traceid": TRACE[:20]}, "", id="the same of another length"),
        pytest.param({"traceparent": "?", "b3": "?", "x-b3-traceid": TRACE}, TRACE, id="the first that is good"),
        pytest.param({"traceparent": f"00-{TRACE}-{SPAN}-01", "b3": f"{'1' * 32}-{SPAN}"}, TRACE, id="W3C goes first"),
        pytest.param({}, "", id="none"),
    ],
)
def test_the_trace_is_found(headers: dict[str, str], trace: str) -> None:
    """W3C Trace Context first, then B3 in one header, then in several; what is not exactly that is not looked at."""
    assert trace_id(headers) == trace


@given(st.fixed_dictionaries({}, optional={name: st.text() for name in ("x-request-id", "traceparent", "b3", "x-b3-traceid")}))
def test_nothing_else_gets_through(headers: dict[str, str]) -> None:
    """Whatever a client sends, an id is short and plain."""
    for found in (request_id(headers), sent_id(headers), trace_id(headers)):
        assert len(found) <= 128
        assert set(found) <= PLAIN
