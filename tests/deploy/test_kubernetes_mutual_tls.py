"""deploy/kubernetes-mutual-tls: the patch fits the manifests that it changes, and the server."""

from authz_server.cli.serve import serve
from tests.deploy.samples import DEPLOY, documents, manifest

PATCH = manifest("kubernetes-mutual-tls", "Deployment")
BASE = manifest("kubernetes", "Deployment")
POD = PATCH["spec"]["template"]["spec"]
BASE_POD = BASE["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
(BASE_CONTAINER,) = BASE_POD["containers"]
(VOLUME,) = POD["volumes"]
(MOUNT,) = CONTAINER["volumeMounts"]


def test_it_patches_the_deployment():
    """By the names of deployment and container, on top of all other manifests."""
    kustomization = manifest("kubernetes-mutual-tls", "Kustomization")

    assert kustomization["resources"] == ["../kubernetes"]
    assert [patch["path"] for patch in kustomization["patches"]] == ["deployment.yaml"]
    assert kustomization["namespace"] == manifest("kubernetes", "Kustomization")["namespace"]
    assert (PATCH["metadata"]["name"], CONTAINER["name"]) == (BASE["metadata"]["name"], BASE_CONTAINER["name"])
    assert VOLUME["name"] not in {volume["name"] for volume in BASE_POD["volumes"]}


def test_its_variables_are_flags_of_mutual_tls():
    """All four, with files in the folder that is mounted."""
    variables = {each["name"]: each["value"] for each in CONTAINER["env"]}

    assert set(variables) == {option.envvar for option in serve.params if option.name.startswith("tls_")}
    assert {value.rpartition("/")[0] for name, value in variables.items() if name != "AUTHZ_TLS_ALLOW_SAN"} == {MOUNT["mountPath"]}
    assert MOUNT["name"] == VOLUME["name"]
    assert "subPath" not in MOUNT


def test_probes_ask_the_admin_port():
    """A gRPC probe would fail for ever; two kinds of probe at once are refused."""
    (admin,) = [each["containerPort"] for each in BASE_CONTAINER["ports"] if each["name"] == "metrics"]
    for probe, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")):
        assert CONTAINER[probe] == {"grpc": None, "httpGet": {"path": path, "port": admin}}
        assert "grpc" in BASE_CONTAINER[probe]


def test_the_key_is_not_for_everybody():
    """The server's group may read it, and no other."""
    assert VOLUME["secret"]["defaultMode"] == 0o440
    assert POD["securityContext"]["fsGroup"] == BASE_POD["securityContext"]["runAsGroup"]


def test_it_asks_for_the_envoy_of_the_documents():
    """The same SPIFFE id stands in the documents, and Envoy's sample names the server's."""
    (name,) = [each["value"] for each in CONTAINER["env"] if each["name"] == "AUTHZ_TLS_ALLOW_SAN"]
    (parts,) = documents(DEPLOY / "envoy/mutual-tls/cluster.yaml")
    context = parts["transport_socket"]["typed_config"]["common_tls_context"]["combined_validation_context"]
    (server,) = context["default_validation_context"]["match_typed_subject_alt_names"]

    assert name in (DEPLOY.parent / "docs/operations.md").read_text()
    assert server["matcher"]["exact"].startswith(name.partition("/ns/")[0])
