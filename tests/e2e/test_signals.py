"""Signals count from the first instruction: whenever one comes during the start, the process does as it says."""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from authz_server.demo.process import Process, free_port
from tests.e2e.stack import two_ports
from tests.waiting import PATIENCE, until

CONFIGURATION = "version: 1\napis: {shop: {routes: {/: {GET: {authorization_type: NONE}}}}}\n"
FIRST = ("unshare", "-rpf", "--mount-proc", "--kill-child")  # of a container: the kernel gives it no signal that it does not handle
DOORS = {"grpcio": "grpc", "asyncio": "uvloop"}
MOMENTS = {
    "the handlers have just been set": "import authz_server.cli",
    "click is imported": "import click",
    "the command is imported": "import authz_server.cli.serve",
    "metrics are imported": "import prometheus_client",
    "the keys are imported": "import authz_server.keys.store",
    "the server is imported": "import authz_server.server.serve",
    "the loader starts": "subprocess.Popen -",
    "the transport is imported": "import DOOR",
    "an address is bound": "socket.bind -",
    "the configuration is about to be watched": "open CONFIG",
}


@functools.cache
def has_pid_namespaces():
    """Whether a process of this machine may be the first of its own."""
    try:
        return subprocess.run(["unshare", "-rpf", "--mount-proc", "true"], capture_output=True, check=False, timeout=60).returncode == 0
    except OSError:
        return False


@pytest.fixture
def start(tmp_path, transport):
    """Start a server that gets a signal at a moment of its start."""
    config = tmp_path / "authz.yaml"
    config.write_text(CONFIGURATION)

    def begin(number, moment, *arguments, who="server", listen=None, first=False):
        if first and not has_pid_namespaces():
            pytest.skip("this machine makes no PID namespaces (unshare -rpf --mount-proc): what PID 1 does with signals was not tried")
        where = moment.replace("DOOR", DOORS[transport]).replace("CONFIG", str(config))
        command = ["serve", "--config", str(config), "--listen", f"127.0.0.1:{listen or free_port()}", "--admin", str(free_port())]
        return Process(
            [
                *(FIRST if first else ()),
                sys.executable,
                "-P",
                "-m",
                "authz_server",
                *command,
                "--transport",
                transport,
                "--drain-seconds",
                "0",
                *arguments,
            ],
            log=tmp_path / "log",
            environment={"PYTHONPATH": str(Path(__file__).parent / "moments"), "MOMENT": f"{who} {number} {where}"},
        )

    return begin


def ended(process):
    """Wait for the end of a process that has got its signal.

    Returns:
        Its status, and whether its log is without a traceback.
    """
    status = process.wait(PATIENCE)
    log = process.log.read_text()
    assert "struck" in log, log
    return status, "Traceback" not in log and "Exception" not in log


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_sigterm_ends_a_start_with_0_as_pid_1(start, moment):
    """At each moment: where no handler is, it is lost and the pod hangs until it is killed."""
    with start("SIGTERM", moment, first=True) as process:
        assert ended(process) == (0, True)


@pytest.mark.parametrize("moment", [MOMENTS["click is imported"], MOMENTS["the loader starts"], MOMENTS["an address is bound"]])
def test_sigterm_ends_a_start_with_0(start, moment):
    """As any other process, too, which would else end by the signal."""
    with start("SIGTERM", moment) as process:
        assert ended(process) == (0, True)


@pytest.mark.parametrize("moment", [MOMENTS["click is imported"], MOMENTS["the loader starts"], MOMENTS["an address is bound"]])
def test_sigint_ends_a_start_with_0_and_without_a_traceback(start, moment):
    """A person who thinks better of it need not read where it was."""
    with start("SIGINT", moment) as process:
        assert ended(process) == (0, True)


@pytest.mark.parametrize("moment", [MOMENTS["click is imported"], MOMENTS["the loader starts"], MOMENTS["an address is bound"]])
def test_sighup_does_not_end_a_start(start, moment):
    """Before the first load there is nothing to load again; later it is one more load."""
    with start("SIGHUP", moment) as process:
        process.wait_until(lambda: "listens on" in process.log.read_text(), PATIENCE)
        assert "struck" in process.log.read_text()


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("moment", [MOMENTS["click is imported"], "subprocess.Popen -", "import authz_server.observe.totals"])
def test_a_signal_ends_the_start_of_workers_with_0(start, number, moment):
    """The supervisor ends what it has started, and leaves nothing behind."""
    with start(number, moment, "--workers", "2", listen=two_ports(), first=has_pid_namespaces()) as process:
        assert ended(process) == (0, True)


@pytest.mark.parametrize("moment", [MOMENTS["click is imported"], MOMENTS["the loader starts"], MOMENTS["the transport is imported"]])
def test_sigterm_ends_a_worker_that_starts_without_a_traceback(start, moment):
    """As when a whole control group gets it; the supervisor tells that it did not come up."""
    with start("SIGTERM", moment, "--workers", "2", who="worker", listen=two_ports()) as process:
        assert ended(process) == (1, True)
        assert "worker 0 did not come up" in process.log.read_text()


def test_a_loader_ends_with_the_server_that_waits_for_it(start, tmp_path):
    """It would else read a large configuration to its end, for nobody."""
    with start("SIGSTOP", "open CONFIG", who="loader") as process:
        process.wait_until(lambda: "struck" in process.log.read_text(), PATIENCE)
        (loader,) = loaders(tmp_path / "authz.yaml")
        os.kill(processes()[loader][0], 9)
        until(lambda: not loaders(tmp_path / "authz.yaml"))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_pid_1_takes_orphans_away(start, workers):
    """A probe that runs in the container leaves its children to it; each would else stand there until the container ends."""
    with start("SIGCONT", MOMENTS["click is imported"], "--workers", workers, listen=two_ports(), first=True) as process:
        process.wait_until(lambda: "listens on" in process.log.read_text(), PATIENCE)
        (server,) = (pid for pid, (parent, _) in processes().items() if parent == process.pid)
        inside = ["nsenter", "--user", "--pid", "--target", str(server), "--preserve-credentials"]
        subprocess.run([*inside, "sh", "-c", "sleep 0.1 & sleep 0.1 &"], check=True, timeout=PATIENCE)
        until(lambda: (server, "sleep") not in processes().values())
        os.kill(server, signal.SIGTERM)  # unshare itself ignores it
        assert process.wait(PATIENCE) == 0


def processes():
    """Read the parent and the name of each process, also of those that have ended and still stand there."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, after = entry.read_text().rpartition(")")
        except OSError:  # it is gone
            continue
        found[int(entry.parent.name)] = int(after.split()[1]), before.partition("(")[2]
    return found


def loaders(config):
    """Find the processes that load a configuration."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if b"authz_server.config" in words and str(config).encode() in words:
            found.append(int(entry.parent.name))
    return found
