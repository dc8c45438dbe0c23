"""Identity headers at the upstream come from this server, whatever a client sends."""

from urllib.parse import unquote

import pytest

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


def test_two_authorization_lines_are_refused(edge, pool):
    """Envoy joins two Authorization lines; no half of such a value is a token."""
    token = pool.id_token()

    assert edge.send("GET", "/prod/pets", [("authorization", token), ("authorization", token)]).status == 401


def test_the_token_goes_on_to_the_upstream(edge, pool):
    """API Gateway passes the Authorization header on unchanged."""
    token = pool.id_token()

    assert edge.send("GET", "/prod/pets", [("authorization", token)]).upstream["headers"]["authorization"] == token


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
