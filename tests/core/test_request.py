"""A request, as a program asks about it."""

import pytest

from authz_server.core.request import Request


@pytest.mark.parametrize(
    ("headers", "read"),
    [
        ({"authorization": "a"}, {"authorization": "a"}),
        ({"Authorization": "a", "X-API-Token": "b"}, {"authorization": "a", "x-api-token": "b"}),
        ({"AUTHORIZATION": "a", "authorization": "b", "Authorization": "c"}, {"authorization": "a,b,c"}),
        ({}, {}),
    ],
)
def test_header_names_have_no_case(headers: dict[str, str], read: dict[str, str]) -> None:
    """RFC 9110 section 5.1; what is sent twice is joined, as Envoy joins lines, and so is no token."""
    assert Request("GET", "api.test", "/", headers).headers == read


def test_a_request_is_a_value() -> None:
    """Two that ask the same are equal, and the parts have names."""
    request = Request("GET", "api.test", "/pets", {"A": "b"}, {"api": "shop"})

    assert request == Request(method="GET", host="api.test", path="/pets", headers={"a": "b"}, context={"api": "shop"})
    assert tuple(request) == ("GET", "api.test", "/pets", {"a": "b"}, {"api": "shop"})
    assert Request("GET", "", "/").headers == Request("GET", "", "/").context == {}
