"""Envoy configurations: the one in deploy/envoy, moved to free ports, with one way to authorize or another."""

import json
from pathlib import Path
from typing import Any

from workload import CLAIM_HEADERS, Workload

from authz_server.demo import envoy

EXT_AUTHZ = "envoy.filters.http.ext_authz"
JWT_AUTHN = "envoy.filters.http.jwt_authn"
TYPES = "type.googleapis.com/envoy.extensions.filters.http"


def open_door(port: int) -> dict[str, Any]:
    """Let everybody pass: what the rest of the configuration costs."""
    configuration = _answering(envoy.moved(envoy.template(), listener=port))
    filters = _manager(configuration)["http_filters"]
    filters[:] = [each for each in filters if each["name"] != EXT_AUTHZ]
    clusters = configuration["static_resources"]["clusters"]
    clusters[:] = [each for each in clusters if each["name"] != "authz"]
    return configuration


def jwt_authn(port: int, work: Workload, *, cache: bool = False) -> dict[str, Any]:
    """Let Envoy itself verify tokens, with the same keys, and set the same headers; or remember those it has verified."""
    configuration = open_door(port)
    provider = {
        "issuer": work.pool.issuer,
        "audiences": list(work.pool.clients),
        "local_jwks": {"inline_string": work.jwks.read_text()},
        "forward": True,
        "claim_to_headers": [{"header_name": name, "claim_name": claim} for name, claim in CLAIM_HEADERS.items()],
    }
    if cache:
        provider["jwt_cache_config"] = {"jwt_cache_size": 1_000}
    _manager(configuration)["http_filters"].insert(
        0,
        {
            "name": JWT_AUTHN,
            "typed_config": {
                "@type": f"{TYPES}.jwt_authn.v3.JwtAuthentication",
                "providers": {"pool": provider},
                "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "pool"}}],
            },
        },
    )
    return configuration


def ext_authz(port: int, server: int) -> dict[str, Any]:
    """Ask a server, as shipped but for the health checks: the reference servers know none."""
    configuration = _answering(envoy.moved(envoy.template(), listener=port, authz=server))
    for cluster in configuration["static_resources"]["clusters"]:
        cluster.pop("health_checks", None)
    return configuration


def failures(log: Path) -> str:
    """Sum up the requests in Envoy's access log that nobody decided on: what went wrong, how often and after how long."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    took: dict[str, list[int]] = {}
    for line in lines:
        if line["status"] >= 500:
            took.setdefault(f"{line['status']} {line['details']}", []).append(line["duration_ms"])
    return ", ".join(f"{len(ms)} x {what} after {min(ms)}-{max(ms)} ms" for what, ms in took.items()) or "none of status 500 or above"


def _answering(configuration: dict[str, Any]) -> dict[str, Any]:
    """Answer in place of an upstream, which would be measured too, and tell what it would have seen."""
    for host in _manager(configuration)["route_config"]["virtual_hosts"]:
        for route in host["routes"]:
            del route["route"]
            route["direct_response"] = {"status": 200, "body": {"inline_string": "ok"}}
            route["response_headers_to_add"] = [{"header": {"key": "x-seen-sub", "value": "%REQ(x-auth-sub)%"}}]
    clusters = configuration["static_resources"]["clusters"]
    clusters[:] = [each for each in clusters if each["name"] != "upstream"]
    return configuration


def _manager(configuration: dict[str, Any]) -> dict[str, Any]:
    manager: dict[str, Any] = configuration["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    return manager
