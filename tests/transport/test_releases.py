"""A release of grpcio that was not tested: the server starts all the same, and says what it lacks."""

import contextlib
import logging
import re
import sys
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from authz_server.demo.process import free_port
from authz_server.transport.grpcio import GrpcioDoor
from authz_server.transport.grpcio_releases import FIRST_TESTED, LAST_TESTED, choose_pools

ROOT = Path(__file__).parents[2]
CHECK = "/envoy.service.auth.v3.Authorization/Check"
ARRIVAL = "authz_server.transport.grpcio_arrival"


@pytest.fixture
def other_release(monkeypatch):
    """Pretend that the next release is installed."""
    monkeypatch.setattr(grpc, "__version__", f"{LAST_TESTED[0]}.{LAST_TESTED[1] + 1}.0")


@contextlib.contextmanager
def served():
    """Serve checks with grpcio, and connect."""
    door, port = GrpcioDoor(bytes), free_port()
    door.listen(f"127.0.0.1:{port}")
    door.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    door.stop(0)


def test_a_release_that_was_tested_is_guarded_silently(caplog):
    """The lock holds one of those that were tested."""
    pools = choose_pools()

    assert [pools.arrivals.__name__, pools.lasting.__name__] == ["Arrivals", "Lasting"]
    assert caplog.text == ""


@pytest.mark.usefixtures("other_release")
def test_another_release_serves_everything(caplog):
    """Checks, health and reflection are answered without the guard; one warning says what is missing and what to do."""
    with served() as channel:
        answer = channel.unary_unary(CHECK)(b"ask", timeout=60)
        health = health_pb2_grpc.HealthStub(channel)
        alive = health.Check(health_pb2.HealthCheckRequest(service="liveness"), timeout=60)
        watched = health.Watch(health_pb2.HealthCheckRequest(service="liveness"), timeout=60)
        first = next(watched)
        watched.cancel()
        asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
        (listed,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(asked), timeout=60)

    assert answer == b"ask"
    assert (alive.status, first.status) == (1, 1)
    assert CHECK.split("/")[1] in {service.name for service in listed.list_services_response.service}
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert warning.getMessage().startswith(f"grpcio {grpc.__version__} was not tested with this server (1.66 to ")
    assert warning.getMessage().endswith("or use --transport asyncio")


@pytest.mark.parametrize("release", ["1.65.9", "2.0.0", "1.86.0.dev0", "unknown", ""])
def test_only_the_releases_between_are_tested(release, monkeypatch, caplog):
    """Older ones, newer ones and those that cannot be read are not."""
    monkeypatch.setattr(grpc, "__version__", release)

    assert choose_pools().arrivals.__name__ != "Arrivals"
    assert "starts without a guard" in caplog.text


def test_a_build_without_the_names_serves_too(monkeypatch, caplog):
    """A distribution may have changed grpcio under the number of a release that was tested."""
    monkeypatch.setitem(sys.modules, ARRIVAL, None)  # importing it fails
    with served() as channel:
        assert channel.unary_unary(CHECK)(b"ask", timeout=60) == b"ask"

    assert "starts without a guard" in caplog.text


def test_the_package_asks_for_what_was_tested():
    """The first release that may be installed is the first that was tested."""
    (first,) = re.findall(r'"grpcio>=([0-9.]+),<2"', (ROOT / "pyproject.toml").read_text())

    assert tuple(map(int, first.split("."))) == FIRST_TESTED
