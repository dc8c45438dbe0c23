"""deploy/kubernetes: the manifests agree with each other and with the server."""

from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from authz_server.cli import main
from authz_server.cli.serve import serve
from authz_server.envoy import stubs
from tests.deploy.samples import DEPLOY, KUBERNETES, documents, manifest, members

MARGIN_SECONDS = 5

DEPLOYMENT = manifest("kubernetes", "Deployment")["spec"]
SERVICE = manifest("kubernetes", "Service")["spec"]
BUDGET = manifest("kubernetes", "PodDisruptionBudget")["spec"]
NETWORK = manifest("kubernetes", "NetworkPolicy")["spec"]
KUSTOMIZATION = manifest("kubernetes", "Kustomization")
POD = DEPLOYMENT["template"]["spec"]
LABELS = DEPLOYMENT["template"]["metadata"]["labels"]
(CONTAINER,) = POD["containers"]
ENVIRONMENT = {each["name"]: each["value"] for each in CONTAINER["env"]}
PORTS = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}


def ingress(port: int) -> list[dict[str, Any]]:
    """List who may reach a port."""
    return [peer for rule in NETWORK["ingress"] for peer in rule["from"] if port in [each["port"] for each in rule["ports"]]]


def test_the_kustomization_names_every_manifest():
    """A file that is not listed would never be applied."""
    manifests = {file.name for file in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml", "authz.yaml"}

    assert set(KUSTOMIZATION["resources"]) == manifests


@pytest.mark.parametrize(
    "selector",
    [
        DEPLOYMENT["selector"]["matchLabels"],
        SERVICE["selector"],
        BUDGET["selector"]["matchLabels"],
        NETWORK["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in POD["topologySpreadConstraints"]),
    ],
)
def test_selectors_select_the_pods(selector):
    """Every selector is part of the pods' labels."""
    assert selector
    assert selector.items() <= LABELS.items()


def test_the_service_is_headless():
    """A plain Envoy sees every pod, not one address for all."""
    assert SERVICE["clusterIP"] == "None"


def test_ports_agree():
    """The server listens where the container, the Service, the probes and the NetworkPolicy say."""
    (port,) = SERVICE["ports"]

    assert ENVIRONMENT["AUTHZ_LISTEN"] == f"*:{PORTS['grpc']}"
    assert ENVIRONMENT["AUTHZ_ADMIN"] == f"*:{PORTS['metrics']}"
    assert (port["port"], port["targetPort"], port["appProtocol"]) == (PORTS["grpc"], "grpc", "grpc")
    assert {CONTAINER[probe]["grpc"]["port"] for probe in ("readinessProbe", "livenessProbe")} == {PORTS["grpc"]}
    assert ingress(PORTS["grpc"])
    assert ingress(PORTS["metrics"])


def test_probes_ask_for_the_right_service():
    """Readiness follows the keys and the drain; liveness is about the process alone."""
    assert CONTAINER["readinessProbe"]["grpc"]["service"] == stubs.SERVICE
    assert CONTAINER["livenessProbe"]["grpc"]["service"] == "liveness"


def test_only_labelled_proxies_may_ask():
    """The server believes what a check tells, so both the namespace and the pod of the asker must be named."""
    for peer in ingress(PORTS["grpc"]):
        assert peer["namespaceSelector"]["matchLabels"]
        assert peer["podSelector"]["matchLabels"]


def test_egress_is_dns_and_https():
    """The server looks up names and fetches keys, and never speaks to the cluster or to the cloud's metadata service."""
    dns, https = NETWORK["egress"]

    assert NETWORK["policyTypes"] == ["Ingress", "Egress"]
    assert {(each["protocol"], each["port"]) for each in dns["ports"]} == {("UDP", 53), ("TCP", 53)}
    assert https["ports"] == [{"protocol": "TCP", "port": 443}]
    blocks = {each["ipBlock"]["cidr"]: set(each["ipBlock"]["except"]) for each in https["to"]}
    assert blocks.keys() == {"0.0.0.0/0", "::/0"}
    assert {"10.0.0.0/8", "169.254.0.0/16"} <= blocks["0.0.0.0/0"]
    assert blocks["::/0"] == {"fc00::/7", "fe80::/10"}  # private addresses, among them the metadata service's, and link-local ones


def test_pods_run_under_an_account_of_their_own():
    """Its name is in the SPIFFE id that Envoy's sample expects of the server, and it is given no token."""
    account = manifest("kubernetes", "ServiceAccount")
    (parts,) = documents(DEPLOY / "envoy/mutual-tls/cluster.yaml")
    expected = [value for path, value in members(parts) if path[-1] == "exact"]

    assert POD["serviceAccountName"] == account["metadata"]["name"]
    assert expected == [f"spiffe://example.com/ns/{KUSTOMIZATION['namespace']}/sa/{account['metadata']['name']}"]
    assert account["automountServiceAccountToken"] is False


def test_a_pod_that_is_not_ready_does_not_keep_a_node():
    """In an outage of Cognito none may be ready, and nodes are drained all the same."""
    assert BUDGET["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_an_autoscaler_is_not_set_back_by_an_apply():
    """The component has the autoscaler of this Deployment, and takes the number of pods out of it."""
    component, autoscaler = manifest("kubernetes-autoscaling", "Component"), manifest("kubernetes-autoscaling", "HorizontalPodAutoscaler")
    (patch,) = component["patches"]
    target = {"kind": "Deployment", "name": manifest("kubernetes", "Deployment")["metadata"]["name"]}
    (metric,) = autoscaler["spec"]["metrics"]

    assert component["namespace"] == KUSTOMIZATION["namespace"]
    assert patch["target"] == target
    assert yaml.safe_load(patch["patch"]) == [{"op": "remove", "path": "/spec/replicas"}]
    assert autoscaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", **target}
    assert autoscaler["spec"]["minReplicas"] == DEPLOYMENT["replicas"]
    assert metric["resource"]["target"] == {"type": "AverageValue", "averageValue": "600m"}
    assert "components: [../kubernetes-autoscaling]" in (KUBERNETES / "kustomization.yaml").read_text()


def test_a_pod_is_not_killed_while_it_drains():
    """Kubernetes waits for the drain, the grace and a margin."""
    drain, grace = float(ENVIRONMENT["AUTHZ_DRAIN_SECONDS"]), float(ENVIRONMENT["AUTHZ_GRACE_SECONDS"])

    assert POD["terminationGracePeriodSeconds"] >= drain + grace + MARGIN_SECONDS


def test_readiness_is_lost_before_calls_are_refused():
    """The drain is longer than Kubernetes needs to notice NOT_SERVING."""
    probe = CONTAINER["readinessProbe"]

    assert probe["failureThreshold"] * (probe["periodSeconds"] + probe["timeoutSeconds"]) < float(ENVIRONMENT["AUTHZ_DRAIN_SECONDS"])


def test_every_variable_is_an_option():
    """A misspelt variable would be ignored in silence."""
    known = {option.envvar for option in serve.params}

    assert known >= set(ENVIRONMENT)


def test_kubernetes_adds_no_variables_of_its_own():
    """A Service called `authz` would else put AUTHZ_PORT and others beside ours, which nothing reads."""
    assert POD["enableServiceLinks"] is False


def test_the_pod_is_restricted():
    """The pod meets the `restricted` Pod Security Standard, which its namespace enforces, and writes to no disk."""
    pod, container = POD["securityContext"], CONTAINER["securityContext"]
    namespace = manifest("kubernetes", "Namespace")

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert namespace["metadata"]["name"] == KUSTOMIZATION["namespace"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] > 0
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert POD["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & POD.keys()


def test_resources_are_bounded():
    """Requests and limits are set, and one process is given no second CPU."""
    assert CONTAINER["resources"]["requests"].keys() == CONTAINER["resources"]["limits"].keys() == {"cpu", "memory"}
    assert CONTAINER["resources"]["limits"]["cpu"] == "1"


def test_an_edited_configuration_reaches_the_server():
    """The ConfigMap keeps its name, and is mounted as a folder: a subPath never changes."""
    (generator,) = KUSTOMIZATION["configMapGenerator"]
    mount, _ = CONTAINER["volumeMounts"]
    volume, _ = POD["volumes"]

    assert generator["options"]["disableNameSuffixHash"] is True
    assert volume["configMap"]["name"] == generator["name"]
    assert volume["name"] == mount["name"]
    assert mount.keys() == {"name", "mountPath", "readOnly"}
    assert [f"{mount['mountPath']}/{file}" for file in generator["files"]] == [ENVIRONMENT["AUTHZ_CONFIG"]]


def test_keys_outlive_the_container():
    """The state directory is a folder of the server's own in a volume of the pod, in memory, the one place that the server may write to."""
    _, mount = CONTAINER["volumeMounts"]
    _, volume = POD["volumes"]

    assert ENVIRONMENT["AUTHZ_STATE_DIR"] == f"{mount['mountPath']}/keys"  # everybody may write to the volume itself
    assert ENVIRONMENT["AUTHZ_STATE_DIR_PARENTS"] == "trust"
    assert len(POD["containers"]) == 1, "another container could mount the volume"
    assert mount == {"name": "state", "mountPath": "/var/lib/authz-server"}
    assert volume == {"name": "state", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}


def test_the_image_is_a_version():
    """Kustomize replaces the image of the container, by a tag that says which."""
    (image,) = KUSTOMIZATION["images"]
    name, _, tag = CONTAINER["image"].partition(":")

    assert name == image["name"]
    assert tag == image["newTag"]
    assert tag != "latest"


def test_the_sample_configuration_is_good():
    """`authz-server validate` finds no mistake in the sample."""
    file = KUBERNETES / "authz.yaml"

    run = CliRunner().invoke(main, ["validate", "--config", str(file)])

    assert run.exit_code == 0, run.output
    assert documents(file)[0]["version"] == 1
