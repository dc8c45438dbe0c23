"""Do kubelet's probes reach the server with the variables of deploy/kubernetes on a machine with IPv4, IPv6 and both?

    unshare -n python -m tests.kube.addresses FOLDER FAMILIES

FOLDER is the lab's. FAMILIES is `IPv4`, `IPv6` or `IPv4+IPv6`: those that loopback gets in this network namespace, which is its own. Needs `kubelet` of build.sh in $BIN.
"""

import subprocess
import sys
from pathlib import Path

from authz_server.demo.process import authz_server
from tests.kube.deployment import environment
from tests.kube.pod import kubelet
from tests.kube.proof import Report, wait_until

LOOPBACK = {"IPv4": "127.0.0.1", "IPv6": "[::1]"}
SWITCH = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")


def main(folder: Path, families: str) -> int:
    """Run a server with the Deployment's addresses."""
    report = Report()
    if "IPv6" not in families:
        SWITCH.write_text("1")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    if "IPv4" not in families:
        subprocess.run(["ip", "address", "del", "127.0.0.1/8", "dev", "lo"], check=True)
    variables = environment()
    given = {name: variables[name] for name in ("AUTHZ_LISTEN", "AUTHZ_ADMIN")}
    for transport in ("grpcio", "asyncio"):
        arguments = ("serve", "--config", str(folder / "authz.yaml"), "--transport", transport, "--drain-seconds", "0")
        with authz_server(*arguments, log=folder / f"addresses-{families}-{transport}.log", environment=given) as server:
            server.wait_until(lambda: any(kubelet("probe", "grpc", f"{each}:9000", "liveness", "1s")[0] for each in LOOPBACK.values()), 60)
            for family, host in LOOPBACK.items():
                wanted = family in families
                if wanted:
                    wait_until("the admin port", lambda host=host: kubelet("probe", "http", f"{host}:9001", "/healthz", "1s")[0], 30)
                found = [
                    kubelet("probe", "grpc", f"{host}:9000", "liveness", "1s")[0],
                    kubelet("probe", "http", f"{host}:9001", "/healthz", "1s")[0],
                ]
                report.expect(f"{families}, {transport}: probes over {family} succeed", found, [wanted, wanted])
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2]))
