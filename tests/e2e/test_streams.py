"""Standard streams that are closed, or that nobody reads, and the last words of a start that fails."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from authz_server.demo.process import Process, authz_server, free_port
from tests.e2e.stack import ask
from tests.waiting import PATIENCE, until

CONFIGURATION = "version: 1\napis: {shop: {routes: {/: {GET: {authorization_type: NONE}}}}}\n"
CLOSED = {"input": "<&-", "output": ">&-", "error": "2>&-", "all": "<&- >&- 2>&-"}


@pytest.fixture
def config(tmp_path):
    """A configuration without user pools."""
    path = tmp_path / "authz.yaml"
    path.write_text(CONFIGURATION)
    return path


def failed(*arguments, environment=None):
    """Run a command that fails.

    Returns:
        Its status, and what its log says.
    """
    command = [sys.executable, "-P", "-m", "authz_server", "serve", *arguments]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, env={**os.environ, **(environment or {})}
    )
    told = [json.loads(line) for line in ended.stderr.splitlines()]
    assert all(list(line) == ["time", "level", "message"] for line in told if "worker" not in line)
    return ended.returncode, [line["message"] for line in told if line["level"] == "error"]


@pytest.mark.parametrize(("closed", "workers"), [*((closed, "1") for closed in CLOSED), ("all", "2")])
def test_standard_streams_may_be_closed(tmp_path, config, transport, closed, workers):
    """A server serves and ends as ever, and no other file gets the number of one of them."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "authz_server", "serve", "--config", str(config), "--listen", f"127.0.0.1:{port}"]
    shell = ["/bin/sh", "-c", f'exec "$@" {CLOSED[closed]}', "sh"]
    flags = ["--transport", transport, "--drain-seconds", "0", "--workers", workers]
    with Process([*shell, *command, *flags], log=tmp_path / "log") as process:
        process.wait_until(lambda: answers(port), PATIENCE)

        standard = {number: str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)}
        ours = {number for number, place in standard.items() if place == "/dev/null"}
        assert ours == {"input": {0}, "output": {0, 1}, "error": {0, 2}, "all": {0, 1, 2}}[closed]
        process.send(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_an_output_that_nobody_reads_is_no_failure(tmp_path, config, transport):
    """Lines of the decision log are lost, and counted; the end is one with status 0 all the same."""
    port, pipe = free_port(), os.pipe()
    command = [sys.executable, "-P", "-m", "authz_server", "serve", "--config", str(config), "--listen", f"127.0.0.1:{port}"]
    with (tmp_path / "log").open("wb") as log:
        flags = ["--transport", transport, "--drain-seconds", "0"]
        process = subprocess.Popen([*command, *flags], stdout=pipe[1], stderr=log)
    for end in pipe:
        os.close(end)
    try:
        until(lambda: answers(port))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
    assert "Exception" not in (tmp_path / "log").read_text()


def answers(port):
    """Whether a check is answered, with an allow."""
    try:
        return ask(f"127.0.0.1:{port}", "GET", "/").status.code == 0
    except grpc.RpcError:
        return False


def test_a_bad_configuration_is_told_in_the_log(config):
    """One line for each mistake, as when it is loaded again."""
    config.write_text("version: 1\napis: {shop: {ruotes: {}, hsots: []}}\n")
    status, told = failed("--config", str(config), "--listen", str(free_port()))

    assert status == 1
    assert [line.startswith(f"{config}:2:") for line in told] == [True, True]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_taken_port_is_told_in_the_log(config, workers):
    """Whoever has the log in a database finds the reason there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, told = failed("--config", str(config), "--listen", address, "--workers", workers, "--transport", "asyncio")

    assert status == 1
    assert f"cannot listen on {address}: Address already in use" in told


def test_a_wrong_flag_is_told_in_the_log(config):
    """Also one that comes from the environment, as in a container; the status is that of a wrong command."""
    assert failed("--config", str(config), "--listen", "nowhere")[0] == 2
    status, (told,) = failed("--config", str(config), environment={"AUTHZ_WORKERS": "many"})

    assert (status, "AUTHZ_WORKERS" in told or "--workers" in told) == (2, True)


def test_a_state_directory_is_probed_at_the_start(config, tmp_path):
    """Its mistakes would else show in an outage, when it is needed."""
    (tmp_path / "file").touch()
    directory = tmp_path / "file" / "state"
    status, told = failed("--config", str(config), "--listen", str(free_port()), "--state-dir", str(directory))

    assert status == 1
    assert told == [
        f"--state-dir {directory}: no keys can be kept there (Not a directory); name a directory that this server's user may write to"
    ]


def test_a_bare_port_is_one_of_loopback(tmp_path, config, transport):
    """As it is for the admin port."""
    port = free_port()
    command = ["serve", "--config", str(config), "--listen", str(port), "--transport", transport, "--drain-seconds", "0"]
    with authz_server(*command, log=tmp_path / "log") as process:
        process.wait_until(lambda: f"listens on 127.0.0.1:{port}" in process.log.read_text(), PATIENCE)

        assert answers(port)
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.2", port)) != 0
