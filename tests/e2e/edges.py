"""The Envoys in front of which the attacks are made: deploy/envoy, also without its hardening, and what Istio and Envoy Gateway make of their samples."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from authz_server.demo import envoy
from authz_server.demo.process import Process
from tests.e2e.stack import manager, patient, plain, raw_headers

PROTOCOLS: Final = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
PASSING_TRAILERS: Final = {  # protocols of upstreams to which Envoy passes on the trailers of a request
    "HTTP/2": {"http2_protocol_options": {}},
    "HTTP/1.1 with trailers": {"http_protocol_options": {"enable_trailers": True}},
}
TRAILERS: Final = "strip-trailers"  # the filter that takes them away


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where an Envoy is to stand.

    Args:
        listener: its port.
        authz: port of the server that it asks.
        upstream: port of what stands behind it.
        protocol: of the upstream, HTTP/1.1 or a key of PASSING_TRAILERS.
    """

    listener: int
    authz: int
    upstream: int
    protocol: str = "HTTP/1.1"


Change = Callable[[dict[str, Any]], dict[str, Any]]
Start = Callable[[Site, Path], AbstractContextManager[Process]]


def as_it_is(configuration: dict[str, Any]) -> dict[str, Any]:
    """Change nothing."""
    return configuration


def leaving_trailers(configuration: dict[str, Any]) -> dict[str, Any]:
    """Leave the filter out that takes trailers away."""
    manager(configuration)["http_filters"] = [each for each in manager(configuration)["http_filters"] if each["name"] != TRAILERS]
    return configuration


def deployed(change: Change) -> Start:
    """Start deploy/envoy with a change."""

    def start(site: Site, folder: Path) -> Process:
        configuration = change(envoy.moved(envoy.template(), listener=site.listener, authz=site.authz, upstream=site.upstream))
        if site.protocol in PASSING_TRAILERS:
            (cluster,) = [each for each in configuration["static_resources"]["clusters"] if each["name"] == "upstream"]
            options = {"@type": PROTOCOLS, "explicit_http_config": PASSING_TRAILERS[site.protocol]}
            cluster["typed_extension_protocol_options"] = {PROTOCOLS.rpartition("/")[2]: options}
        return envoy.start(patient(configuration), port=site.listener, folder=folder)

    return start


@dataclass(frozen=True, kw_only=True)
class Edges:
    """Envoys by name.

    Args:
        attacked: those that meet every attack.
        leaving_trailers: of these, the ones that meet trailers, without the filter that takes them away.
        protocols: of the upstreams in front of which they do.
    """

    attacked: Mapping[str, Start]
    leaving_trailers: Mapping[str, Start]
    protocols: Sequence[str]


OWN: Final = Edges(
    attacked={"hardened": deployed(as_it_is), "plain": deployed(plain), "raw headers": deployed(raw_headers)},
    leaving_trailers={"hardened": deployed(leaving_trailers)},
    protocols=list(PASSING_TRAILERS),
)


def chosen() -> Edges:
    """Find the Envoys of this run: those of the module that EDGES names, whose tools not every machine has, or else our own."""
    return import_module(named).EDGES if (named := os.environ.get("EDGES")) else OWN
