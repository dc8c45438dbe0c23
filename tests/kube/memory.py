"""Is the memory limit of deploy/kubernetes enough for a full cache, and for a reload on top of it?

    python -m tests.kube.memory IMAGE FOLDER TRANSPORT

FOLDER is the lab's. Runs the image in a memory cgroup (version 1) with the Deployment's limit, and asks 144,000 different things about 12,000 tokens, which is more than
the default of --cache-mib holds. Needs root and buildah; takes a minute.
"""

import os
import re
import signal
import sys
import time
from pathlib import Path

import grpc
import yaml

from authz_server.testing import LocalCognito, UserPool
from tests.kube.deployment import METHOD, POD, check_request, children, environment, start
from tests.kube.proof import Report, fetch, is_ready, wait_until

HOST, KINDS, TOKENS, BATCH, CHANNELS = "127.0.0.92", 12, 12_000, 200, 8
GROUP = Path("/sys/fs/cgroup/memory/authz-server-proof")
ADMIN = f"http://{HOST}:9001"


def configuration(pool: UserPool, cognito: LocalCognito) -> str:
    """Write the sample's configuration, with routes of different scopes so that each of them is a decision of its own."""
    sample = yaml.safe_load(Path("deploy/kubernetes/authz.yaml").read_text())
    sample["authorizers"]["users"]["provider_arns"] = [pool.arn]
    sample["user_pools"] = {pool.id: {"jwks_uri": cognito.jwks_uri(pool)}}
    sample["apis"]["petstore"]["routes"] = {
        f"/r{kind}": {"GET": {"authorizer": "users", "authorization_scopes": ["pets/write", f"x/{kind}"]}} for kind in range(KINDS)
    }
    return yaml.safe_dump(sample)


def fill(pool: UserPool) -> int:
    """Ask everything; how many checks got no answer."""
    every = [pool.access_token(scope="pets/write") for _ in range(TOKENS)]
    channels = [grpc.insecure_channel(f"{HOST}:9000", [("grpc.use_local_subchannel_pool", 1)]) for _ in range(CHANNELS)]
    calls = [channel.unary_unary(METHOD) for channel in channels]
    missing = 0
    for kind in range(KINDS):
        for start_at in range(0, TOKENS, BATCH):
            some = enumerate(every[start_at : start_at + BATCH])
            asked = [calls[number % CHANNELS].future(check_request(f"/prod/r{kind}", token), timeout=60) for number, token in some]
            missing += sum(each.exception() is not None for each in asked)
    return missing


def usage() -> str:
    """Read what the group uses."""
    now, most = (int((GROUP / f"memory.{name}").read_text()) >> 20 for name in ("usage_in_bytes", "max_usage_in_bytes"))
    return f"{now} MiB, {most} at most; the limit was reached {(GROUP / 'memory.failcnt').read_text().strip()} times"


def main(image: str, folder: Path, transport: str) -> int:
    """Run one container."""
    report, pool = Report(), UserPool("eu-west-1_Local0001")
    pool.add_user("ada")
    cognito, volume, pid_file = LocalCognito(pool), folder / "memory", folder / "memory.pid"
    volume.mkdir(exist_ok=True)
    (volume / "authz.yaml").write_text(configuration(pool, cognito))
    (container,) = POD["containers"]
    GROUP.mkdir(exist_ok=True)
    (GROUP / "memory.limit_in_bytes").write_text(str(int(container["resources"]["limits"]["memory"].removesuffix("Mi")) << 20))
    variables = {**environment(HOST), "AUTHZ_TRANSPORT": transport, "AUTHZ_DRAIN_SECONDS": "0", "AUTHZ_DECISION_LOG": "off"}
    joined = ["sh", "-c", f'echo $$ > {GROUP}/cgroup.procs; exec "$@"', "sh"]
    runtime = start(image, volume, pid_file, variables, folder / "memory.log", before=joined)
    wait_until("the server", lambda: is_ready(f"{ADMIN}/readyz"), 60)
    print(f"-- {transport}, ready: {usage()}")
    report.expect("checks without an answer", fill(pool), 0)
    print(f"    full: {usage()}", re.findall(r'^authz_\w+{decision="allow"} \S+', fetch(f"{ADMIN}/metrics"), re.MULTILINE))
    (volume / "authz.yaml").write_text((volume / "authz.yaml").read_text() + "\n# edited\n")
    wait_until("the reload", lambda: "authz_configuration_generation 2" in fetch(f"{ADMIN}/metrics"), 60)
    print(f"    after a reload: {usage()}")
    report.expect("it still runs", runtime.poll() is None)
    for each in children(int(pid_file.read_text())):
        os.kill(each, signal.SIGTERM)
    report.expect("it ends with 0", runtime.wait(60), 0)
    time.sleep(1)
    GROUP.rmdir()
    cognito.close()
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]).resolve(), sys.argv[3]))
