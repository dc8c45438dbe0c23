"""Request targets that parsers read differently never open a protected route."""

import pytest

TARGETS = [
    "/prod/status/../pets",
    "/prod/status/%2e%2e/pets",
    "/prod/status/..;/pets",
    "/prod/status/..;x=1/pets",
    "/prod/status;/../pets",
    "/prod/status;jsessionid=1/pets",
    "/prod/status%2f..%2fpets",
    "/prod/status%2fpets",
    "/prod/status%5c..%5cpets",
    "/prod/status\\..\\pets",
    "/prod/%70ets",
    "/prod/pets%2f",
    "/prod/pets%00",
    "/prod/pets%0d%0ax-auth-sub:root",
    "/prod/pets%zz",
    "/prod/pets%252F1",
    "/prod/pets%25%32%66b",
    "/prod//pets",
    "//prod/pets",
    "//prod/status",
    "/prod/./pets",
    "/prod/pets/.",
    "/prod/pets/..",
    "/PROD/pets",
    "/prod/PETS",
    "/prod/pets/",
    "/prod/pets?x=/../status",
    "/prod/pets#/status",
    "/prod/status#/pets",
    "http://other.test/prod/pets",
    "http://other.test/prod/status/../pets",
    "prod/pets",
    "*",
    "?/prod/status",
]


@pytest.mark.parametrize("target", TARGETS)
def test_no_target_opens_a_protected_route_without_a_token(edge, target):
    """Without a token, whatever reaches the upstream is the public route, spelled plainly."""
    answer = edge.send("GET", target)

    seen = answer.upstream
    assert (answer.status == 200) == (seen is not None)
    assert seen is None or seen["path"] == "/prod/status"


@pytest.mark.parametrize("method", ["get", "FOO", "TRACE", "HEAD", "OPTIONS", "DELETE"])
def test_no_other_method_opens_a_route(edge, method):
    """A method that the resource does not declare gets 403, or 400 from Envoy itself."""
    assert edge.send(method, "/prod/status").status in {400, 403, 405}


def test_an_escape_that_no_literal_can_hold_passes(edge, pool):
    """An escaped space is read alike by everybody, so a parameter may hold it."""
    answer = edge.send("GET", "/prod/pets/a%20b", [("authorization", pool.id_token())])

    assert answer.upstream["path"] == "/prod/pets/a%20b"


@pytest.mark.parametrize("host", ["a.test,b.test", "a.test@b.test", "a%2etest", "a b"])
def test_a_doubtful_host_is_refused(edge, host):
    """Hosts are compared as names; anything else is refused here or by Envoy."""
    assert edge.send("GET", "/prod/status", host=host).status in {400, 403}
