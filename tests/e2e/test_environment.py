"""What a server finds in its environment: it is used, or named, and said in the log."""

import re
import signal

import pytest

from tests.authority import Authority
from tests.e2e.stack import CONFIGURATION
from tests.forward_proxy import Endpoint, ForwardProxy
from tests.waiting import until

THROUGH = CONFIGURATION.replace("jwks_uri: JWKS", "jwks_uri: https://keys.test/jwks.json, ca_file: ca.crt")
NO_PROXY = "localhost,127.0.0.1,::1,[::1],fd00::/8,10.0.0.0/8,.svc,.cluster.local"  # as container platforms set it


def fetches(server, outcome):
    """Count the fetches that have ended so."""
    lines = re.findall(rf'^authz_jwks_fetches_total{{outcome="{outcome}",.*}} (\S+)$', server.get("/metrics")[1], re.MULTILINE)
    return sum(map(float, lines))


@pytest.fixture
def proxy(tmp_path, pool):
    """A proxy that wants credentials, in front of the pool's keys at https://keys.test."""
    authority = Authority("keys")
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    pair = authority.issue(dns=["keys.test"])
    (tmp_path / "keys.pem").write_bytes(pair.certificate + pair.key)
    with (
        Endpoint(pool.jwks_document(), tmp_path / "keys.pem") as endpoint,
        ForwardProxy(str(endpoint.port), "--password", "us:hunter2") as proxy,
    ):
        yield proxy


def test_keys_come_through_the_proxy_of_the_environment(start_server, proxy, pool):
    """A container platform's NO_PROXY hinders nothing; the log names the proxy in one line, and nobody's password."""
    url = f"http://us:hunter2@{proxy.address}"
    server = start_server(configuration=THROUGH, HTTPS_PROXY=url, https_proxy=url, NO_PROXY=NO_PROXY, no_proxy=NO_PROXY)

    assert server.check("GET", "/prod/pets", {"authorization": pool.id_token()}).status.code == 0
    assert proxy.stop() == ["CONNECT keys.test:443 HTTP/1.1 us:hunter2"]
    log = server.log()
    assert log.count(f"keys are fetched through the proxy http://{proxy.address} of https_proxy, with its credentials") == 1
    assert "hunter2" not in log


def test_a_proxy_that_cannot_be_used_is_one_warning(start_server):
    """It names the variable; a server whose keys are on this machine has nothing to do with it."""
    broken = {"HTTPS_PROXY": "socks5://us:hunter2@127.0.0.1:1080", "https_proxy": "socks5://us:hunter2@127.0.0.1:1080", "NO_PROXY": ""}
    server = start_server(**broken)
    assert "is not used" not in server.log()
    server.config.write_text(
        server.config.read_text()
        .replace("user_pools:\n", "user_pools:\n  eu-west-1_Other0001: {jwks_uri: https://keys.test/}\n")
        .replace("provider_arns: [", "provider_arns: [arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_Other0001, ")
    )
    until(lambda: "generation 2" in server.log())
    server.process.send(signal.SIGHUP)
    until(lambda: "generation 3" in server.log())

    assert server.log().count("https_proxy is not used, and keys are fetched without it: SOCKS is not supported") == 1
    assert "hunter2" not in server.log()


def test_the_endpoint_of_all_services_moves_keys(start_server, pool, cognito):
    """With AWS_ENDPOINT_URL, as for LocalStack and its like, keys come from there, and the log says so."""
    configuration = CONFIGURATION.partition("user_pools:")[0]
    server = start_server(configuration=configuration, AWS_ENDPOINT_URL=cognito.url)

    assert server.check("GET", "/prod/pets", {"authorization": pool.id_token()}).status.code == 0
    assert f"keys are fetched from {cognito.url}, as AWS_ENDPOINT_URL says" in server.log()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_fetches_keys_again(start_server, tmp_path, pool, workers):
    """Keys in a file are read again when the operator says so, without a check that needs them, in each worker."""
    keys = tmp_path / "keys.json"
    keys.write_bytes(pool.jwks_document())
    server = start_server("--workers", workers, configuration=CONFIGURATION.replace("jwks_uri: JWKS", "jwks_file: keys.json"))
    until(lambda: fetches(server, "ok") == int(workers))
    keys.write_bytes(b"<html>")
    server.process.send(signal.SIGHUP)
    until(lambda: fetches(server, "content") >= int(workers))

    assert "keys.json: the document is HTML or XML" in server.log()
    assert server.check("GET", "/prod/pets", {"authorization": pool.id_token()}).status.code == 0
