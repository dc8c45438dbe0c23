"""Identity headers at the upstream come from this server, whatever a client sends."""

import re
from urllib.parse import unquote

import pytest

from tests.waiting import PATIENCE

FORGERIES = {
    "one line": [("x-auth-sub", "root"), ("x-auth-email", "root@evil.test")],
    "capitals": [("X-Auth-Sub", "root"), ("X-AUTH-EMAIL", "root@evil.test")],
    "two lines": [("x-auth-sub", "root"), ("x-auth-sub", "root"), ("x-auth-email", "a"), ("x-auth-email", "root@evil.test")],
    "empty and full": [("x-auth-sub", ""), ("x-auth-sub", "root"), ("x-auth-scope", "pets/write root")],
    "nominated by Connection": [("connection", "x-auth-sub, x-auth-email"), ("x-auth-sub", "root"), ("x-auth-email", "root@evil.test")],
    "another api's header": [("x-user", "root")],
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_header_never_reaches_the_upstream_of_a_public_route(edge, forgery):
    """A public route strips every identity header of the configuration."""
    seen = edge.send("GET", "/prod/status", forgery).upstream

    assert not any("root" in value for value in seen["headers"].values())
    assert not any(name.startswith("x-auth-") or name == "x-user" for name in seen["headers"])


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_header_is_replaced_by_the_claim(edge, pool, forgery):
    """With a token, each identity header holds exactly the claim, once."""
    seen = edge.send("GET", "/prod/pets", [("authorization", pool.id_token()), *forgery]).upstream

    headers = {name: value for name, value in seen["headers"].items() if name.startswith("x-auth-") or name == "x-user"}
    assert headers == {"x-auth-sub": pool.users["ada"].sub, "x-auth-email": "ada@example.com", "x-auth-groups": "admins,staging"}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_header_is_stripped_where_the_claim_is_absent(edge, pool, forgery):
    """An access token has no email, and neither has the upstream's request."""
    token = pool.access_token(scope="pets/write")

    seen = edge.send("POST", "/prod/pets", [("authorization", f"Bearer {token}"), *forgery]).upstream

    assert "x-auth-email" not in seen["headers"]
    assert seen["headers"]["x-auth-scope"] == "pets/write"
    assert not any("root" in value for value in seen["headers"].values())


def test_an_alias_with_underscores_is_refused_by_the_deployed_envoy(edge):
    """`x_auth_sub` folds into `x-auth-sub` at some upstreams; the deployed Envoy answers 400."""
    answer = edge.send("GET", "/prod/status", [("x_auth_sub", "root")])

    assert (answer.status == 400) == (edge.variant != "plain")


SEPARATORS = "!#$%&'*+.^`|~_"  # RFC 9110 section 5.6.2: what a name may hold in place of a hyphen


def fold(name):
    """Read a header name as the upstreams do that know letters, digits and one separator."""
    return re.sub("[^a-z0-9]", "-", name.lower())


@pytest.mark.parametrize("separator", SEPARATORS)
def test_an_alias_with_any_separator_never_reaches_the_upstream(edge, pool, separator):
    """`x.auth.sub` folds into `x-auth-sub` at some upstreams; it is stripped at the edge, or by the server where it sees all headers."""
    forged = [(name.replace("-", separator), "root") for name in ("x-auth-sub", "x-auth-email")]
    claims = {"x-auth-sub": pool.users["ada"].sub, "x-auth-email": "ada@example.com", "x-auth-groups": "admins,staging"}

    for path, headers, expected in (("/prod/status", [], {}), ("/prod/pets", [("authorization", pool.id_token())], claims)):
        answer = edge.send("GET", path, [*headers, *forged])
        seen = answer.upstream
        assert (answer.status == 400) == (separator == "_" and edge.variant != "plain")
        assert seen is None or {name: value for name, value in seen["headers"].items() if fold(name).startswith("x-auth-")} == expected


def test_two_authorization_lines_are_refused(edge, pool):
    """Envoy joins two Authorization lines; no half of such a value is a token."""
    token = pool.id_token()

    assert edge.send("GET", "/prod/pets", [("authorization", token), ("authorization", token)]).status == 401


def test_the_token_goes_on_to_the_upstream(edge, pool):
    """API Gateway passes the Authorization header on unchanged."""
    token = pool.id_token()

    assert edge.send("GET", "/prod/pets", [("authorization", token)]).upstream["headers"]["authorization"] == token


HIDDEN = "x-auth-sub: root"
SMUGGLED = {
    "a folded line, RFC 9112 section 5.2": f"x-note: a\r\n {HIDDEN}",
    "a line folded by a tab": f"x-note: a\r\n\t{HIDDEN}",
    "a fold in front of a header": f"x-note:\r\n {HIDDEN}",
    "a fold behind a name": "x-auth-sub\r\n : root",
    "a space before the colon, CVE-2019-16276": "x-auth-sub : root",
    "a tab before the colon": "x-auth-sub\t: root",
    "a line feed alone, RFC 9112 section 2.2": f"x-note: a\n{HIDDEN}",
    "a carriage return alone, RFC 9112 section 2.2": f"x-note: a\r{HIDDEN}",
    "a carriage return too many": f"x-note: a\r\r\n{HIDDEN}",
    "a NUL, RFC 9110 section 5.5": f"x-note: a\0\r\n{HIDDEN}",
    "a vertical tab in a name": "\x0bx-auth-sub: root",
    "a name in quotes": '"x-auth-sub": root',
    "a high bit in a name": f"\xf8-auth-sub: root\r\n{HIDDEN}",
    "an empty one and a full one": f"x-auth-sub:\r\n{HIDDEN}",
}
SUB = re.compile(r'"([^"]*sub[^"]*)":"([^"]*)"')


@pytest.mark.parametrize("lines", SMUGGLED.values(), ids=SMUGGLED)
@pytest.mark.parametrize("path", ["/prod/status", "/prod/pets"])
def test_a_smuggled_header_is_none(edge, pool, path, lines):
    """What one parser takes for a line and another for two is refused by Envoy, or stripped like any forged header."""
    head = f"GET {path} HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\nAuthorization: {pool.id_token()}\r\n"
    status, _, rest = edge.exchange(f"{head}{lines}\r\n\r\n", quiet_seconds=PATIENCE).removeprefix("HTTP/1.1 ").partition(" ")
    told = [("x-auth-sub", pool.users["ada"].sub)] if status == "200" and path == "/prod/pets" else []

    assert status in {"200", "400"}
    assert SUB.findall(rest) == told


@pytest.mark.parametrize("space", [" ", "\t"])
def test_a_folded_credential_is_none(edge, pool, space):
    """RFC 9112 section 5.2: a token that goes on in a second line is refused, and so is one that only begins there."""
    token = pool.id_token()
    half = len(token) // 2

    assert edge.send("GET", "/prod/pets", [("authorization", f"{token[:half]}\r\n{space}{token[half:]}")]).status in {400, 401}
    assert edge.send("GET", "/prod/pets", [("x-note", f"a\r\n{space}authorization: {token}")]).status in {400, 401}


OUTER = "GET /prod/status HTTP/1.1\r\nHost: api.example.com\r\n"
INNER = "GET /prod/pets HTTP/1.1\r\nHost: api.example.com\r\nx-auth-sub: root\r\nConnection: close\r\n"
LENGTH = len(INNER) + 2
SMUGGLED_REQUESTS = {
    "behind a request": f"\r\n{INNER}\r\n",
    "a length and chunks, RFC 9112 section 6.3": f"Content-Length: {LENGTH + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{INNER}\r\n",
    "chunks in other words": f"Content-Length: {LENGTH}\r\nTransfer-Encoding: xchunked\r\n\r\n{INNER}\r\n",
    "chunks behind a tab": f"Content-Length: {LENGTH}\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n{INNER}\r\n",
    "chunks in a folded line": f"Content-Length: {LENGTH}\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{INNER}\r\n",
    "two lengths": f"Content-Length: 0\r\nContent-Length: {LENGTH}\r\n\r\n{INNER}\r\n",
    "a length with a sign": f"Content-Length: +0\r\n\r\n{INNER}\r\n",
    "a chunk's extension with a line feed": f"Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n0\r\n\r\n{INNER}\r\n",
}


@pytest.mark.parametrize("rest", SMUGGLED_REQUESTS.values(), ids=SMUGGLED_REQUESTS)
def test_a_smuggled_request_is_checked_or_refused(edge, rest):
    """What is read as a second request is checked like any other: without a token, it does not reach the upstream."""
    received = edge.exchange(OUTER + rest, quiet_seconds=0.2)

    assert received.startswith("HTTP/1.1 ")
    assert '"path":"/prod/pets"' not in received
    assert "root" not in received


def test_a_second_request_is_read(edge, pool):
    """The search would find a request that reached the upstream: the same one, with a token, does."""
    received = edge.exchange(f"{OUTER}\r\n{INNER}Authorization: {pool.id_token()}\r\n\r\n", quiet_seconds=PATIENCE)

    assert '"path":"/prod/pets"' in received
    assert "root" not in received


SPLITTERS = {
    "CRLF": "a\r\nx-auth-sub: root",
    "LF": "a\nx-auth-sub: root",
    "NUL": "a\x00b",
    "a whole answer": "a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "another script's line ends": "a\u2028x-auth-sub: root\u0085b",
    "letters that lose bits, CVE-2016-2216": "a\u010d\u010ax-auth-sub: root",
}


@pytest.mark.parametrize("value", SPLITTERS.values(), ids=SPLITTERS)
def test_cwe_113_a_claim_does_not_split_a_header(edge, pool, value):
    """What a user writes into an attribute stays in its header, and can be read back."""
    seen = edge.send("GET", "/prod/pets", [("authorization", pool.id_token(email=value))]).upstream

    assert unquote(seen["headers"]["x-auth-email"]) == value
    assert seen["headers"]["x-auth-sub"] == pool.users["ada"].sub
    assert seen["headers"]["x-auth-email"].isascii()
    assert seen["headers"]["x-auth-email"].isprintable()
