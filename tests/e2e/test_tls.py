"""`authz-server serve` with TLS flags, and on guarded Unix sockets, as an operator meets it."""

import contextlib
import grp
import os
import re
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from click.testing import CliRunner

from authz_server.cli import main
from authz_server.demo.process import authz_server, free_port
from authz_server.envoy.stubs import CheckRequest, CheckResponse
from tests.authority import ENVOY, SERVER, Authority, Pair, mount
from tests.e2e.stack import CONFIGURATION, Server, configured
from tests.waiting import PATIENCE, until

CHECK = "/envoy.service.auth.v3.Authorization/Check"


@pytest.fixture(scope="module")
def root():
    """The CA of the server."""
    return Authority("servers")


@pytest.fixture(scope="module")
def clients():
    """The CA of the clients."""
    return Authority("clients")


@pytest.fixture
def flags(tmp_path, root, clients):
    """Write what Kubernetes mounts, and name it in flags."""
    folder = tmp_path / "tls"
    mount(folder, root.server(), clients.certificate)
    names = ["--tls-cert", "tls.crt", "--tls-key", "tls.key", "--tls-client-ca", "ca.crt"]
    return [each if each.startswith("--") else str(folder / each) for each in names] + ["--tls-allow-san", ENVOY]


def run(*arguments, **environment):
    """Run a command to its end."""
    command = [sys.executable, "-m", "authz_server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment})


def channel(port, root, client=None):
    """Connect with TLS."""
    key, chain = (client.key, client.certificate) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(root.certificate, key, chain)
    options = [("grpc.ssl_target_name_override", SERVER), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials, options)


def status(port, root, client=None):
    """Ask for the public route over a new connection, and tell the answer's status."""
    with channel(port, root, client) as opened:
        return ask(opened)


def ask(opened):
    """Ask for the public route."""
    request = CheckRequest()
    http = request.attributes.request.http
    http.method, http.path, http.host = "GET", "/prod/status", "api.example.com"
    call = opened.unary_unary(CHECK, response_deserializer=CheckResponse.FromString)
    return call(request.SerializeToString(), timeout=PATIENCE).status.code


def refused(port, root, client=None):
    """Whether a client gets no answer."""
    try:
        status(port, root, client)
    except grpc.RpcError:
        return True
    return False


def sample(server, name):
    """Read one sample of the metrics."""
    (found,) = re.findall(rf"^{re.escape(name)} (\S+)$", server.get("/metrics")[1], re.MULTILINE)
    return float(found)


def test_only_envoys_of_ours_are_answered(start_server, flags, root, clients):
    """A client that is on the list is answered; one without a certificate, with another CA's or another name gets no answer."""
    server = start_server(*flags)

    assert status(server.port, root, clients.envoy()) == 0
    assert refused(server.port, root)
    assert refused(server.port, root, Authority("clients").envoy())
    assert refused(server.port, root, clients.issue(uris=[ENVOY + "/else"]))
    assert "with mutual TLS" in server.log()
    assert f"refused a client whose certificate names ['{ENVOY}/else']" in server.log()
    assert "bug" not in server.log()


def test_strangers_fill_no_log(start_server, transport, flags, root, clients):
    """Whoever knocks without a certificate, without TLS, or leaves in the middle writes no line; asyncio tells once of who speaks no TLS."""
    server = start_server(*flags)
    before = server.log()
    hello = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname=SERVER).do_handshake()
    hello = hello.read()
    for octets in (b"", b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n", hello, hello[:50]):
        for reset in (False, True):
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
                if reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(octets)
    for client in (None, Authority("clients").envoy()):
        assert refused(server.port, root, client)
    assert status(server.port, root, clients.envoy()) == 0
    server.process.stop()

    told = [line for line in server.log().removeprefix(before).splitlines() if '"level":"info"' not in line and '"decision"' not in line]
    assert len(told) == (transport == "asyncio")
    assert all("a client at 127.0.0.1 speaks no TLS" in line for line in told)


def test_flags_come_from_the_environment_too(start_server, flags, root, clients):
    """Names of clients are separated by spaces."""
    files = dict(zip(("AUTHZ_TLS_CERT", "AUTHZ_TLS_KEY", "AUTHZ_TLS_CLIENT_CA"), flags[1:7:2], strict=True))
    server = start_server(**files, AUTHZ_TLS_ALLOW_SAN=f"envoy.test {ENVOY}")

    assert status(server.port, root, clients.envoy()) == status(server.port, root, clients.issue(dns=["envoy.test"])) == 0
    assert refused(server.port, root, clients.issue(dns=["other.test"]))


def test_a_mounted_secret_is_rotated_without_a_failed_check(start_server, flags, root, clients, tmp_path):
    """Old connections go on, new ones see the new certificate and the new client CA, and the configuration is not loaded again."""
    server, old, authority = start_server(*flags), clients.envoy(), Authority("new clients")
    before, ended = sample(server, "authz_tls_certificate_expiry_timestamp_seconds"), threading.Event()

    def ask_until_ended():
        answers = []
        with channel(server.port, root, old) as opened:
            while not ended.is_set():
                answers.append(ask(opened))
        return answers

    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(ask_until_ended) for _ in range(2)]
        mount(tmp_path / "tls", root.server(days=60), authority.certificate)
        until(lambda: not refused(server.port, root, authority.envoy()))
        ended.set()

    assert all(set(answers.result()) == {0} for answers in asking)
    assert refused(server.port, root, old)
    until(lambda: sample(server, "authz_tls_certificate_expiry_timestamp_seconds") > before + 86_400)
    assert sample(server, "authz_tls_last_reload_successful") == 1
    assert sample(server, "authz_configuration_generation") == 1


def test_a_bad_secret_keeps_the_old_one(start_server, flags, root, clients, tmp_path):
    """The log says what is wrong with which file, the metric turns 0, and SIGHUP tries again."""
    server = start_server(*flags)
    bad = Pair(root.server().certificate, root.server().key)
    mount(tmp_path / "tls", bad, clients.certificate)
    until(lambda: "stays in use" in server.log())

    assert status(server.port, root, clients.envoy()) == 0
    assert "tls.key: is not the key of the first certificate in" in server.log()
    assert sample(server, "authz_tls_last_reload_successful") == 0
    server.process.send(signal.SIGHUP)
    until(lambda: server.log().count("stays in use") == 2)
    mount(tmp_path / "tls", root.server(), clients.certificate)
    until(lambda: sample(server, "authz_tls_last_reload_successful") == 1)


def test_bad_files_end_the_start_with_their_name(flags, tmp_path, pool, cognito, transport):
    """And with the next step."""
    config = tmp_path / "authz.yaml"
    config.write_text(configured(CONFIGURATION, pool, cognito))
    key = tmp_path / "tls" / "tls.key"
    key.unlink()
    key.write_bytes(Authority().server().key)

    ended = run("serve", "--config", str(config), "--listen", f"127.0.0.1:{free_port()}", "--transport", transport, *flags)

    assert ended.returncode == 1
    assert f"{key}: is not the key of the first certificate in" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_workers_have_tls_too(tmp_path, pool, cognito, transport, flags, root, clients):
    """Each with the same flags; a rotation reaches all of them, and a bad file is told once."""
    port = free_port()
    server = Server.start(tmp_path, pool, cognito, "--workers", "2", "--transport", transport, *flags, port=port)
    with server.process:
        assert [status(each, root, clients.envoy()) for each in (port, port + 1)] == [0, 0]
        assert all(refused(each, root, clients.issue()) for each in (port, port + 1))
        authority = Authority("new clients")
        mount(tmp_path / "tls", root.server(), authority.certificate)
        until(lambda: not any(refused(each, root, authority.envoy()) for each in (port, port + 1)))
        shown = re.findall(r'authz_tls_last_reload_successful{worker="(\d)"} 1.0', server.get("/metrics")[1])

        assert shown == ["0", "1"]
    (tmp_path / "tls" / "tls.key").unlink()
    ended = run("serve", "--config", str(server.config), "--listen", f"127.0.0.1:{port}", "--workers", "2", *flags)

    assert ended.returncode == 1
    assert ended.stderr.count("tls.key: cannot be read") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_unix_sockets_have_mode_and_group(tmp_path, pool, cognito, transport, workers):
    """As the flags say; each worker's too."""
    config, path, mine = tmp_path / "authz.yaml", tmp_path / "authz.sock", grp.getgrgid(os.getegid()).gr_name
    config.write_text(configured(CONFIGURATION, pool, cognito))
    flags = ["--socket-mode", "0600", "--socket-group", mine, "--socket-owner", str(os.geteuid()), "--workers", str(workers)]
    command = ["serve", "--config", str(config), "--listen", f"unix://{path}", "--transport", transport, *flags]
    with authz_server(*command, "--drain-seconds", "0", log=tmp_path / "log") as process:
        process.wait_until(lambda: process.log.read_text().count("listens on") == workers)
        sockets = [path] if workers == 1 else [tmp_path / "authz.sock.0", tmp_path / "authz.sock.1"]

        assert [stat.S_IMODE(each.stat().st_mode) for each in sockets] == [0o600] * workers


USAGE = [
    (("--tls-cert", "x"), "needs both --tls-cert and --tls-key"),
    (("--tls-key", "x"), "needs both --tls-cert and --tls-key"),
    (("--tls-client-ca", "x"), "needs both --tls-cert and --tls-key"),
    (("--tls-cert", "x", "--tls-key", "x", "--tls-allow-san", "envoy.test"), "needs --tls-client-ca"),
    *(
        (("--tls-allow-san", name), "expected a whole DNS name")
        for name in ("*.test", "10.0.0.1", "::1", "spiffe://test", "https://x/y", "")
    ),
    (("--socket-mode", "660x"), "octal"),
    (("--socket-mode", "7777"), "octal"),
    (("--socket-owner", "no-such-user"), "no such user"),
    (("--socket-group", "no-such-group"), "no such group"),
    (("--socket-group", "4294967295"), "number up to"),
]


@pytest.mark.parametrize(("arguments", "told"), USAGE, ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_flags_that_make_no_sense_are_a_usage_error(arguments, told):
    """They name the flag, and say what is expected."""
    ended = CliRunner().invoke(main, ["serve", "--config", "absent.yaml", *arguments])

    assert ended.exit_code == 2
    assert told in " ".join(ended.output.split())


@pytest.mark.parametrize("variable", ["AUTHZ_TLS_CERT", "AUTHZ_TLS_KEY", "AUTHZ_TLS_CLIENT_CA", "AUTHZ_TLS_ALLOW_SAN"])
def test_an_empty_variable_does_not_open_the_port(variable):
    """A template that was not filled is a mistake, not a wish for plaintext or for every client."""
    ended = CliRunner().invoke(main, ["serve", "--config", "absent.yaml"], env={variable: " "})

    assert ended.exit_code == 2
    assert f"{variable} is empty" in ended.output
