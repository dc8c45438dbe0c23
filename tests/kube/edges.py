"""What Istio's generator and Envoy Gateway make of their samples: EDGES=tests.kube.edges has the attacks of tests/e2e made on that.

Needs `istiofake` and `egctl` of build.sh in $BIN.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from authz_server.demo import envoy
from authz_server.demo.process import Process
from tests.e2e.edges import Edges, Site, Start
from tests.e2e.stack import LONG
from tests.kube import gateway, istio, istio_objects
from tests.kube.proof import first, without

HERE = "127.0.0.1"


def envoy_gateway(change: gateway.Change = lambda _: None) -> Start:
    """Start what Envoy Gateway makes of its samples with a change."""

    def start(site: Site, folder: Path) -> Process:
        objects = gateway.samples() + gateway.surroundings(site.listener, site.upstream)
        if site.protocol == "HTTP/2":
            (port,) = objects[-1]["spec"]["ports"]
            port["appProtocol"] = "kubernetes.io/h2c"
        make_patient(first(objects, "SecurityPolicy")["spec"]["extAuth"])
        change(objects)
        translated = gateway.translate(folder, objects)
        if not gateway.are_accepted(translated):
            raise RuntimeError("Envoy Gateway does not accept the samples")
        configuration = gateway.bootstrap(translated)
        gateway.spread(configuration, (HERE,), site.authz)
        return envoy.start(configuration, port=site.listener, folder=folder)

    return start


def make_patient(check: dict[str, Any]) -> None:
    """Let a check take as long as tests do: none is to fail because the machine stands still."""
    settings = check["grpc"]["backendSettings"]
    check["timeout"] = settings["timeout"]["tcp"]["connectTimeout"] = LONG
    settings["retry"]["perRetry"]["backOff"]["maxInterval"] = settings["healthCheck"]["active"]["timeout"] = LONG


def leave_trailers(objects: istio.Objects, _: dict[str, Any]) -> None:
    """Leave the filter out that takes trailers away."""
    first(objects, "EnvoyFilter")["spec"]["configPatches"].pop()


def istios(change: istio.Change = istio.nothing) -> Start:
    """Start what Istio makes of its samples with a change."""

    @contextmanager
    def start(site: Site, folder: Path) -> Iterator[Process]:
        objects, mesh = istio.samples()
        protocol = "http2" if site.protocol == "HTTP/2" else "http"
        objects += istio_objects.surroundings(site.upstream, [HERE], protocol=protocol, port=site.authz)
        objects += istio_objects.classic(site.listener, site.upstream)
        mesh["extensionProviders"][0]["envoyExtAuthzGrpc"]["timeout"] = LONG
        change(objects, mesh)
        with istio.generator(folder, objects, mesh), istio.proxy(folder, site.listener) as started:
            yield started

    return start


EDGES = Edges(
    attacked={"Istio": istios(), "Envoy Gateway": envoy_gateway()},
    leaving_trailers={"Istio": istios(leave_trailers), "Envoy Gateway": envoy_gateway(without("EnvoyPatchPolicy"))},
    protocols=["HTTP/2"],
)
