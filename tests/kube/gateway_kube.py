"""Apply deploy/envoy-gateway to a real API server that a real Envoy Gateway follows, and ask the proxy that it configures.

    python -m tests.kube.gateway_kube FOLDER

FOLDER is the lab's. prove.sh runs it, in a network namespace of its own: addresses of 10.77.0.0/24 are put on the loopback interface, since an API server takes no
127.0.0.0/8 as an endpoint, and Envoy Gateway has fixed ports. Needs the API server of apiserver.sh (KUBECONFIG) with the objects of manifests.sh in it, `kubectl`
and `envoy-gateway` of build.sh in $BIN, and bubblewrap: Envoy Gateway reads its certificates in /certs, which only it gets to see.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import yaml

from authz_server.demo.envoy import binary
from authz_server.demo.process import Process, accepts
from tests.kube.gateway import API, CONTROLLER
from tests.kube.proof import Report, fetch, kubectl, load, serve, start_all, status, tool, wait_until
from tests.kube.questions import STATUS, all_right

HOME = "envoy-gateway-system"
PODS, UPSTREAM = ("10.77.0.1", "10.77.0.2"), "10.77.0.9"
LISTENER, UPSTREAM_PORT, ADMIN = 18888, 18081, 19990
SAMPLES = ("apply", "--server-side", "--force-conflicts", "-f", "deploy/envoy-gateway")
CONDITIONS = {  # as the endpoint controller writes them
    "ready": {"ready": True, "serving": True, "terminating": False},
    "not ready": {"ready": False, "serving": False, "terminating": False},
    "terminating": {"ready": False, "serving": True, "terminating": True},
}


def apply(*objects: dict[str, Any]) -> None:
    """Apply objects."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=yaml.safe_dump_all(objects))


def find(*arguments: str) -> dict[str, Any]:
    """Read an object or a list."""
    return json.loads(kubectl(*arguments, "-o", "json"))


def endpoints(service: str, namespace: str, port_name: str, port: int, states: Mapping[str, str]) -> dict[str, Any]:
    """Make what the endpoint controller would write, from the state of each address."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {"name": f"{service}-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": CONDITIONS[state]} for address, state in states.items()],
    }


def pods(*states: str) -> None:
    """Have the Service's pods in these states."""
    apply(endpoints("authz-server", "authz", "grpc", 9000, dict(zip(PODS, states, strict=False))))


def surroundings() -> list[dict[str, Any]]:
    """Make the Gateway `edge` that the samples expect, and an API behind it."""
    listener = {"name": "http", "protocol": "HTTP", "port": LISTENER}
    return [
        {"apiVersion": API, "kind": "GatewayClass", "metadata": {"name": "eg"}, "spec": {"controllerName": CONTROLLER}},
        {
            "apiVersion": API,
            "kind": "Gateway",
            "metadata": {"name": "edge", "namespace": "edge"},
            "spec": {"gatewayClassName": "eg", "listeners": [listener]},
        },
        {
            "apiVersion": API,
            "kind": "HTTPRoute",
            "metadata": {"name": "pets", "namespace": "edge"},
            "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "pets", "port": UPSTREAM_PORT}]}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "pets", "namespace": "edge"},
            "spec": {"selector": {"app": "pets"}, "ports": [{"name": "http", "port": UPSTREAM_PORT}]},
        },
        endpoints("pets", "edge", "http", UPSTREAM_PORT, {UPSTREAM: "ready"}),
    ]


def policy() -> str:
    """Read what Envoy Gateway says of the policy."""
    told = find("-n", "edge", "get", "securitypolicy", "authz-server").get("status", {})
    conditions = [each for ancestor in told.get("ancestors", []) for each in ancestor["conditions"]]
    return next((each["message"] for each in conditions if each["type"] == "Accepted"), "no status yet")


def secret(name: str, folder: Path) -> None:
    """Write the files of a secret."""
    folder.mkdir(exist_ok=True)
    for file, value in find("-n", HOME, "get", "secret", name)["data"].items():
        (folder / file).write_bytes(base64.b64decode(value))


def gateway(work: Path) -> Process:
    """Make certificates as the installation of Envoy Gateway does, and start it with a file system of its own."""
    program = str(Path(tool("envoy-gateway")).resolve())
    making = {**os.environ, "ENVOY_GATEWAY_NAMESPACE": HOME}
    subprocess.run([program, "certgen"], env=making, capture_output=True, check=False)  # fails last: there is no webhook to patch
    secret("envoy-gateway", work / "certs")
    configuration = work / "envoy-gateway.yaml"
    settings = {"type": "Kubernetes", "kubernetes": {"leaderElection": {"disable": True}}}
    kind = {"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyGateway"}
    wanted = {"gateway": {"controllerName": CONTROLLER}, "provider": settings, "extensionApis": {"enableEnvoyPatchPolicy": True}}
    configuration.write_text(yaml.safe_dump({**kind, **wanted}))
    seen = ["--tmpfs", "/tmp"]  # noqa: S108 - its own
    seen += [flag for path in ("/usr", "/etc", "/lib", "/lib64") if Path(path).exists() for flag in ("--ro-bind", path, path)]
    for path in {str(work), str(Path(program).parent), str(Path(os.environ["KUBECONFIG"]).resolve().parent)}:
        seen += ["--bind", path, path]
    alone = ["bwrap", *seen, "--dev", "/dev", "--proc", "/proc", "--bind", str(work / "certs"), "/certs", "--die-with-parent"]
    command = [*alone, "--setenv", "ENVOY_GATEWAY_NAMESPACE", HOME, program, "server", "--config-path", str(configuration)]
    return Process(command, log=work / "envoy-gateway.log")


def proxy(work: Path, deployment: dict[str, Any]) -> Process:
    """Start the proxy with the bootstrap out of the Deployment that Envoy Gateway made, moved to loopback."""
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    boot = yaml.safe_load(arguments[arguments.index("--config-yaml") + 1])
    files = work / "proxy"
    secret("envoy", files)
    boot["admin"]["address"]["socket_address"]["port_value"] = ADMIN
    cluster_name = arguments[arguments.index("--service-cluster") + 1]
    boot["node"] = {"id": f"{deployment['metadata']['name']}-0", "cluster": cluster_name, "locality": {"zone": "a"}}
    boot["static_resources"]["listeners"] = []  # of metrics
    (cluster,) = [each for each in boot["static_resources"]["clusters"] if each["name"] == "xds_cluster"]
    cluster["type"] = "STATIC"
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoint["endpoint"]["address"]["socket_address"]["address"] = "127.0.0.1"
    pair = {"certificate_chain": {"filename": str(files / "tls.crt")}, "private_key": {"filename": str(files / "tls.key")}}
    cluster["transport_socket"]["typed_config"]["common_tls_context"] = {
        "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [pair],
        "validation_context": {"trusted_ca": {"filename": str(files / "ca.crt")}},
    }
    (work / "envoy.yaml").write_text(yaml.safe_dump(boot))
    command = [str(binary()), "-c", str(work / "envoy.yaml"), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"]
    return Process(command, log=work / "envoy.log").wait_until(lambda: accepts(LISTENER), 60)


def both(wanted: tuple[int, int]) -> bool:
    """Wait until a guarded path and a public one are answered so."""
    with suppress(TimeoutError):
        wait_until("the answers", lambda: (status(LISTENER), status(LISTENER, STATUS)) == wanted, 30)
    return (status(LISTENER), status(LISTENER, STATUS)) == wanted


def pod_ends(report: Report, folder: Path, server: Process) -> None:
    """End a pod under load: its endpoint is terminating, and it gets SIGTERM."""
    with ThreadPoolExecutor(1) as thread:
        counts = thread.submit(load, LISTENER, folder, 15)
        time.sleep(2)
        pods("ready", "terminating")
        server.send(signal.SIGTERM)
        report.expect("a pod ends under load: no request fails", set(counts.result()), {"200"})


def endpoints_come_and_go(report: Report) -> None:
    """Have none that is ready, then none at all."""
    pods("not ready")
    report.expect("a pod that is not ready is asked when there is no other", both((401, 200)))
    pods()
    report.expect("no endpoint: refused, public paths too, with 500 and not statusOnError", both((500, 500)))
    pods("ready")
    report.expect("an endpoint again", both((401, 200)))


def route_has_a_policy(report: Report) -> None:
    """Give a route a policy of its own."""
    metadata = {"name": "own", "namespace": "edge"}
    target = {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "pets"}]}
    spec = {**target, "cors": {"allowOrigins": ["https://a.example.com"]}}
    own = {"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "SecurityPolicy", "metadata": metadata, "spec": spec}
    apply(own)
    report.expect("a policy of a route replaces the check, as the README warns", both((200, 200)))
    apply({**own, "spec": {**spec, "mergeType": "StrategicMerge"}})
    report.expect("unless it says mergeType: StrategicMerge", both((401, 200)))
    kubectl("-n", "edge", "delete", "securitypolicy", "own")


def no_grant(report: Report) -> None:
    """Take the ReferenceGrant away."""
    kubectl("-n", "authz", "delete", "referencegrant", "edge-asks-authz-server")
    report.expect("no ReferenceGrant: refused", both((500, 500)), detail=policy())
    kubectl(*SAMPLES)


def add_addresses(stack: ExitStack) -> None:
    """Give this network namespace the addresses of the pods."""
    for address in (*PODS, UPSTREAM):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True, capture_output=True)
        stack.callback(subprocess.run, ["ip", "address", "del", f"{address}/32", "dev", "lo"], check=False)


def main(folder: Path) -> int:
    """Run it all."""
    report, work = Report(), folder / "gateway-kube"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for name in ("edge", HOME):
        with suppress(RuntimeError):
            kubectl("create", "namespace", name)
    with ExitStack() as stack:
        add_addresses(stack)
        stack.enter_context(Process([sys.executable, "-m", "tests.kube.echo", UPSTREAM, str(UPSTREAM_PORT)], log=work / "echo.log"))
        servers = start_all(stack, (serve(folder, work, address, "--drain-seconds", "10") for address in PODS))
        apply(*surroundings())
        kubectl(*SAMPLES)
        pods("ready", "ready")
        stack.enter_context(gateway(work))
        wait_until("Envoy Gateway's word about the policy", lambda: policy() == "Policy has been accepted.", 90)
        report.expect("Envoy Gateway takes the headless Service", policy(), "Policy has been accepted.")
        listed = ("-n", HOME, "get", "deployment", "-l", "app.kubernetes.io/component=proxy")
        wait_until("a Deployment", lambda: bool(find(*listed)["items"]), 60)
        (deployment,) = find(*listed)["items"]
        rule = yaml.safe_load(Path("deploy/kubernetes/network-policy.yaml").read_text())["spec"]["ingress"][0]
        wanted = rule["from"][0]["podSelector"]["matchLabels"].items()
        report.expect("the network policy lets the proxy's pods in", wanted <= deployment["spec"]["template"]["metadata"]["labels"].items())
        stack.enter_context(proxy(work, deployment))
        wait_until("the check", lambda: status(LISTENER) == 401, 60)
        report.expect("every question", all_right(LISTENER, folder, quiet=True))
        lines = fetch(f"http://127.0.0.1:{ADMIN}/clusters").splitlines()
        asked = [pod for pod in PODS if any(f"extauth/0::{pod}:9000::rq_total::" in line and not line.endswith("::0") for line in lines)]
        report.expect("both pods are asked, though the Service has no address", asked, list(PODS))
        pod_ends(report, folder, servers[1])
        endpoints_come_and_go(report)
        route_has_a_policy(report)
        no_grant(report)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
