"""Put deploy/istio through Istio's own generator, start the real Envoy with what comes out, and ask it.

    python -m tests.kube.istio FOLDER [CASE...]

FOLDER is the lab's. Needs `istiofake` of build.sh in $BIN, and .venv-protos for waypoints. Some 5 s and 450 MiB a case; those with a server that hangs take 25 s.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from authz_server.demo.envoy import binary
from authz_server.demo.process import Process, free_port
from tests.kube import istio_objects
from tests.kube.istio_objects import GATEWAY_LABELS, HELM_LABELS, HOME, POD, PROXY, SECOND_POD, Objects
from tests.kube.proof import LITTLE, first, main, ports, refused_while_one_hangs, serve, start_all, status, tool, wait_until
from tests.kube.proof import without as without_object
from tests.kube.questions import STATUS, all_right

DEPLOY = Path("deploy/istio")
SAMPLES = ("service", "destination-rule", "envoy-filter", "authorization-policy")
BOOTSTRAP = "envoy.json"
LISTENERS = Path(__file__).with_name("listeners.py")

# The Envoy here has neither Istio's own filters nor certificates from an agent.
ENVIRONMENT = {"PILOT_ENABLE_METADATA_EXCHANGE": "false", "PILOT_ENABLE_ALPN_FILTER": "false"}
MESH = {"enableAutoMtls": False, "enablePrometheusMerge": False}
REF = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}

Change = Callable[[Objects, dict[str, Any]], object]
Look = Callable[[int, list[Process]], bool]


def nothing(_: Objects, __: dict[str, Any]) -> None:
    """Deploy the samples as they are."""


def address(port: int) -> dict[str, Any]:
    """Write an address of loopback."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def bootstrap(kind: str, labels: dict[str, str], xds: int) -> dict[str, Any]:
    """Configure an Envoy as Istio's agent does: who it is, and whom it asks for everything else."""
    http = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    http2 = {"@type": http, "explicit_http_config": {"http2_protocol_options": {}}}
    metadata = {"NAMESPACE": HOME, "CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "1.31.0", "LABELS": labels, "MESH_ID": "cluster.local"}
    if kind == "sidecar":
        metadata["INTERCEPTION_MODE"] = "NONE"
    streamed = {"ads": {}, "resource_api_version": "V3"}
    ads = {"api_type": "GRPC", "transport_api_version": "V3", "set_node_on_first_message_only": True}
    return {
        "node": {"id": f"{kind}~{PROXY}~gw-1.{HOME}~{HOME}.svc.cluster.local", "cluster": f"edge.{HOME}", "metadata": metadata},
        "dynamic_resources": {
            "ads_config": {**ads, "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]},
            "lds_config": streamed,
            "cds_config": streamed,
        },
        "static_resources": {
            "clusters": [
                {
                    "name": "xds",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
                    "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(xds)}}]}]},
                }
            ]
        },
    }


def samples() -> tuple[Objects, dict[str, Any]]:
    """Read the samples: objects, and the mesh's configuration."""
    mesh = yaml.safe_load((DEPLOY / "mesh-config.yaml").read_text())["meshConfig"] | MESH
    return [each for name in SAMPLES for each in yaml.safe_load_all((DEPLOY / f"{name}.yaml").read_text())], mesh


def generator(work: Path, objects: Objects, mesh: dict[str, Any], *, kind: str = "router", labels: dict[str, str] = HELM_LABELS) -> Process:
    """Start Istio's generator, and write the bootstrap of a proxy that asks it.

    Args:
        work: folder for the bootstrap and the log.
        objects: of the mesh.
        mesh: its configuration.
        kind: of the proxy, as Istio calls it.
        labels: of the proxy's pod.
    """
    xds = free_port()
    (work / "mesh.yaml").write_text(yaml.safe_dump({"meshConfig": mesh}))
    (work / "objects.yaml").write_text(yaml.safe_dump_all(objects))
    (work / BOOTSTRAP).write_text(json.dumps(bootstrap(kind, labels, xds)))
    command = [tool("istiofake"), f"127.0.0.1:{xds}", str(work / "mesh.yaml"), str(work / "objects.yaml")]
    started = Process(command, log=work / "istiofake.log", environment=ENVIRONMENT)
    return started.wait_until(lambda: re.search("^ready", started.log.read_text(), re.MULTILINE) is not None, 60)


@contextmanager
def proxy(work: Path, port: int) -> Iterator[Process]:
    """Start a proxy by its bootstrap, and wait until it serves.

    Raises:
        RuntimeError: when it rejects what the generator made.
    """
    command = [str(binary()), "-c", str(work / BOOTSTRAP), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"]
    with Process(command, log=work / "envoy.log") as started:
        wait_until("the listener", lambda: status(port, "/") != 0, 30)
        rejected = [line[:500] for line in started.log.read_text().splitlines() if "rejected" in line]
        if rejected:
            raise RuntimeError("\n".join(rejected))
        yield started


def run(
    folder: Path,
    look: Look | None,
    *,
    kind: str = "router",
    labels: dict[str, str] = HELM_LABELS,
    layout: Callable[[int, int], Objects] = istio_objects.classic,
    change: Change = nothing,
    pods: tuple[str, ...] = (POD,),
    serving: bool = True,
) -> bool:
    """Try one case.

    Args:
        folder: the lab's.
        look: is given Envoy's port and the servers; None has its listeners counted instead.
        kind: of the proxy, as Istio calls it.
        labels: of the proxy's pod.
        layout: what stands in front of the API, from the port of the listener and that of the API.
        change: made to the objects and to the mesh's configuration.
        pods: addresses of the server's.
        serving: whether servers listen there.
    """
    port, work = free_port(), folder / "istio"
    work.mkdir(exist_ok=True)
    upstream = ports(folder)["upstream"]
    objects, mesh = samples()
    objects += istio_objects.surroundings(upstream, list(pods)) + layout(port, upstream)
    change(objects, mesh)
    for log in work.glob("*.log"):
        log.unlink()
    with ExitStack() as stack:
        servers = start_all(stack, (serve(folder, work, each) for each in pods if serving))
        stack.enter_context(generator(work, objects, mesh, kind=kind, labels=labels))
        if look is None:
            return subprocess.run([".venv-protos/bin/python", str(LISTENERS), str(work / BOOTSTRAP)], check=False).returncode == 0
        stack.enter_context(proxy(work, port))
        return look(port, servers)


def asks(folder: Path, *, authority: str = "api.example.com", quiet: bool = False, **how: Any) -> bool:
    """Deploy, and ask everything."""
    return run(folder, lambda port, _: all_right(port, folder, authority=authority, decodes_slashes=True, quiet=quiet), **how)


def answers(folder: Path, wanted: int, path: str = "/prod/pets", headers: dict[str, str] | None = None, **how: Any) -> bool:
    """Deploy, and ask one thing without a token."""

    def look(port: int, _: list[Process]) -> bool:
        found = status(port, path, **(headers or {}))
        print("   ", found)
        return found == wanted

    return run(folder, look, **how)


def hang(folder: Path, change: Change = nothing) -> float:
    """Deploy with two pods of which one hangs, and tell which share of good requests is refused."""
    shares: list[float] = []

    def look(port: int, servers: list[Process]) -> bool:
        shares.append(refused_while_one_hangs(port, folder, servers[1]))
        return True

    run(folder, look, change=change, pods=(POD, SECOND_POD))
    return shares[0]


def without(kind: str) -> Change:
    """Leave out the sample of a kind."""
    return lambda objects, _: without_object(kind)(objects)


def labels_of_gateway_api(objects: Objects, _: dict[str, Any]) -> None:
    """Select the pods of a Gateway of the Gateway API: the policy by reference, the filter by label."""
    policy, cleaning = (first(objects, kind)["spec"] for kind in ("AuthorizationPolicy", "EnvoyFilter"))
    del policy["selector"]
    policy["targetRefs"] = [REF]
    cleaning["workloadSelector"] = {"labels": GATEWAY_LABELS}


def references_to_gateway_api(objects: Objects, mesh: dict[str, Any]) -> None:
    """Select both by reference."""
    labels_of_gateway_api(objects, mesh)
    cleaning = first(objects, "EnvoyFilter")["spec"]
    del cleaning["workloadSelector"]
    cleaning["targetRefs"] = [REF]


def cleaning_in(context: str, *, references: bool = False) -> Change:
    """Have the EnvoyFilter for another kind of proxy."""

    def change(objects: Objects, mesh: dict[str, Any]) -> None:
        if references:
            references_to_gateway_api(objects, mesh)
        for patch in first(objects, "EnvoyFilter")["spec"]["configPatches"]:
            patch["match"]["context"] = context

    return change


def provider(**settings: Any) -> Change:
    """Set something of the provider."""

    def change(_: Objects, mesh: dict[str, Any]) -> None:
        (each,) = mesh["extensionProviders"]
        each |= {name: value for name, value in settings.items() if name == "name"}
        each["envoyExtAuthzGrpc"] |= {name: value for name, value in settings.items() if name != "name"}

    return change


SIDECAR = {"kind": "sidecar", "change": cleaning_in("SIDECAR_INBOUND")}
WAYPOINT = {"kind": "waypoint", "layout": istio_objects.waypoint, "labels": GATEWAY_LABELS}
GATEWAY = {"layout": istio_objects.gateway_api, "labels": GATEWAY_LABELS}
OTHER = {"layout": istio_objects.other_release, "labels": {"istio": "ingressgateway"}}

CASES: dict[str, Callable[[Path], bool]] = {
    "gateway": asks,
    "gateway with a port in the host": lambda lab: asks(lab, quiet=True, authority="api.example.com:8443"),
    "Gateway API": lambda lab: asks(lab, quiet=True, change=labels_of_gateway_api, **GATEWAY),
    "Gateway API, all by reference": lambda lab: asks(lab, quiet=True, change=references_to_gateway_api, **GATEWAY),
    "sidecar": lambda lab: asks(lab, quiet=True, layout=istio_objects.sidecar, **SIDECAR),
    "waypoint: an EnvoyFilter for WAYPOINT is applied nowhere": lambda lab: (
        not run(lab, None, change=cleaning_in("WAYPOINT", references=True), **WAYPOINT)
    ),
    "waypoint, EnvoyFilter for SIDECAR_INBOUND": lambda lab: run(
        lab, None, change=cleaning_in("SIDECAR_INBOUND", references=True), **WAYPOINT
    ),
    "one of two pods hangs: it costs little": lambda lab: hang(lab) < LITTLE,
    "without the DestinationRule it costs more": lambda lab: hang(lab, without("DestinationRule")) > LITTLE,
    "without the policy everything passes": lambda lab: answers(lab, 200, change=without("AuthorizationPolicy")),
    "a selector that selects nothing: everything passes": lambda lab: answers(lab, 200, **OTHER),
    "without the EnvoyFilter underscores pass": lambda lab: answers(
        lab, 200, STATUS, {"x_auth_sub": "root"}, change=without("EnvoyFilter")
    ),
    "a provider that is missing: refused": lambda lab: answers(lab, 403, change=provider(name="other")),
    "a provider that cannot be used: refused": lambda lab: answers(lab, 403, change=provider(statusOnError="999")),
    "a misspelt field is ignored": lambda lab: answers(lab, 401, change=provider(failOpenn=True)),
    "no server: refused": lambda lab: answers(lab, 503, serving=False),
    "no server: public paths too": lambda lab: answers(lab, 503, STATUS, serving=False),
    "a Sidecar whose egress does not name authz/*: refused": lambda lab: answers(lab, 503, layout=istio_objects.narrow_sidecar, **SIDECAR),
}

if __name__ == "__main__":
    main(CASES)
