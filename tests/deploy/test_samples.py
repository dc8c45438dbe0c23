"""Every sample in deploy/ fails closed."""

import re

import pytest

from authz_server.demo import envoy
from authz_server.demo.process import free_port
from tests.deploy.samples import DEPLOY, ENVOY, documents, manifest, members
from tests.e2e.stack import Edge, plain

YAML = sorted(DEPLOY.rglob("*.yaml"))
OPENERS = (
    "failure_mode_allow",
    "failureModeAllow",
    "failOpen",
    "failure_mode_allow_header_add",
    "filter_enabled",
    "shadow_mode",
)
FORGED = (
    "x-auth-sub",
    "X-Auth-Other",
    "x.auth~sub",
    "x-envoy-auth-failure-mode-allowed",
    "x-envoy-auth-partial-body",
    "x-original-url",
    "x-other",
)
FAIL_OPEN = ("failure_mode_allow", "failOpen")


def extensions() -> list[dict]:
    """List every place that says how checks are made."""
    found = []
    for file in YAML:
        for document in documents(file):
            found += [value for path, value in members(document) if path[-1] == "extAuth"]
            found += [
                entry["envoyExtAuthzGrpc"] for path, value in members(document) if path[-1] == "extensionProviders" for entry in value
            ]
    return found


@pytest.mark.parametrize("file", YAML, ids=lambda file: str(file.relative_to(DEPLOY)))
def test_no_sample_lets_requests_through_unchecked(file):
    """Nothing that opens the door during an outage is switched on anywhere."""
    opened = [path for document in documents(file) for path, value in members(document) if path[-1] in OPENERS and value is not False]

    assert opened == []


MISSTEPS = {
    "http_service": "CVE-2026-50572: only checks over HTTP were used after they had been freed",
    "connect_matcher": "CVE-2026-73547: a CONNECT that is checked ended Envoy",
    "typed_per_filter_config": "CVE-2026-47205: a service of its own for a route was used after it had been freed",
}


@pytest.mark.parametrize("name", MISSTEPS)
def test_no_sample_uses_what_advisories_are_about(name):
    """Checks go over gRPC, to one service for all routes, and CONNECT is not matched."""
    assert [str(file) for file in YAML for document in documents(file) for path, _ in members(document) if path[-1] == name] == []


def test_samples_ask_for_an_envoy_without_known_holes():
    """CVE-2026-73511, 73551 and 73553 were closed in these versions, and both places that one reads say so."""
    for file in (DEPLOY / "envoy/envoy.yaml", DEPLOY / "README.md"):
        assert "Envoy 1.38.4, 1.39.1, 1.40.0 or newer" in file.read_text()


def test_samples_say_so():
    """Fail closed is written down where the check is configured, not left to a default."""
    written = {file.parent.name for file in YAML for document in documents(file) for path, _ in members(document) if path[-1] in FAIL_OPEN}

    assert written == {"envoy", "envoy-gateway", "istio"}


@pytest.mark.parametrize("extension", extensions(), ids=["envoy-gateway", "istio"])
def test_gateways_have_a_timeout_and_an_honest_status(extension):
    """Without these, a check may take minutes and an outage looks like a denial."""
    assert extension["failOpen"] is False
    assert extension["timeout"] in {"1s", "0.5s"}
    assert int(extension["statusOnError"]) == 503


def test_envoy_gateway_sends_only_what_is_read():
    """Cookies and other secrets do not leave Envoy."""
    assert manifest("envoy-gateway", "SecurityPolicy")["spec"]["extAuth"]["headersToExtAuth"] == [
        "authorization",
        "x-request-id",
        "traceparent",
    ]


def test_envoy_gateway_does_not_cut_a_try_short():
    """Envoy ends each try after the longest back-off, so that has to be half of the timeout."""
    check = manifest("envoy-gateway", "SecurityPolicy")["spec"]["extAuth"]

    assert check["timeout"] == "1s"
    assert check["grpc"]["backendSettings"]["retry"]["perRetry"]["backOff"]["maxInterval"] == "500ms"


def test_envoy_gateway_steps_around_a_server_that_hangs():
    """As Envoy's own sample does: it tries another server after a reset, asks each how it is, and ejects one that fails."""
    check = manifest("envoy-gateway", "SecurityPolicy")["spec"]["extAuth"]["grpc"]["backendSettings"]
    (cluster, _) = documents(ENVOY)[0]["static_resources"]["clusters"]
    (health,) = cluster["health_checks"]
    active, passive = check["healthCheck"]["active"], check["healthCheck"]["passive"]

    assert check["retry"]["retryOn"]["triggers"] == ["connect-failure", "refused-stream", "reset", "unavailable"]
    assert check["timeout"]["tcp"]["connectTimeout"] == "250ms"
    assert active["grpc"] == {"service": health["grpc_health_check"]["service_name"]}
    assert (active["interval"], active["unhealthyThreshold"]) == (health["interval"], health["unhealthy_threshold"])
    assert passive["consecutiveLocalOriginFailures"] == cluster["outlier_detection"]["consecutive_local_origin_failure"]
    assert passive["maxEjectionPercent"] == cluster["outlier_detection"]["max_ejection_percent"]
    assert check["healthCheck"]["panicThreshold"] == cluster["common_lb_config"]["healthy_panic_threshold"]["value"]


def test_istio_checks_everything():
    """No list of exempted paths stands beside authz.yaml."""
    policy = manifest("istio", "AuthorizationPolicy")

    assert policy["spec"]["action"] == "CUSTOM"
    assert policy["spec"]["rules"] == [{}]


def test_istio_cleans_headers_where_it_checks():
    """The check and the cleaning of what clients send are for the same pods."""
    policy, patch = manifest("istio", "AuthorizationPolicy"), manifest("istio", "EnvoyFilter")

    assert patch["metadata"]["namespace"] == policy["metadata"]["namespace"]
    assert patch["spec"]["workloadSelector"]["labels"] == policy["spec"]["selector"]["matchLabels"]
    assert (DEPLOY / "istio/envoy-filter.yaml").read_text().count("# CHANGE") == 4
    assert "envoy-filter.yaml" in (DEPLOY / "README.md").read_text()


@pytest.mark.e2e
def test_istios_patch_makes_envoy_clean_headers(tmp_path):
    """Merged into the connection manager of an Envoy without hardening, as Istio merges it: underscores are refused, identity headers gone."""
    (patch, _) = manifest("istio", "EnvoyFilter")["spec"]["configPatches"]
    configuration, port = plain(envoy.template()), free_port()
    (each,) = configuration["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
    manager = each["typed_config"]
    seen = "|".join(f"%REQ({name})%" for name in FORGED)
    manager["route_config"]["virtual_hosts"][0]["routes"] = [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
    manager["route_config"]["response_headers_to_add"] = [{"header": {"key": "seen", "value": seen}}]
    manager["http_filters"] = [entry for entry in manager["http_filters"] if not entry["name"].endswith("ext_authz")]
    manager |= patch["patch"]["value"]["typed_config"]
    with envoy.start(envoy.moved(configuration, listener=port), port=port, folder=tmp_path):
        edge = Edge(port=port, variant="")
        answer = edge.send("GET", "/", [(name, "root") for name in FORGED])

        assert edge.send("GET", "/", [("x_auth_sub", "root")]).status == 400
        assert answer.status == 200
        assert answer.headers["seen"].split("|") == ["", "", "", "", "", "", "root"]


def cleaned() -> dict[str, list[tuple[str, str]]]:
    """List what each sample removes from what clients send, as kinds and texts in their order."""
    (envoys,) = documents(ENVOY)[0]["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
    (patch, _) = manifest("istio", "EnvoyFilter")["spec"]["configPatches"]
    managers = {"envoy": envoys["typed_config"], "istio": patch["patch"]["value"]["typed_config"]}
    found = {}
    for name, manager in managers.items():
        (extension,) = manager["early_header_mutation_extensions"]
        mutations = extension["typed_config"]["mutations"]
        found[name] = [
            written(each["remove_on_match"]["key_matcher"]) if "remove_on_match" in each else ("Exact", each["remove"])
            for each in mutations
        ]
    policy = manifest("envoy-gateway", "ClientTrafficPolicy")["spec"]["headers"]["earlyRequestHeaders"]
    return found | {"envoy-gateway": [(each["type"], each["value"]) for each in policy["removeOnMatch"]]}


def written(matcher: dict) -> tuple[str, str]:
    """Write a matcher of Envoy as Envoy Gateway does."""
    return ("Prefix", matcher["prefix"]) if "prefix" in matcher else ("RegularExpression", matcher["safe_regex"]["regex"])


def test_every_sample_removes_the_same_headers():
    """What one sample takes off the others take off, too."""
    lists = cleaned()

    assert len(lists["envoy"]) > 5
    assert lists["istio"] == lists["envoy-gateway"] == lists["envoy"]


def test_every_sample_drops_trailers():
    """The filter that takes trailers away is the same one everywhere, and stands before all others."""
    (_, patch) = manifest("istio", "EnvoyFilter")["spec"]["configPatches"]
    (addition,) = manifest("envoy-gateway", "EnvoyPatchPolicy")["spec"]["jsonPatches"]
    filters = documents(ENVOY)[0]["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]

    assert (patch["patch"]["operation"], addition["operation"]["path"]) == ("INSERT_FIRST", "/0")
    assert patch["patch"]["value"] == addition["operation"]["value"] == filters[0]


def test_istio_says_which_pods_are_checked():
    """A policy that selects nothing checks nothing: namespace and label are the reader's to change, and how to see that they fit is written down."""
    file = DEPLOY / "istio/authorization-policy.yaml"
    policy = manifest("istio", "AuthorizationPolicy")
    ((name, value),) = policy["spec"]["selector"]["matchLabels"].items()
    places = [line for line in file.read_text().splitlines() if line.lstrip().startswith(("namespace:", "matchLabels:"))]

    assert (policy["metadata"]["namespace"], name, value) == ("istio-ingress", "istio", "ingress")  # of Helm's release `istio-ingress`
    assert len(places) == 2
    assert all("# CHANGE" in line for line in places)
    for text in (file.read_text(), (DEPLOY / "README.md").read_text()):
        assert f"kubectl get pods -n {policy['metadata']['namespace']} -l {name}={value}" in text
        assert "curl -i https://api.example.com/prod/pets" in text


def test_istio_keeps_its_other_values():
    """An upgrade of istiod with our values alone would take back what else was set."""
    for text in ((DEPLOY / "istio/mesh-config.yaml").read_text(), (DEPLOY / "README.md").read_text()):
        (command,) = re.findall("helm upgrade istiod .*", text)
        assert " --reuse-values " in command


def test_istio_names_agree():
    """The policy names the provider, and the provider names the Service and its port."""
    (provider,) = documents(DEPLOY / "istio/mesh-config.yaml")[0]["meshConfig"]["extensionProviders"]
    service = manifest("istio", "Service")
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local"

    assert manifest("istio", "AuthorizationPolicy")["spec"]["provider"]["name"] == provider["name"]
    assert provider["envoyExtAuthzGrpc"]["service"] == host
    assert provider["envoyExtAuthzGrpc"]["port"] == service["spec"]["ports"][0]["port"]
    assert manifest("istio", "DestinationRule")["spec"]["host"] == host


def test_istio_gets_a_cluster_ip():
    """Sidecars can not send a check to a headless Service."""
    assert "clusterIP" not in manifest("istio", "Service")["spec"]


def test_envoy_gateway_names_agree():
    """The policy names the Service and its port, and the Service's namespace grants that."""
    service = manifest("kubernetes", "Service")
    policy, grant = manifest("envoy-gateway", "SecurityPolicy"), manifest("envoy-gateway", "ReferenceGrant")
    (backend,) = policy["spec"]["extAuth"]["grpc"]["backendRefs"]

    assert backend == {
        "name": service["metadata"]["name"],
        "namespace": grant["metadata"]["namespace"],
        "port": service["spec"]["ports"][0]["port"],
    }
    assert grant["spec"]["from"] == [
        {"group": "gateway.envoyproxy.io", "kind": "SecurityPolicy", "namespace": policy["metadata"]["namespace"]}
    ]
    assert grant["spec"]["to"] == [{"group": "", "kind": "Service", "name": service["metadata"]["name"]}]


def test_envoy_gateway_is_hardened():
    """Escaped slashes and underscores are refused before any route."""
    policy = manifest("envoy-gateway", "ClientTrafficPolicy")["spec"]

    assert policy["path"]["escapedSlashesAction"] == "RejectRequest"
    assert policy["headers"]["withUnderscoresAction"] == "RejectRequest"


def test_kubectl_applies_on_the_servers_side():
    """A large configuration is refused otherwise: kubectl writes it into an annotation, which holds 256 KiB."""
    texts = [file.read_text() for file in [*YAML, DEPLOY / "README.md"]]
    commands = [line for text in texts for line in re.findall(r"kubectl apply .*", text)]

    assert commands
    assert [line for line in commands if "--server-side" not in line] == []
