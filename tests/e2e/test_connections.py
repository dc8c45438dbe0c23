"""Connections between a real Envoy and both doors: they are kept alive, and end in time, and no request fails of it."""

import json
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack

import pytest

from authz_server.core.decisions import Allow
from authz_server.demo import envoy
from authz_server.demo.process import free_port
from authz_server.demo.upstream import Upstream
from authz_server.envoy import response
from authz_server.transport import event_loop, grpcio
from authz_server.transport.event_loop import EventLoopDoor
from authz_server.transport.grpcio import GrpcioDoor
from tests.e2e.stack import LONG, Edge, patient
from tests.waiting import PATIENCE


@pytest.fixture
def running():
    """What ends with the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start(running, tmp_path, transport):
    """Start a door that allows everything, and an Envoy without health checks in front of it; give that and its counters."""

    def start(keepalive):
        port, authz, admin, upstream = free_port(), free_port(), free_port(), Upstream()
        running.callback(upstream.close)
        allow = response.allow(Allow(api="", route=""))
        door = GrpcioDoor(lambda _: allow) if transport == "grpcio" else EventLoopDoor(lambda _: allow)
        running.callback(door.stop, 0)
        door.listen(f"127.0.0.1:{authz}")
        door.start()
        configuration = envoy.moved(envoy.template(), listener=port, authz=authz, upstream=upstream.port)
        (cluster,) = [each for each in configuration["static_resources"]["clusters"] if each["name"] == "authz"]
        del cluster["health_checks"]
        (options,) = cluster["typed_extension_protocol_options"].values()
        options["explicit_http_config"]["http2_protocol_options"]["connection_keepalive"] = keepalive
        patient(configuration)
        configuration["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}}
        running.callback(envoy.start(configuration, port=port, folder=tmp_path).stop)

        def counters():
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/stats?format=json&filter=cluster.authz", timeout=PATIENCE) as answer:
                stats = json.load(answer)["stats"]
            return {stat["name"].removeprefix("cluster.authz."): stat["value"] for stat in stats if "value" in stat}

        return Edge(port=port, variant="no health checks"), counters

    return start


@pytest.mark.parametrize("idle", [False, True], ids=["busy", "idle"])
def test_pings_of_envoy_trip_nobody(start, idle):
    """Twenty in a second, with and without checks between them: one connection lasts, and none is called a flood."""
    edge, counters = start({"interval": "0.05s", "timeout": LONG})
    statuses, end = Counter([edge.send("GET", "/anything").status]), time.monotonic() + 4
    while time.monotonic() < end:
        time.sleep(0.5 if idle else 0.01)
        if not idle:
            statuses[edge.send("GET", "/anything").status] += 1
    statuses[edge.send("GET", "/anything").status] += 1
    counted = counters()

    assert statuses.keys() == {200}
    assert counted["upstream_cx_total"] == 1
    assert counted["upstream_cx_destroy"] == counted["http2.keepalive_timeout"] == 0


def test_connections_end_in_time_under_load(start, monkeypatch):
    """Each is replaced, and no check is lost or asked twice."""
    for door in (event_loop, grpcio):
        monkeypatch.setattr(door, "LIFETIME_SECONDS", 0.5)
    monkeypatch.setattr(event_loop, "TICK_SECONDS", 0.02)
    edge, counters = start({"connection_idle_interval": "30s", "timeout": LONG})
    statuses, end = Counter(), time.monotonic() + PATIENCE
    while (counted := counters())["upstream_cx_total"] < 4:
        assert time.monotonic() < end
        for _ in range(20):
            statuses[edge.send("GET", "/anything").status] += 1

    assert statuses.keys() == {200}
    assert counted.get("upstream_rq_retry", 0) == 0
