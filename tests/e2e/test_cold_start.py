"""A server that starts in an outage is ready soon after it, by itself: a real process, and an endpoint that comes back."""

import re
import time

import pytest

from authz_server.demo.process import accepts, authz_server, free_port
from authz_server.testing import LocalCognito, UserPool
from tests.e2e.stack import CONFIGURATION, Server

TRIES = 8  # in an outage: a minute by the rule of ten seconds, more than two where each wait is twice the last one
PATIENCE = 110.0  # seconds for them; as much is left for the end
READY = 60.0  # seconds for one more try, which comes within ten


def until(condition, seconds):
    """Wait until something comes true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_server_that_starts_in_an_outage_ends_with_it(tmp_path):
    """Eight fetches fail, the endpoint returns, and the next fetch makes the server ready although no check was ever asked."""
    pool, port, admin, keys = UserPool("eu-west-1_Cold00001"), free_port(), free_port(), free_port()
    config = tmp_path / "authz.yaml"
    uri = f"http://127.0.0.1:{keys}/{pool.id}/.well-known/jwks.json"
    config.write_text(CONFIGURATION.replace("ARN", pool.arn).replace("POOL", pool.id).replace("JWKS", uri))
    command = ["serve", "--config", str(config), "--listen", f"127.0.0.1:{port}", "--admin", str(admin), "--drain-seconds", "0"]
    with authz_server(*command, log=tmp_path / "server.log") as process:
        server = Server(process=process, config=config, port=port, admin=admin)

        def counted(name):
            found = re.search(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", server.get("/metrics")[1], re.MULTILINE)
            return float(found[1]) if found else 0.0

        process.wait_until(lambda: accepts(admin), PATIENCE)
        until(lambda: counted("authz_jwks_fetches_total") >= TRIES, PATIENCE)
        assert server.get("/readyz")[0] == 503
        with LocalCognito(pool, port=keys):
            until(lambda: server.get("/readyz")[0] == 200, READY)
        assert counted("authz_checks_total") == 0
        assert server.check("GET", "/prod/pets", {"authorization": pool.id_token()}).status.code == 0
