"""What a serving process has loaded, and what it need not search for garbage."""

import json
import sys

import pytest

from authz_server.demo.process import Process, free_port
from tests.e2e.stack import CONFIGURATION, Server

HEAVY = "grpc", "httpx2", "pydantic", "yaml"
PROGRAM = f"""
import atexit, gc, json, sys
from authz_server.cli import main
atexit.register(lambda: print(json.dumps({{"loaded": [name for name in {HEAVY} if name in sys.modules], "frozen": gc.get_freeze_count()}})))
main(sys.argv[1:])
"""


@pytest.fixture
def told(tmp_path, pool, transport):
    """What a server tells of itself at its end, after it has answered a check with keys from a file."""
    keys, config, port, admin = tmp_path / "jwks.json", tmp_path / "authz.yaml", free_port(), free_port()
    keys.write_text(json.dumps(pool.jwks()))
    config.write_text(CONFIGURATION.replace("ARN", pool.arn).replace("POOL", pool.id).replace("jwks_uri: JWKS", f"jwks_file: {keys}"))
    command = ["serve", "--config", str(config), "--listen", f"127.0.0.1:{port}", "--admin", str(admin), "--drain-seconds", "0"]
    process = Process([sys.executable, "-c", PROGRAM, *command, "--transport", transport], log=tmp_path / "server.log")
    server = Server(process=process, config=config, port=port, admin=admin)
    with process:
        process.wait_until(lambda: server.get("/readyz")[0] == 200)
        assert server.check("GET", "/prod/pets", {"authorization": pool.id_token()}).status.code == 0
    return json.loads(server.log().splitlines()[-1])


def test_a_server_brings_no_more_than_it_needs(told, transport):
    """Who takes the asyncio door has no gRPC core in memory; configurations are read elsewhere, and nothing is fetched for keys in files."""
    assert told["loaded"] == (["grpc"] if transport == "grpcio" else [])


def test_what_lives_as_long_as_the_process_is_not_searched_for_garbage(told):
    """A full collection would look at all of it while checks wait: modules alone are tens of thousands of objects."""
    assert told["frozen"] > 10_000
