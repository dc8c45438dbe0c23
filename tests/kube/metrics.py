"""Do the alerts of deploy/prometheus see what running servers export?

    python -m tests.kube.metrics FOLDER

Starts the server four times (both transports, one and two workers), lets faults loose on it, has a real Prometheus scrape it and evaluate the alerts (with `for: 0s`), and prints
in how many of the four each selector of each alert found series, and which alerts fired. Takes two minutes, 700 MiB. Fails when a metric of an alert is not exported where
it should be, when an exported one is not documented, or when a fault that was provoked is not told.
"""

import base64
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import yaml

from authz_server.demo.process import Process, free_port
from authz_server.testing import LocalCognito, UserPool
from authz_server.testing.local_cognito import Fault
from tests.authority import Authority
from tests.kube.deployment import METHOD, check_request, children
from tests.kube.proof import PETS, Report, fetch, is_ready, wait_until

SELECTOR = re.compile(r"\b(authz_[a-z_]+)(\{[^}]*\})?")
WINDOW = "3m"
SECONDS = 100  # long enough for a pool's refresh, for its stale ceiling, and for a list of revocations that is a minute old
CEILING = 60
RUNS = [(transport, workers) for transport in ("grpcio", "asyncio") for workers in (1, 2)]
EVERYWHERE = {
    "AuthzKeysUnavailable",
    "AuthzKeyFetchesFail",
    "AuthzUnseenKids",
    "AuthzChecksWaitForKeys",
    "AuthzKeysSkipped",
    "AuthzStateDirectoryFails",
    "AuthzCertificateRefused",
    "AuthzUnavailable",
    "AuthzRevocationsStale",
    "AuthzWatchStuck",
    "AuthzConfigurationRefused",
    "AuthzAuthorizerUnknown",
}


def token_of_another_key(pool: UserPool) -> str:
    """Write a token with a kid of its own; nobody gets as far as its signature."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    header = part({"alg": "RS256", "kid": secrets.token_hex(8)})
    return f"{header}.{part(pool.id_claims())}.{'A' * 342}"


class Server:
    """A server with everything on that has metrics, in a folder of its own.

    Args:
        folder: it writes there.
        transport: of the server.
        workers: of the server.
        configuration: the text of its file.
        authority: issues its certificate.
    """

    def __init__(self, folder: Path, transport: str, workers: int, configuration: str, authority: Authority) -> None:
        folder.mkdir(parents=True)
        self.folder, self.job, self.workers, self.authority = folder, f"{transport}-{workers}", workers, authority
        self.config, self.revocations = folder / "authz.yaml", folder / "revocations.txt"
        self.config.write_text(configuration)
        self.revocations.write_text("sub=nobody\n")
        authority.server(days=3).write(folder)
        self.port, self.admin = free_port(), free_port()
        options = {
            "config": self.config,
            "transport": transport,
            "workers": workers,
            "listen": f"127.0.0.1:{self.port}",
            "admin": self.admin,
            "tls-cert": folder / "tls.crt",
            "tls-key": folder / "tls.key",
            "revocations": self.revocations,
            "state-dir": folder / "keys",
            "max-checks-in-progress": 2,
            "drain-seconds": 0,
            "decision-log": "off",
        }
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        self.process = Process([sys.executable, "-P", "-m", "authz_server", "serve", *flags], log=folder / "log")

    def url(self, path: str) -> str:
        """Name something of the admin port."""
        return f"http://127.0.0.1:{self.admin}{path}"

    def flood(self, requests: list[bytes]) -> None:
        """Ask some checks, all at once."""
        ports = [self.port + number for number in range(self.workers)]
        secret = grpc.ssl_channel_credentials(self.authority.certificate)
        own = [("grpc.use_local_subchannel_pool", 1)]
        with ExitStack() as stack, ThreadPoolExecutor(16) as threads:
            channels = [stack.enter_context(grpc.secure_channel(f"localhost:{port}", secret, own)) for port in ports for _ in range(4)]
            calls = [channel.unary_unary(METHOD) for channel in channels]

            def ask(number: int) -> None:
                with suppress(grpc.RpcError):
                    calls[number % len(calls)](requests[number], timeout=10)

            list(threads.map(ask, range(len(requests))))

    def break_everything(self) -> None:
        """Give it a bad configuration, a bad list of revocations, a bad certificate and no state directory, and have it fetch keys."""
        self.config.write_text("version: 1\nnonsense: true\n")
        self.revocations.write_text("nonsense\n")
        (self.folder / "tls.crt").write_text("nonsense")
        shutil.rmtree(self.folder / "keys")
        (self.folder / "keys").write_text("not a directory")
        self.process.send(signal.SIGHUP)

    def kill_a_worker(self) -> None:
        """End one of its workers."""
        found = [each for each in children(self.process.pid) if "--worker" in Path(f"/proc/{each}/cmdline").read_text()]
        for each in found[:1]:
            os.kill(each, signal.SIGKILL)


class Prometheus:
    """A real one that scrapes servers, each as a job of its own.

    Args:
        folder: it writes there.
        servers: to scrape.
        rules: alerts, as they stand in their file.
    """

    def __init__(self, folder: Path, servers: list[Server], rules: dict[str, Any]) -> None:
        (folder / "alerts.yaml").write_text(yaml.safe_dump(rules))
        jobs = [{"job_name": each.job, "static_configs": [{"targets": [f"127.0.0.1:{each.admin}"]}]} for each in servers]
        settings = {"scrape_interval": "1s", "evaluation_interval": "2s"}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump({"global": settings, "rule_files": ["alerts.yaml"], "scrape_configs": jobs}))
        self.port = free_port()
        places = [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/tsdb"]
        self.process = Process(["prometheus", *places, f"--web.listen-address=127.0.0.1:{self.port}"], log=folder / "prometheus.log")

    def query(self, text: str) -> list[dict[str, str]]:
        """Ask it; the labels of each series."""
        answer = fetch(f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": text}))
        return [each["metric"] for each in json.loads(answer)["data"]["result"]]

    def fired(self) -> dict[str, set[str]]:
        """Find the alerts that fired, and for which jobs."""
        found: dict[str, set[str]] = defaultdict(set)
        for labels in self.query(f'max_over_time(ALERTS{{alertstate="firing"}}[{WINDOW}])'):
            found[labels["alertname"]].add(labels.get("job", ""))
        return found


def family(name: str) -> str:
    """Name the metric that a series belongs to, as `# TYPE` does."""
    return name.removesuffix("_bucket")


def alerts_without_patience() -> dict[str, Any]:
    """Read the alerts, each of which fires at once."""
    rules = yaml.safe_load(Path("deploy/prometheus/alerts.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["for"] = "0s"
    return rules


def restart_workers(servers: list[Server]) -> None:
    """End workers three times, while their configuration is still good, and wait until all are back."""
    with_workers = [server for server in servers if server.workers > 1]
    for _ in range(3):
        for server in with_workers:
            server.kill_a_worker()
        time.sleep(5)
        wait_until("the workers", lambda: all(f"authz_workers {each.workers}" in fetch(each.url("/metrics")) for each in with_workers), 60)


def look(report: Report, prometheus: Prometheus, servers: list[Server]) -> None:
    """Compare alerts, exported metrics and documented ones."""
    texts = {each.job: fetch(each.url("/metrics")) for each in servers}
    exported = {job: set(re.findall(r"^# TYPE (authz_\w+) ", text, re.MULTILINE)) for job, text in texts.items()}
    of_supervisors = {"authz_worker_restarts_total", "authz_workers"}
    fired = prometheus.fired()
    for rule in [rule for group in alerts_without_patience()["groups"] for rule in group["rules"]]:
        found = []
        for name, labels in sorted(set(SELECTOR.findall(rule["expr"]))):
            jobs = {each["job"] for each in prometheus.query(f"count by (job) (last_over_time({name}{labels}[{WINDOW}]))")}
            found.append(f"{name}{labels} {len(jobs)}/4")
            wanted = {job for job, names in exported.items() if job.endswith("-2") or name not in of_supervisors}
            report.failed += [f"{rule['alert']}: {name} of {job}" for job in wanted if family(name) not in exported[job]]
        print(f"{rule['alert']:26} fired {len(fired[rule['alert']])}/4   {'; '.join(found)}")
    for alert in sorted(EVERYWHERE):
        report.expect(f"{alert} fires for each", len(fired[alert]), len(servers))
    report.expect("AuthzWorkersRestart fires for each with workers", len(fired["AuthzWorkersRestart"]), 2)
    documented = set(re.findall(r"^\| `(authz_\w+)`", Path("docs/metrics.md").read_text(), re.MULTILINE))
    for job, names in exported.items():
        report.expect(f"{job} exports nothing that is not documented", names - documented, set())


def main(folder: Path) -> int:
    """Run it."""
    folder.mkdir(parents=True)
    report = Report()
    good, stale, skipped, dead = (UserPool(f"eu-west-1_{name}") for name in ("Good00001", "Stale0001", "Skipped01", "Dead00001"))
    with ExitStack() as stack:
        cognito = LocalCognito(good, stale, skipped)
        stack.callback(cognito.close)
        keys = json.loads(fetch(cognito.jwks_uri(skipped)))
        keys["keys"].append({**keys["keys"][0], "kid": "other", "alg": "RS512"})
        cognito.faults[skipped.id] = Fault(body=json.dumps(keys).encode())
        configuration = yaml.safe_load(Path("deploy/kubernetes/authz.yaml").read_text())
        configuration["authorizers"]["users"]["provider_arns"] = [pool.arn for pool in (good, stale, skipped, dead)]
        configuration["user_pools"] = {pool.id: {"jwks_uri": cognito.jwks_uri(pool)} for pool in (good, stale, skipped)}
        configuration["user_pools"][dead.id] = {"jwks_uri": f"http://127.0.0.1:{free_port()}/jwks.json"}
        configuration["user_pools"][stale.id]["stale_ceiling_in_seconds"] = CEILING
        authority, text = Authority(), yaml.safe_dump(configuration)
        servers = [Server(folder / f"{transport}-{workers}", transport, workers, text, authority) for transport, workers in RUNS]
        for server in servers:
            stack.enter_context(server.process)
        wait_until("the servers", lambda: all(is_ready(each.url("/readyz")) for each in servers), 120)
        prometheus = Prometheus(folder, servers, alerts_without_patience())
        stack.enter_context(prometheus.process)
        wait_until("Prometheus", lambda: len(prometheus.query("up == 1")) == len(servers), 60)
        restart_workers(servers)
        cognito.faults[stale.id] = Fault(status=500)
        for server in servers:
            server.break_everything()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for server in servers:
                checks = [check_request(PETS, token_of_another_key(pool)) for pool in (good, dead) for _ in range(150)]
                checks += [check_request(PETS, context={"api": "nowhere"})] * 20
                checks += [check_request(PETS, stale.id_token())] * 10 + [check_request(PETS, good.id_token())] * 50
                server.flood(checks)
            time.sleep(1)
        look(report, prometheus, servers)
    return report.exit_status()


if __name__ == "__main__":
    subprocess.run(["prometheus", "--version"], check=True, capture_output=True)  # else before anything is started
    sys.exit(main(Path(sys.argv[1]).resolve()))
