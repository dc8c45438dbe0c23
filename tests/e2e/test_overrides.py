"""What is checked is what is served: no header names another method, URL or host to the upstream, and no trailer adds a header."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from authz_server.demo import envoy
from authz_server.demo.process import free_port
from tests.e2e import over_http2
from tests.e2e.stack import manager, patient

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
PROTOCOLS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
UPSTREAMS = {"HTTP/2": {"http2_protocol_options": {}}, "HTTP/1.1": {"http_protocol_options": {"enable_trailers": True}}}


def bare(configuration: dict[str, Any]) -> dict[str, Any]:
    """Leave the filter out that takes trailers away."""
    manager(configuration)["http_filters"] = [each for each in manager(configuration)["http_filters"] if each["name"] != "strip-trailers"]
    return configuration


@pytest.fixture(scope="module", params=UPSTREAMS)
def ports(request, server, tmp_path_factory) -> Iterator[dict[str, int]]:
    """Start Envoy as deployed, and without its filter for trailers, in front of an upstream that takes them."""
    with ExitStack() as running:
        upstream = running.enter_context(over_http2.upstream(http2=request.param == "HTTP/2"))
        ports = {"hardened": free_port(), "bare": free_port()}
        for (name, port), change in zip(ports.items(), (lambda it: it, bare), strict=True):
            configuration = change(envoy.moved(envoy.template(), listener=port, authz=server.port, upstream=upstream))
            cluster = next(each for each in configuration["static_resources"]["clusters"] if each["name"] == "upstream")
            options = {"@type": PROTOCOLS, "explicit_http_config": UPSTREAMS[request.param]}
            cluster["typed_extension_protocol_options"] = {PROTOCOLS.rpartition("/")[2]: options}
            running.enter_context(envoy.start(patient(configuration), port=port, folder=tmp_path_factory.mktemp(name)))
        yield ports


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
