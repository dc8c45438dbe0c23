"""Does AuthzCertificateExpires fire when docs/operations.md says, also when the configuration is edited meanwhile?

    python -m tests.kube.certificate_alert FOLDER

FOLDER is the lab's. Gives a server a certificate whose last fifth begins soon, edits its configuration, and has a real Prometheus evaluate the alert.
"""

import json
import sys
import time
import urllib.parse
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import yaml
from cryptography import x509

from authz_server.demo.process import Process, authz_server, free_port
from tests.authority import Authority
from tests.kube.proof import Report, fetch, is_ready, wait_until

DAY, UNTIL_LAST_FIFTH = 86_400, 40


def days() -> float:
    """Choose when the certificate ends: it began a day ago, so that its last fifth begins in a moment."""
    return (DAY + 5 * UNTIL_LAST_FIFTH) / 4 / DAY


def main(folder: Path) -> int:
    """Run it."""
    report, work = Report(), folder / "certificate"
    work.mkdir(exist_ok=True)
    pair = Authority().server(days=days()).write(work)
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    ends, began = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    last_fifth = ends - (ends - began) / 5
    config = work / "authz.yaml"
    config.write_text((folder / "authz.yaml").read_text())
    port, admin, prometheus = free_port(), free_port(), free_port()
    (work / "prometheus.yaml").write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(Path("deploy/prometheus/alerts.yaml").resolve())],
                "scrape_configs": [{"job_name": "authz", "static_configs": [{"targets": [f"127.0.0.1:{admin}"]}]}],
            }
        )
    )
    scrape = ["prometheus", f"--config.file={work}/prometheus.yaml", f"--storage.tsdb.path={work}/tsdb-{admin}"]
    serving = ("serve", "--config", str(config), "--listen", f"127.0.0.1:{port}", "--admin", str(admin), "--drain-seconds", "0")

    def fires() -> bool:
        query = urllib.parse.urlencode({"query": 'ALERTS{alertname="AuthzCertificateExpires", alertstate="firing"}'})
        return bool(json.loads(fetch(f"http://127.0.0.1:{prometheus}/api/v1/query?{query}"))["data"]["result"])

    with ExitStack() as stack:
        tls = ("--tls-cert", str(work / "tls.crt"), "--tls-key", str(work / "tls.key"))
        server = stack.enter_context(authz_server(*serving, *tls, log=work / "log"))
        server.wait_until(lambda: is_ready(f"http://127.0.0.1:{admin}/readyz"), 60)
        stack.enter_context(Process([*scrape, f"--web.listen-address=127.0.0.1:{prometheus}"], log=work / "prometheus.log"))
        wait_until("Prometheus", lambda: not fires(), 60)
        config.write_text(config.read_text() + "\n# edited\n")
        wait_until("the reload", lambda: "authz_configuration_generation 2" in fetch(f"http://127.0.0.1:{admin}/metrics"), 60)
        left = (last_fifth - datetime.now(UTC)).total_seconds()
        report.expect(
            "it does not fire while more than a fifth of the lifetime is left", left > 0 and not fires(), detail=f"{left:.0f} s more"
        )
        time.sleep(max(left, 0))
        took = wait_until("the alert", fires, 60)
        report.expect("it fires in the last fifth, though the configuration was edited", detail=f"{took:.1f} s after it began", value=True)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
