"""What stands around a deployed server: a user pool, an upstream that shows what reaches it, and tokens of a day.

    python -m tests.kube.lab FOLDER

writes FOLDER/authz.yaml (deploy/kubernetes/authz.yaml with this pool in it), FOLDER/tokens.json and FOLDER/ports.json, then serves on loopback until SIGTERM.
"""

import json
import signal
import sys
import threading
import time
from pathlib import Path

import yaml

from authz_server.demo.upstream import Upstream
from authz_server.testing import LocalCognito, UserPool

SAMPLE = Path("deploy/kubernetes/authz.yaml")
DAY = 86_400


def tokens(pool: UserPool) -> dict[str, str]:
    """Mint the tokens that the proofs send."""
    tomorrow = int(time.time()) + DAY
    return {
        "id": pool.id_token(exp=tomorrow),
        "write": pool.access_token(scope="pets/write", exp=tomorrow),
        "read": pool.access_token(scope="pets/read", exp=tomorrow),
        "expired": pool.id_token(exp=1_700_000_000),
        "forged": UserPool(pool.id).id_token(exp=tomorrow),
        "sub": pool.users["ada"].sub,
    }


def main(folder: Path) -> None:
    """Write the files, and serve."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = UserPool("eu-west-1_Local0001")
    pool.add_user("ada", groups=["admins"], attributes={"email": "ada@example.com", "email_verified": True})
    pool.add_client("web", scopes=["pets/read", "pets/write"])
    cognito, upstream = LocalCognito(pool), Upstream()
    configuration = yaml.safe_load(SAMPLE.read_text())
    configuration["authorizers"]["users"]["provider_arns"] = [pool.arn]
    configuration["user_pools"] = {pool.id: {"jwks_uri": cognito.jwks_uri(pool)}}
    (folder / "authz.yaml").write_text(yaml.safe_dump(configuration, sort_keys=False))
    (folder / "tokens.json").write_text(json.dumps(tokens(pool)))
    (folder / "ports.json").write_text(json.dumps({"upstream": upstream.port}))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    print("up", flush=True)
    ended.wait()
    upstream.close()
    cognito.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
