"""deploy/envoy/envoy.yaml is a good configuration, and a hardened one."""

import re
import subprocess

import pytest

from authz_server.cli.serve import serve
from authz_server.demo import envoy
from authz_server.envoy import stubs
from tests.deploy.samples import ENVOY, KUBERNETES, documents, members
from tests.waiting import PATIENCE

CONFIGURATION = documents(ENVOY)[0]
(LISTENER,) = CONFIGURATION["static_resources"]["listeners"]
MANAGER = LISTENER["filter_chains"][0]["filters"][0]["typed_config"]
FILTERS = {each["name"]: each["typed_config"] for each in MANAGER["http_filters"]}
EXT_AUTHZ = FILTERS["envoy.filters.http.ext_authz"]
CLUSTERS = {each["name"]: each for each in CONFIGURATION["static_resources"]["clusters"]}
AUTHZ = CLUSTERS["authz"]


def seconds(duration: str) -> float:
    """Read a protobuf duration."""
    return float(duration.removesuffix("s"))


@pytest.mark.e2e
def test_envoy_accepts_it():
    """The real Envoy finds no mistake in it."""
    command = [envoy.binary(), "--mode", "validate", "--log-level", "warning", "-c", ENVOY]

    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().endswith("OK")
    assert "deprecated" not in run.stderr.lower()


def test_names_are_stable():
    """The demo and the benchmark find listener and clusters by these names."""
    assert LISTENER["name"] == "ingress"
    assert set(CLUSTERS) == {"authz", "upstream"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("use_remote_address", True),
        ("normalize_path", True),
        ("merge_slashes", True),
        ("path_with_escaped_slashes_action", "REJECT_REQUEST"),
        ("strip_any_host_port", True),
        ("strip_trailing_host_dot", True),
    ],
)
def test_what_is_checked_is_what_is_served(name, value):
    """Envoy repairs or refuses what parsers read differently, before anybody looks at it."""
    assert MANAGER[name] == value


def test_underscores_do_not_make_a_second_spelling():
    """A header with an underscore is refused: many frameworks take x_auth_sub for x-auth-sub."""
    assert MANAGER["common_http_protocol_options"]["headers_with_underscores_action"] == "REJECT_REQUEST"


def test_identity_headers_are_stripped_before_routing():
    """No claim header of the sample configuration, and none of Envoy's own words, survives from the client."""
    (mutation,) = MANAGER["early_header_mutation_extensions"]
    mutations = mutation["typed_config"]["mutations"]
    matchers = [each["remove_on_match"]["key_matcher"] for each in mutations if "remove_on_match" in each]
    (prefix,) = [each["prefix"] for each in matchers if "prefix" in each]
    patterns = [each["safe_regex"]["regex"] for each in matchers if "safe_regex" in each]
    removed = {each["remove"] for each in mutations if "remove" in each}
    (sample,) = documents(KUBERNETES / "authz.yaml")
    claim_headers = [header for api in sample["apis"].values() for header in api["claim_headers"]]
    aliases = [header.replace("-", separator) for header in claim_headers for separator in "_.!#$%&'*+^`|~"]

    assert claim_headers
    assert all(header.startswith(prefix) for header in claim_headers)
    assert all(any(re.fullmatch(pattern, alias) for pattern in patterns) for alias in aliases)
    assert removed == {"x-envoy-auth-failure-mode-allowed", "x-envoy-auth-partial-body"}


def test_it_fails_closed():
    """No answer is 503, never a pass; and a malformed answer is an error."""
    assert EXT_AUTHZ["failure_mode_allow"] is False
    assert EXT_AUTHZ["status_on_error"] == {"code": "ServiceUnavailable"}
    assert EXT_AUTHZ["validate_mutations"] is True


def test_the_route_is_not_chosen_again():
    """The route that was checked is the route that is taken."""
    assert EXT_AUTHZ["clear_route_cache"] is False


def test_only_what_is_read_is_sent():
    """Cookies and other secrets do not leave Envoy."""
    names = {pattern["exact"] for pattern in EXT_AUTHZ["allowed_headers"]["patterns"]}

    assert names == {"authorization", "x-request-id", "traceparent"}


def test_a_check_is_tried_twice_within_its_timeout():
    """The retry stands where Envoy reads it, with a back-off that fits into an explicit timeout."""
    service = EXT_AUTHZ["grpc_service"]
    retry = service["retry_policy"]

    assert "retry_policy" not in service["envoy_grpc"]
    assert service["envoy_grpc"]["cluster_name"] == "authz"
    assert 10 * seconds(retry["retry_back_off"]["base_interval"]) < seconds(service["timeout"])
    assert 2 * seconds(retry["retry_back_off"]["max_interval"]) == seconds(service["timeout"])  # Envoy ends each try after it, too
    assert [each["name"] for each in retry["retry_host_predicate"]] == ["envoy.retry_host_predicates.previous_hosts"]
    # Of two servers LEAST_REQUEST draws the dead one, which has no request in progress, three times in four: with 16 draws one try in 130.
    assert 0.75 ** retry["host_selection_retry_max_attempts"] < 1e-6


def test_the_last_route_takes_everything():
    """A request without a route would not be checked."""
    (host,) = MANAGER["route_config"]["virtual_hosts"]

    assert host["domains"] == ["*"]
    assert host["routes"][-1]["match"] == {"prefix": "/"}


def test_no_route_turns_the_check_off():
    """Nothing in the file disables the filter for a route."""
    assert "typed_per_filter_config" not in {path[-1] for path, _ in members(CONFIGURATION)}


def test_ext_authz_comes_right_before_the_router():
    """No filter behind the check can change the route or the path."""
    assert list(FILTERS)[-2:] == ["envoy.filters.http.ext_authz", "envoy.filters.http.router"]


def test_the_admin_port_is_on_loopback():
    """Whoever reaches Envoy's admin port owns Envoy."""
    assert CONFIGURATION["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_the_access_log_tells_why_and_no_secret():
    """The outcome of the check is in the log; tokens, cookies and queries are not."""
    (log,) = MANAGER["access_log"]
    line = log["typed_config"]["log_format"]["json_format"]

    assert "%RESPONSE_CODE_DETAILS%" in line.values()
    assert not [value for value in line.values() if "AUTHORIZATION" in value.upper().replace(":AUTHORITY", "") or "COOKIE" in value.upper()]
    assert line["path"] == "%PATH(NQ)%"


def test_health_checks_ask_for_our_service():
    """Envoy asks for the gRPC service that goes NOT_SERVING when the server drains."""
    (check,) = AUTHZ["health_checks"]

    assert check["grpc_health_check"]["service_name"] == stubs.SERVICE


def test_a_drain_outlasts_a_health_check():
    """Envoy has noticed a draining server before that one takes no more calls."""
    (check,) = AUTHZ["health_checks"]
    drain = next(option.default for option in serve.params if option.name == "drain_seconds")

    assert seconds(check["interval"]) + seconds(check["timeout"]) < drain


def test_the_cluster_survives_a_dead_server():
    """Retries have room, dead endpoints are ejected, dead connections are found, and HTTP/2 is on."""
    (thresholds,) = AUTHZ["circuit_breakers"]["thresholds"]
    (options,) = AUTHZ["typed_extension_protocol_options"].values()
    http2 = options["explicit_http_config"]["http2_protocol_options"]

    assert thresholds["max_retries"] > 3
    assert AUTHZ["outlier_detection"]["split_external_local_origin_errors"] is True
    assert "connection_idle_interval" in http2["connection_keepalive"]
    assert AUTHZ["lb_policy"] == "LEAST_REQUEST"
