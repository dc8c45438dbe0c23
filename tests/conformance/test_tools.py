"""h2spec, grpcurl and grpc-health-probe find nothing to complain about."""

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from authz_server.demo.process import free_port
from authz_server.transport.event_loop import EventLoopDoor

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "build/go/bin"
PROTOSET = ROOT / "authz_server/envoy/ext_authz.binpb"
AUTHORIZATION = "envoy.service.auth.v3.Authorization"

# RFC 9113 section 5.3 took priorities out of HTTP/2: PRIORITY is parsed and ignored.
IGNORED = {
    ("http2/5.3.1", "Sends HEADERS frame that depend on itself"),
    ("http2/5.3.1", "Sends PRIORITY frame that depend on itself"),
    ("http2/6.3", "Sends a PRIORITY frame with 0x0 stream identifier"),
}


def run(tool, *arguments):
    """Run a tool to its end."""
    return subprocess.run([TOOLS / tool, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_h2spec_fails_in_nothing_but_priorities(tmp_path):
    """Each case of its strict suite runs, and the three that may fail are named."""
    door, port, report = EventLoopDoor(bytes), free_port(), tmp_path / "report.xml"
    door.listen(f"127.0.0.1:{port}")
    door.start()
    output = run("h2spec", "--host", "127.0.0.1", "--port", str(port), "--strict", "--junit-report", str(report)).stdout
    door.stop(0)
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 - written by a tool of ours
    failed = {(case.get("package"), case.get("classname")) for case in cases if len(case)}

    assert failed <= IGNORED, output
    assert len(cases) == 146


def check(path, token=None):
    """Write a CheckRequest in JSON."""
    headers = {"authorization": token} if token else {}
    return json.dumps({"attributes": {"request": {"http": {"method": "GET", "path": path, "host": "api.example.com", "headers": headers}}}})


def grpcurl(server, *arguments):
    """Run grpcurl without TLS."""
    return run("grpcurl", "-plaintext", *arguments[:-1], f"127.0.0.1:{server.port}", arguments[-1])


def test_grpcurl_asks_with_a_descriptor_set(server, pool):
    """The one that the package ships is enough to ask a check at either door."""
    for token, code in ((pool.id_token(), None), (None, 16)):
        done = grpcurl(server, "-protoset", str(PROTOSET), "-d", check("/prod/pets", token), f"{AUTHORIZATION}/Check")
        answer = json.loads(done.stdout)

        assert not done.stderr
        assert answer["status"].get("code") == code
        assert ("okResponse" in answer) == (token is not None)


def test_grpcurl_asks_by_reflection(server, transport, pool):
    """The grpcio door tells what it serves; the asyncio door says UNIMPLEMENTED."""
    listed = grpcurl(server, "list")
    asked = grpcurl(server, "-d", check("/prod/pets", pool.id_token()), f"{AUTHORIZATION}/Check")

    if transport == "grpcio":
        assert {AUTHORIZATION, "grpc.health.v1.Health"} <= set(listed.stdout.split())
        assert "okResponse" in json.loads(asked.stdout)
    else:
        assert "does not support the reflection API" in listed.stderr
        assert "does not support the reflection API" in asked.stderr


@pytest.mark.parametrize("service", ["", AUTHORIZATION, "liveness"])
@pytest.mark.parametrize("unix", [False, True])
def test_grpc_health_probe_finds_it_serving(server, service, unix):
    """At its port and at its Unix socket, as Kubernetes would ask."""
    address = f"unix://{server.config.parent}/authz.sock" if unix else f"127.0.0.1:{server.port}"
    done = run("grpc-health-probe", "-addr", address, "-service", service)

    assert done.returncode == 0, done.stderr
    assert "SERVING" in done.stderr + done.stdout


def test_grpc_health_probe_hears_of_an_unknown_service(server):
    """It fails, and says NotFound."""
    done = run("grpc-health-probe", "-addr", f"127.0.0.1:{server.port}", "-service", "else")

    assert done.returncode != 0
    assert "NotFound" in done.stderr
