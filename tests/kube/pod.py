"""Run the image as deploy/kubernetes says that a pod runs, and do to it what a kubelet does.

    python -m tests.kube.pod IMAGE FOLDER TRANSPORT WORKERS

FOLDER is the lab's. Needs root, buildah, and `kubelet` of build.sh in $BIN. Environment, probes and times are the Deployment's; only its addresses are moved to loopback.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.kube.deployment import POD, check, children, environment, start
from tests.kube.proof import PETS, Report, fetch, tokens, tool, wait_until

HOST = "127.0.0.91"
SERVER = f"{HOST}:9000"
WORKERS_ADMIN = f"{HOST}:9005"  # the ports after 9000 are workers'
NO_CAPABILITIES = "0" * 16
(CONTAINER,) = POD["containers"]
READINESS, LIVENESS = CONTAINER["readinessProbe"], CONTAINER["livenessProbe"]
LOOK_AROUND = "touch /tmp/x /etc/authz-server/x 2>&1; find /var/lib/authz-server -ls"


def kubelet(*arguments: str) -> tuple[bool, str]:
    """Have kubelet's own code do something."""
    run = subprocess.run([tool("kubelet"), *arguments], capture_output=True, text=True, check=False)
    return run.returncode == 0, (run.stdout + run.stderr).strip()


def succeeds(probe: dict[str, Any]) -> bool:
    """Probe once, as kubelet does."""
    address, timeout = f"{HOST}:{probe['grpc']['port']}", f"{probe['timeoutSeconds']}s"
    return kubelet("probe", "grpc", address, probe["grpc"]["service"], timeout)[0]


class Pod:
    """A container of the Deployment, and the ConfigMap that is mounted in it.

    Args:
        report: takes what was found.
        image: its name.
        folder: the lab's.
        transport: of the server.
        workers: of the server.
    """

    def __init__(self, report: Report, image: str, folder: Path, transport: str, workers: str) -> None:
        self.report, self.image = report, image
        self.work = folder / f"pod-{transport}-{workers}"
        self.variables = {**environment(HOST), "AUTHZ_TRANSPORT": transport, "AUTHZ_WORKERS": workers}
        if workers != "1":
            self.variables["AUTHZ_ADMIN"] = WORKERS_ADMIN
        self.token = tokens(folder)["id"]
        self.text = (folder / "authz.yaml").read_text()
        self.volume = self.work / "configuration"
        shutil.rmtree(self.work, ignore_errors=True)
        self.volume.mkdir(parents=True)

    def wait(self, what: str, ready: Any, seconds: float) -> float:
        """Expect something within a time."""
        try:
            took = wait_until(what, ready, seconds)
        except TimeoutError as error:
            self.report.expect(what, detail=error, value=False)
            return seconds
        self.report.expect(what, detail=f"after {took:.1f} s", value=True)
        return took

    def asks(self, path: str = PETS) -> int:
        """Ask a check with a good token."""
        return check(SERVER, path, self.token)

    def project(self, name: str, text: str) -> None:
        """Swap the ConfigMap."""
        file = self.work / name
        file.write_text(text)
        done, said = kubelet("project", str(self.volume), f"authz.yaml={file}")
        self.report.expect(f"kubelet mounts {name}", done, detail=said)

    def reloads(self) -> set[float]:
        """Read how the last reload of each worker went."""
        text = fetch(f"http://{self.variables['AUTHZ_ADMIN']}/metrics")
        found = re.findall(r"^authz_configuration_last_reload_successful(?:{[^}]*})? (\S+)$", text, re.MULTILINE)
        return set(map(float, found))

    def comes_up(self) -> None:
        """Start it, and probe it."""
        self.project("good.yaml", self.text)
        pid_file = self.work / "pid"
        self.runtime = start(self.image, self.volume, pid_file, self.variables, self.work / "log")
        self.wait("kubelet's readiness probe succeeds", lambda: succeeds(READINESS), 60)
        self.wait("kubelet's liveness probe succeeds", lambda: succeeds(LIVENESS), 10)
        failed, said = kubelet("probe", "grpc", SERVER, "no.such.Service", "1s")
        self.report.expect("a probe of an unknown service fails", not failed, detail=said[:80])
        admin = self.variables["AUTHZ_ADMIN"]
        for path in ("/healthz", "/readyz"):
            self.wait(f"kubelet's probe of {path}", lambda path=path: kubelet("probe", "http", admin, path, "1s")[0], 30)
        (self.server,) = children(int(pid_file.read_text()))
        self.report.expect("a good token is let in, none is not", (self.asks(), check(SERVER, PETS)), (0, 401))

    def is_restricted(self) -> None:
        """Look at what the process may do."""
        lines = Path(f"/proc/{self.server}/status").read_text().splitlines()
        status = {name: value.split() for name, _, value in (line.partition(":\t") for line in lines)}
        self.report.expect("it is PID 1", status["NSpid"][-1], "1")
        self.report.expect("it is user 65532", (status["Uid"][0], status["Gid"][0], status["Groups"]), ("65532", "65532", []))
        found = (status["CapEff"], status["CapBnd"], status["NoNewPrivs"])
        self.report.expect("it has no capabilities", found, ([NO_CAPABILITIES], [NO_CAPABILITIES], ["1"]))
        written = self.inside(LOOK_AROUND)
        self.report.expect("it can write nowhere", written.count("Read-only"), 2)
        self.report.expect("but to its state directory", bool(re.search(r" 65532 +65532 .*/var/lib/authz-server/keys", written)))
        sizes = [Path(f"/proc/{each}/status").read_text() for each in (self.server, *children(self.server))]
        print("    resident MiB:", [int(re.findall(r"VmRSS:\s+(\d+)", size)[0]) // 1024 for size in sizes])

    def inside(self, command: str) -> str:
        """Execute something in the container, as root."""
        entered = ["nsenter", "-t", str(self.server), "-m", "-p", "chroot", f"/proc/{self.server}/root", "sh", "-c", command]
        return subprocess.run(entered, capture_output=True, text=True, check=False).stdout

    def reaps_orphans(self) -> None:
        """Leave an orphan behind, as exec probes and `kubectl exec` do; it becomes a child of PID 1."""

        def zombies() -> list[int]:
            stats = [Path(f"/proc/{each}/stat").read_text() for each in children(self.server)]
            return [int(each.split()[0]) for each in stats if each.rpartition(")")[2].split()[0] == "Z"]

        self.inside("(sleep 0.3; exit 0) & exit 0")
        time.sleep(1)
        self.wait("PID 1 leaves no zombie", lambda: not zombies(), 10)

    def takes_edits(self) -> None:
        """Edit the ConfigMap well and badly."""
        changed = self.text.replace("/pets/{petId}:", "/dogs/{dogId}:")
        self.report.expect("a route is not there", self.asks("/prod/dogs/1"), 403)
        self.project("new.yaml", changed)
        self.wait("an edit is in force", lambda: self.asks("/prod/dogs/1") == 0, 30)
        self.project("bad.yaml", self.text.replace("authorizer: users", "authorizer: nobody"))
        self.wait("the metrics tell of a bad one", lambda: 0.0 in self.reloads(), 30)
        self.report.expect("the old one stays", self.asks("/prod/dogs/1"), 0)
        lines = [line for line in (self.work / "log").read_text().splitlines() if "nobody" in line]
        self.report.expect(
            "the log names file and line", any("authz.yaml:" in line for line in lines), detail=lines[0][:120] if lines else ""
        )
        self.project("good.yaml", self.text)
        self.wait("a good one again", lambda: self.reloads() == {1.0} and self.asks("/prod/pets/1") == 0, 30)

    def ends(self) -> None:
        """Send SIGTERM, and go on asking."""
        drain, grace = (float(self.variables[f"AUTHZ_{name}_SECONDS"]) for name in ("DRAIN", "GRACE"))
        allowed = POD["terminationGracePeriodSeconds"]
        began, stop = time.monotonic(), threading.Event()
        answers: list[tuple[float, int]] = []

        def go_on() -> None:
            while not stop.is_set():
                answers.append((time.monotonic() - began, self.asks()))
                time.sleep(0.1)

        os.kill(self.server, signal.SIGTERM)
        asking = threading.Thread(target=go_on)
        asking.start()
        gone = self.wait("SIGTERM: readiness is lost", lambda: not succeeds(READINESS), drain)
        self.report.expect("liveness is not", succeeds(LIVENESS))
        noticed = gone + READINESS["failureThreshold"] * (READINESS["periodSeconds"] + READINESS["timeoutSeconds"])
        self.report.expect("kubelet notices within the drain", noticed < drain, detail=f"{noticed:.1f} of {drain:g} s")
        status = self.runtime.wait(allowed)
        took = time.monotonic() - began
        stop.set()
        asking.join()
        self.report.expect("it ends with 0", status, 0)
        self.report.expect("in time", took < allowed - grace, detail=f"{took:.1f} of {allowed} s")
        early = [answer for at, answer in answers if at < drain - 1]
        self.report.expect("every check was answered while it drained", set(early) == {0}, detail=f"{len(early)} checks")

    def goes_through(self) -> None:
        """Do all of it."""
        self.comes_up()
        if self.report.failed:
            self.runtime.terminate()
            return
        self.is_restricted()
        self.takes_edits()
        self.reaps_orphans()
        self.ends()


def main(image: str, folder: str, transport: str, workers: str) -> int:
    """Run one container."""
    print(f"-- {transport}, --workers {workers}")
    report = Report()
    pod = Pod(report, image, Path(folder).resolve(), transport, workers)
    pod.goes_through()
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
