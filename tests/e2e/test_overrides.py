"""What is checked is what is served: no header names another method, URL or host to the upstream, and no trailer adds a header."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from authz_server.demo.process import free_port
from tests.e2e import edges, over_http2

METHODS = ["x-http-method-override", "x-http-method", "x-method-override", "x-original-method", "x-forwarded-method"]
URLS = [
    *["x-original-url", "x-original-uri", "x-original-path", "x-rewrite-url", "x-override-url", "x-replaced-path", "x-envoy-original-path"],
    *["x-ms-original-url", "x-forwarded-prefix", "x-forwarded-path", "x-forwarded-uri", "x-forwarded-url", "x-script-name"],
    *["x-forwarded-scheme", "x-forwarded-protocol", "x-forwarded-ssl", "x-forwarded-port", "x-scheme", "x-url-scheme", "front-end-https"],
]
HOSTS = ["x-host", "x-forwarded-host", "x-forwarded-server", "x-original-host", "x-http-host-override", "forwarded"]
ADDRESSES = [
    *["x-real-ip", "x-client-ip", "client-ip", "true-client-ip", "cf-connecting-ip", "x-cluster-client-ip", "fastly-client-ip"],
    *["x-azure-clientip", "x-original-forwarded-for", "x-original-for", "x-forwarded-by"],
]
ALIASES = ["x.forwarded.for", "x.forwarded.proto", "x~http~method~override", "X.Original-URL", "content.type", "~x-host"]
FORGED = [*METHODS, *URLS, *HOSTS, *ADDRESSES, *ALIASES]
INNOCENT = [("x-method-of-payment", "root"), ("x-original-title", "root"), ("x-hostess", "root"), ("x-ip", "root"), ("traceparent", "root")]


def test_no_header_overrides_what_was_checked(edge, pool):
    """Frameworks take method, path, host or address from such headers; they end at the edge, and an edge without hardening shows them."""
    for path, headers in (("/prod/status", []), ("/prod/pets", [("authorization", pool.id_token())])):
        seen = edge.send("GET", path, [*headers, *((name, "root") for name in FORGED)]).upstream
        forged = {name for name, value in seen["headers"].items() if "root" in value}

        assert forged == (set() if edge.variant != "plain" else {name.lower() for name in FORGED})


def test_other_headers_pass(edge):
    """Only such names end at the edge, and not what resembles them."""
    seen = edge.send("GET", "/prod/status", INNOCENT).upstream

    assert dict(INNOCENT).items() <= seen["headers"].items()


def test_the_address_that_envoy_saw_stands_last(edge):
    """Envoy adds to `x-forwarded-for` and does not replace it: an application has to read it from the end."""
    seen = edge.send("GET", "/prod/status", [("x-forwarded-for", "203.0.113.7")]).upstream

    assert seen["headers"]["x-forwarded-for"].split(",")[0] == "203.0.113.7"
    assert (len(seen["headers"]["x-forwarded-for"].split(",")) == 2) == (edge.variant != "plain")


TRAILERS = [("x-auth-sub", "root"), ("host", "evil.test"), ("authorization", "root"), ("x-http-method-override", "DELETE"), ("grpc-x", "1")]
EDGES = edges.chosen()


@pytest.fixture(scope="module", params=[(name, protocol) for name in EDGES.leaving_trailers for protocol in EDGES.protocols], ids=", ".join)
def ports(request, server, tmp_path_factory) -> Iterator[dict[str, int]]:
    """Start an Envoy as deployed, and without its filter for trailers, in front of an upstream that takes them."""
    name, protocol = request.param
    starts = {"hardened": EDGES.attacked[name], "bare": EDGES.leaving_trailers[name]}
    with ExitStack() as running:
        upstream = running.enter_context(over_http2.upstream(http2=protocol == "HTTP/2"))
        sites = {kind: edges.Site(listener=free_port(), authz=server.port, upstream=upstream, protocol=protocol) for kind in starts}
        for kind, start in starts.items():
            running.enter_context(start(sites[kind], tmp_path_factory.mktemp(kind)))
        yield {kind: site.listener for kind, site in sites.items()}


def test_no_trailer_reaches_the_upstream(ports, pool):
    """Some upstreams take trailers for headers, and no check sees them; Envoy passes those of HTTP/2 on, unless it is made to drop them."""
    headers = [("authorization", pool.access_token(scope="pets/write"))]
    seen = over_http2.ask(ports["hardened"], "POST", "/prod/pets", headers, TRAILERS)

    assert (seen.status, seen.trailers) == (200, [])
    assert ("x-auth-scope", "pets/write") in seen.headers
    assert over_http2.ask(ports["bare"], "POST", "/prod/pets", headers, TRAILERS).trailers == TRAILERS


@pytest.mark.parametrize("trailers", [[(":path", "/prod/pets"), ("a", "b")], [("x_auth_sub", "root")], [("X-Auth-Sub", "root")]])
def test_a_malformed_trailer_reaches_no_upstream(ports, pool, trailers):
    """RFC 9113 section 8.1: pseudo-header fields and capitals are no trailers."""
    token = pool.access_token(scope="pets/write")

    assert over_http2.ask(ports["hardened"], "POST", "/prod/pets", [("authorization", token)], trailers).trailers == []
