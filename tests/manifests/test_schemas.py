"""Every object under deploy/ is strictly what its published schema says: `make test-manifests`."""

import copy

import pytest

from tests.deploy.samples import DEPLOY, documents, manifest
from tests.manifests.schemas import custom, kubernetes, mistakes

pytestmark = pytest.mark.manifests

FOLDERS = ("kubernetes", "kubernetes-mutual-tls", "kubernetes-autoscaling", "istio", "envoy-gateway")
NOT_FOR_AN_API_SERVER = {
    "kustomization.yaml": "kubectl's own",
    "kubernetes/authz.yaml": "the configuration of the server",
    "istio/mesh-config.yaml": "values of Helm's",
}
FILES = [
    file
    for folder in FOLDERS
    for file in sorted((DEPLOY / folder).glob("*.yaml"))
    if not {file.name, f"{folder}/{file.name}"} & NOT_FOR_AN_API_SERVER.keys()
]
OBJECTS = [pytest.param(each, id=f"{file.parent.name}/{file.name} {each['kind']}") for file in FILES for each in documents(file)]
PATCHES = [manifest("kubernetes-mutual-tls", "Deployment")]
OLDEST, NEWEST = "1.27", "1.37"  # of Kubernetes, which deploy/README.md names and which there is


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def builtin(request):
    """The schemas of Kubernetes."""
    return kubernetes(request.param)


@pytest.fixture(scope="module")
def definitions():
    """The schemas of custom resources."""
    return custom()


def is_custom(thing) -> bool:
    """Whether Kubernetes learns of a kind by a definition."""
    return thing["apiVersion"].partition("/")[0].endswith((".istio.io", ".envoyproxy.io", "gateway.networking.k8s.io"))


def test_every_folder_is_looked_at():
    """A folder with objects that is not listed would never be checked."""
    with_objects = {file.parent.name for file in DEPLOY.rglob("*.yaml") if any("apiVersion" in each for each in documents(file))}

    assert with_objects == set(FOLDERS)
    assert "Kubernetes 1.27 or newer" in (DEPLOY / "README.md").read_text()


@pytest.mark.parametrize("thing", [each for each in OBJECTS if not is_custom(*each.values)])
def test_kubernetes_takes_it(builtin, thing):
    """The oldest Kubernetes that the README names knows every field, and so does the newest."""
    assert mistakes(builtin, thing, patch=thing in PATCHES) == []


@pytest.mark.parametrize("thing", [each for each in OBJECTS if is_custom(*each.values)])
def test_the_definition_takes_it(definitions, thing):
    """So do the definitions of the Gateway API, of Envoy Gateway and of Istio."""
    assert mistakes(definitions, thing) == []


def edited(folder: str, kind: str, edit):
    """Break an object of a sample."""
    thing = copy.deepcopy(manifest(folder, kind))
    edit(thing)
    return thing


def probe(thing):
    """Find the readiness probe of a Deployment."""
    return thing["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]


BROKEN = {
    "a field of a probe that does not exist": (
        "kubernetes",
        "Deployment",
        lambda it: probe(it).update(failureTreshold=2),
        "failureTreshold",
    ),
    "a number in words": ("kubernetes", "Deployment", lambda it: probe(it).update(periodSeconds="two"), "'two' is not of type"),
    "a budget without pods": ("kubernetes", "PodDisruptionBudget", lambda it: it["spec"].update(selectors={}), "selectors"),
    "another word for failing open": (
        "envoy-gateway",
        "SecurityPolicy",
        lambda it: it["spec"]["extAuth"].update(failClosed=True),
        "failClosed",
    ),
    "a success for an outage": ("envoy-gateway", "SecurityPolicy", lambda it: it["spec"]["extAuth"].update(statusOnError=200), "200"),
    "a misspelt provider": ("istio", "AuthorizationPolicy", lambda it: it["spec"].update(providr={"name": "authz-server"}), "providr"),
    "metadata that does not exist": ("istio", "EnvoyFilter", lambda it: it["metadata"].update(namspace="istio-ingress"), "namspace"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_object_is_refused(definitions, case):
    """A check that lets everything pass would be worth nothing."""
    folder, kind, edit, named = BROKEN[case]
    thing = edited(folder, kind, edit)
    found = mistakes(definitions if is_custom(thing) else kubernetes(NEWEST), thing)

    assert len(found) == 1
    assert named in found[0]
