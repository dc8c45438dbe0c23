"""What stands around deploy/istio in each layout: an API, pods of the server, and a gateway, a sidecar or a waypoint in front."""

from typing import Any

Objects = list[dict[str, Any]]

POD = "127.0.0.93"  # stands in for the address of a pod, with the port of the sample
SECOND_POD = "127.0.0.94"
PROXY = "10.99.0.2"  # the proxy's own: an endpoint with that address would give its labels to the proxy
HOME = "istio-ingress"
GATEWAY_API = "gateway.networking.k8s.io/v1"
HELM_LABELS = {"istio": "ingress"}
GATEWAY_LABELS = {"gateway.networking.k8s.io/gateway-name": "edge"}


def service(
    name: str, namespace: str, port: int, address: str, *, labels: dict[str, str] | None = None, port_name: str = "http"
) -> dict[str, Any]:
    """Make a Service with a cluster IP, and what an API server would fill in: the generator reads objects as they are."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {
            "clusterIP": address,
            "selector": labels or {"app": name},
            "ports": [{"name": port_name, "port": port, "targetPort": port}],
        },
    }


def endpoints(service_name: str, namespace: str, addresses: list[str], port_name: str, port: int, pod: str = "") -> dict[str, Any]:
    """Make what the endpoint controller writes for a Service."""
    target = {"targetRef": {"kind": "Pod", "name": pod, "namespace": namespace}} if pod else {}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {"name": f"{service_name}-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": service_name}},
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}, **target} for address in addresses],
    }


def proxy_pod() -> dict[str, Any]:
    """Make the pod of a gateway that Istio runs for the Gateway API."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "edge-1", "namespace": HOME, "labels": GATEWAY_LABELS},
        "spec": {"containers": [{"name": "istio-proxy", "image": "none"}]},
        "status": {"podIP": PROXY, "phase": "Running"},
    }


def surroundings(upstream: int, pods: list[str], *, protocol: str = "http", port: int = 9000) -> Objects:
    """Make the API behind the gateway, and the pods of the server.

    Args:
        upstream: port of the API.
        pods: addresses of the server's.
        protocol: of the API, as Istio reads it from the name of a port.
        port: of the server.
    """
    return [
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (HOME, "authz", "default")),
        service("pets", "default", 80, "10.0.0.7", port_name=protocol),
        endpoints("pets", "default", ["127.0.0.1"], protocol, upstream),
        endpoints("authz-server-mesh", "authz", pods, "grpc", port),
    ]


def classic(port: int, _: int, selector: dict[str, str] = HELM_LABELS) -> Objects:
    """Make Istio's own Gateway and VirtualService, in front of the pods of Helm's release `istio-ingress`."""
    server = {"port": {"number": port, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    target = {"destination": {"host": "pets.default.svc.cluster.local", "port": {"number": 80}}}
    return [
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "edge", "namespace": HOME},
            "spec": {"selector": selector, "servers": [server]},
        },
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "pets", "namespace": "default"},
            "spec": {"hosts": ["*"], "gateways": [f"{HOME}/edge"], "http": [{"route": [target]}]},
        },
    ]


def other_release(port: int, upstream: int) -> Objects:
    """Make the same for pods of `istioctl install`, which the samples do not select."""
    return classic(port, upstream, {"istio": "ingressgateway"})


def gateway_api(port: int, _: int) -> Objects:
    """Make a Gateway of the Gateway API, whose pods carry a label with its name."""
    listener = {"name": "http", "port": port, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
    return [
        {
            "apiVersion": GATEWAY_API,
            "kind": "Gateway",
            "metadata": {"name": "edge", "namespace": HOME},
            "spec": {"gatewayClassName": "istio", "listeners": [listener]},
        },
        {
            "apiVersion": GATEWAY_API,
            "kind": "HTTPRoute",
            "metadata": {"name": "pets", "namespace": "default"},
            "spec": {"parentRefs": [{"name": "edge", "namespace": HOME}], "rules": [{"backendRefs": [{"name": "pets", "port": 80}]}]},
        },
        service("edge-istio", HOME, port, "10.0.0.8", labels=GATEWAY_LABELS),
        proxy_pod(),
        endpoints("edge-istio", HOME, [PROXY], "http", port, pod="edge-1"),
    ]


def sidecar(port: int, upstream: int, egress: str = "authz/*") -> Objects:
    """Make a workload whose sidecar checks; without iptables its listener has to bind a port of its own."""
    ingress = {"port": {"number": port, "protocol": "HTTP", "name": "http"}, "bind": "127.0.0.1", "captureMode": "NONE"}
    return [
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "Sidecar",
            "metadata": {"name": "pets", "namespace": HOME},
            "spec": {
                "workloadSelector": {"labels": HELM_LABELS},
                "ingress": [{**ingress, "defaultEndpoint": f"127.0.0.1:{upstream}"}],
                "egress": [{"hosts": [egress]}],
            },
        },
        {  # no agent gives this Envoy certificates, for which its listener would wait
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"name": "default", "namespace": HOME},
            "spec": {"mtls": {"mode": "DISABLE"}},
        },
    ]


def narrow_sidecar(port: int, upstream: int) -> Objects:
    """Make one that sees its own namespace alone, as many meshes have it."""
    return sidecar(port, upstream, egress="./*")


def waypoint(_: int, __: int) -> Objects:
    """Make a waypoint of ambient mode."""
    return [
        {
            "apiVersion": GATEWAY_API,
            "kind": "Gateway",
            "metadata": {"name": "edge", "namespace": HOME, "labels": {"istio.io/waypoint-for": "service"}},
            "spec": {"gatewayClassName": "istio-waypoint", "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}]},
        },
        service("edge", HOME, 15008, "10.0.0.8", labels=GATEWAY_LABELS, port_name="mesh"),
        proxy_pod(),
        {
            **(inner := service("inner", HOME, 80, "10.0.0.9")),
            "metadata": {**inner["metadata"], "labels": {"istio.io/use-waypoint": "edge"}},
        },
    ]
