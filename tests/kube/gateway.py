"""Put deploy/envoy-gateway through Envoy Gateway's own translator, start the real Envoy with what comes out, and ask it.

    python -m tests.kube.gateway FOLDER [CASE...]

FOLDER is the lab's. Needs `egctl` of build.sh in $BIN. Some 5 s and 350 MiB a case; those with a server that hangs take 25 s.
The translator knows Services by their cluster IP alone, so the headless one gets a loopback address here; gateway_kube.py shows that the headless one works.
"""

import copy
import json
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from authz_server.demo import envoy
from authz_server.demo.process import Process, free_port
from tests.kube.proof import LITTLE, first, main, ports, refused_while_one_hangs, serve, start_all, status, tool, without
from tests.kube.questions import STATUS, all_right

DEPLOY = Path("deploy")
ADDRESSES = ("127.0.0.95", "127.0.0.96")
PORT = 9000  # of the sample
API = "gateway.networking.k8s.io/v1"
CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"

Objects = list[dict[str, Any]]
Change = Callable[[Objects], object]


def surroundings(listener: int, upstream: int) -> Objects:
    """Make the Gateway `edge` that the samples expect, and an API behind it."""
    return [
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("edge", "authz")),
        {"apiVersion": API, "kind": "GatewayClass", "metadata": {"name": "eg"}, "spec": {"controllerName": CONTROLLER}},
        {
            "apiVersion": API,
            "kind": "Gateway",
            "metadata": {"name": "edge", "namespace": "edge"},
            "spec": {"gatewayClassName": "eg", "listeners": [{"name": "http", "protocol": "HTTP", "port": listener}]},
        },
        {
            "apiVersion": API,
            "kind": "HTTPRoute",
            "metadata": {"name": "pets", "namespace": "edge"},
            "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "pets", "port": upstream}]}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "pets", "namespace": "edge"},
            "spec": {"clusterIP": "127.0.0.1", "selector": {"app": "pets"}, "ports": [{"name": "http", "port": upstream}]},
        },
    ]


def samples() -> Objects:
    """Read the samples, and the Service that they name."""
    files = [*sorted((DEPLOY / "envoy-gateway").glob("*.yaml")), DEPLOY / "kubernetes/service.yaml"]
    found = [each for file in files for each in yaml.safe_load_all(file.read_text()) if each]
    service = first(found, "Service")
    service["metadata"]["namespace"] = "authz"
    service["spec"]["clusterIP"] = ADDRESSES[0]
    return found


def translate(work: Path, objects: Objects) -> dict[str, Any]:
    """Have Envoy Gateway's translator write the status of each object, and Envoy's configuration."""
    file = work / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    command = [tool("egctl"), "x", "translate", "--from", "gateway-api", "--to", "gateway-api,xds", "--type", "all", "-o", "json"]
    run = subprocess.run([*command, "-f", str(file), "-n", "default"], capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(run.stderr[-800:])
    return json.loads(run.stdout)


def are_accepted(translated: dict[str, Any]) -> bool:
    """Read the status of the policies: the exit status of the translator says nothing about them."""
    conditions = [
        (policy["metadata"]["name"], condition)
        for kind in ("clientTrafficPolicies", "securityPolicies", "envoyPatchPolicies")
        for policy in translated.get(kind, [])
        for ancestor in policy["status"]["ancestors"]
        for condition in ancestor["conditions"]
    ]
    for name, condition in conditions:
        print("   ", name, condition["type"], condition["status"], condition["message"])
    return all(condition["status"] == "True" for _, condition in conditions)


def bootstrap(translated: dict[str, Any]) -> dict[str, Any]:
    """Make one static configuration of what a proxy is given piece by piece."""
    (xds,) = translated["xds"].values()
    parts = {each["@type"].rpartition(".")[2]: each for each in xds["configs"]}
    routes = {each["routeConfig"]["name"]: each["routeConfig"] for each in parts["RoutesConfigDump"]["dynamicRouteConfigs"]}
    endpoints = parts.get("EndpointsConfigDump", {}).get("dynamicEndpointConfigs", [])
    hosts = {each["endpointConfig"]["clusterName"]: each["endpointConfig"] for each in endpoints}
    clusters = [static_cluster(each["cluster"], hosts) for each in parts["ClustersConfigDump"]["dynamicActiveClusters"]]
    listeners = [each["activeState"]["listener"] for each in parts["ListenersConfigDump"]["dynamicListeners"]]
    served = [static_listener(each, routes) for each in listeners if "proxy-ready" not in each["name"]]
    return {"node": {"id": "edge", "cluster": "edge"}, "staticResources": {"listeners": served, "clusters": clusters}}


def untyped(value: dict[str, Any]) -> dict[str, Any]:
    """Take the type away that an xDS resource carries."""
    return {name: below for name, below in value.items() if name != "@type"}


def static_cluster(dynamic: dict[str, Any], hosts: dict[str, Any]) -> dict[str, Any]:
    """Put its endpoints into a cluster."""
    cluster = copy.deepcopy(untyped(dynamic))
    if cluster["type"] == "EDS":
        named = cluster.pop("edsClusterConfig").get("serviceName", cluster["name"])
        cluster |= {"type": "STATIC", "loadAssignment": {**copy.deepcopy(untyped(hosts[named])), "clusterName": cluster["name"]}}
    return cluster


def static_listener(dynamic: dict[str, Any], routes: dict[str, Any]) -> dict[str, Any]:
    """Put its routes into a listener."""
    listener = copy.deepcopy(untyped(dynamic))
    default = [listener["defaultFilterChain"]] if "defaultFilterChain" in listener else []
    for chain in [*listener.get("filterChains", []), *default]:
        for each in chain["filters"]:
            if "rds" in each.get("typedConfig", {}):
                named = each["typedConfig"].pop("rds")["routeConfigName"]
                each["typedConfig"]["routeConfig"] = untyped(routes[named])
    return listener


def spread(configuration: dict[str, Any], addresses: tuple[str, ...], port: int = PORT) -> None:
    """Give the cluster of the checks an endpoint for each address."""
    for cluster in configuration["staticResources"]["clusters"]:
        if cluster["name"].startswith("securitypolicy/"):
            (locality,) = cluster["loadAssignment"]["endpoints"]
            (one,) = locality["lbEndpoints"]
            locality["lbEndpoints"] = [copy.deepcopy(one) for _ in addresses]
            for each, address in zip(locality["lbEndpoints"], addresses, strict=True):
                each["endpoint"]["address"]["socketAddress"] = {"address": address, "portValue": port}


def run(
    folder: Path,
    look: Callable[[int, list[Process]], bool],
    *,
    change: Change = lambda _: None,
    servers: int = 1,
    accepted: bool = True,
) -> bool:
    """Try one case.

    Args:
        folder: the lab's.
        look: is given Envoy's port and the servers.
        change: made to the objects.
        servers: how many run.
        accepted: whether the policies should be.
    """
    port, work = free_port(), folder / "gateway"
    work.mkdir(exist_ok=True)
    objects = samples() + surroundings(port, ports(folder)["upstream"])
    change(objects)
    translated = translate(work, objects)
    if are_accepted(translated) != accepted:
        return False
    configuration = bootstrap(translated)
    spread(configuration, ADDRESSES[: max(servers, 1)])
    with ExitStack() as stack:
        started = start_all(stack, (serve(folder, work, address) for address in ADDRESSES[:servers]))
        stack.enter_context(envoy.start(configuration, port=port, folder=work))
        return look(port, started)


def asks(folder: Path, **options: Any) -> bool:
    """Deploy the samples, and ask everything."""
    return run(folder, lambda port, _: all_right(port, folder, **options))


def answers(folder: Path, wanted: tuple[int, int], change: Change = lambda _: None, *, accepted: bool = True) -> bool:
    """Deploy without a server, and ask for a guarded path and a public one."""

    def look(port: int, _: list[Process]) -> bool:
        found = status(port), status(port, STATUS)
        print("   ", found)
        return found == wanted

    return run(folder, look, change=change, servers=0, accepted=accepted)


def hang(folder: Path, change: Change = lambda _: None) -> float:
    """Deploy with two servers of which one hangs, and tell which share of good requests is refused."""
    shares: list[float] = []

    def look(port: int, servers: list[Process]) -> bool:
        shares.append(refused_while_one_hangs(port, folder, servers[1]))
        return True

    run(folder, look, change=change, servers=2)
    return shares[0]


def does_not_look_at_health(objects: Objects) -> None:
    """Take out what steps around a server that hangs."""
    settings = first(objects, "SecurityPolicy")["spec"]["extAuth"]["grpc"]["backendSettings"]
    del settings["healthCheck"]
    settings["retry"]["retryOn"]["triggers"].remove("reset")


CASES: dict[str, Callable[[Path], bool]] = {
    "samples": asks,
    "samples with a port in the host": lambda lab: asks(lab, quiet=True, authority="api.example.com:8443"),
    "no server: refused": lambda lab: answers(lab, (503, 503)),
    "no ReferenceGrant: refused": lambda lab: answers(lab, (500, 500), without("ReferenceGrant"), accepted=False),
    "no SecurityPolicy: everything passes": lambda lab: answers(lab, (200, 200), without("SecurityPolicy")),
    "one of two servers hangs: it costs little": lambda lab: hang(lab) < LITTLE,
    "without health checks and reset it costs more": lambda lab: hang(lab, does_not_look_at_health) > LITTLE,
}

if __name__ == "__main__":
    main(CASES)
