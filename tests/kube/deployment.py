"""The Deployment of deploy/kubernetes, run without a cluster: its image as PID 1 in a container of its own, its addresses moved to loopback."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import yaml

from authz_server.envoy.stubs import CheckRequest, CheckResponse

METHOD = "/envoy.service.auth.v3.Authorization/Check"
CONTAINER = Path(__file__).with_name("container.sh")
ANYWHERE = re.compile(r"^(0\.0\.0\.0|\[::\]|\*)(?=:\d+$)")

(DEPLOYMENT,) = yaml.safe_load_all(Path("deploy/kubernetes/deployment.yaml").read_text())
POD: dict[str, Any] = DEPLOYMENT["spec"]["template"]["spec"]


def environment(host: str | None = None) -> dict[str, str]:
    """Read the variables of the container; with its addresses on one of loopback's where that is given."""
    (container,) = POD["containers"]
    return {each["name"]: ANYWHERE.sub(host, each["value"]) if host else each["value"] for each in container["env"]}


def start(
    image: str, configuration: Path, pid_file: Path, variables: Mapping[str, str], output: Path, before: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Start the image as a pod's container.

    Args:
        image: its name.
        configuration: the folder that is mounted.
        pid_file: takes the number of the process that waits for it.
        variables: of its environment.
        output: takes what it prints on standard error.
        before: program and arguments that run it.
    """
    with output.open("wb") as errors:
        return subprocess.Popen(
            [*before, "sh", str(CONTAINER), image, str(configuration)],
            env={
                **os.environ,
                "PID_FILE": str(pid_file),
                "CONTAINER_ENV": " ".join(f"{name}={value}" for name, value in variables.items()),
            },
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )


def children(pid: int) -> list[int]:
    """List the children of a process."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(each) for each in found.stdout.split()]


def check_request(path: str, token: str = "", context: Mapping[str, str] | None = None) -> bytes:
    """Write a check."""
    message = CheckRequest()
    http = message.attributes.request.http
    http.method, http.path, http.host = "GET", path, "api.example.com"
    if token:
        http.headers["authorization"] = token
    message.attributes.context_extensions.update(context or {})
    return message.SerializeToString()


def check(address: str, path: str, token: str = "") -> int:
    """Ask one check; 0 is an allow, else the status of the denial; -1 without an answer."""
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            answer = CheckResponse.FromString(channel.unary_unary(METHOD)(check_request(path, token), timeout=2))
        except grpc.RpcError:
            return -1
    return answer.denied_response.status.code if answer.status.code else 0
