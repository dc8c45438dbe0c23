"""What is in force: the line that a server begins with."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from authz_server.engine.revoked import Place
from authz_server.server.in_force import in_force
from authz_server.server.settings import Settings
from authz_server.transport.sockets import SocketAccess
from authz_server.transport.tls import TlsFiles

OPEN = Settings(
    config=Path("authz.yaml"),
    listen=("127.0.0.1:9000",),
    tls=None,
    clients=(),
    unix_sockets=SocketAccess(),
    admin=None,
    transport="grpcio",
    cpu=None,
    max_checks=None,
    cache_bytes=0,
    drain_seconds=0,
    grace_seconds=0,
)
TLS = TlsFiles(certificate=Path("cert.pem"), key=Path("key.pem"), client_ca=None)
MUTUAL = replace(TLS, client_ca=Path("ca.pem"))


def test_what_is_missing_is_said():
    """Whoever expects a protection sees that it is not there."""
    assert in_force(OPEN) == "no TLS; any client; no revocations; no state directory; transport grpcio; 1 worker"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tls": TLS}, "TLS; any client; "),
        ({"tls": MUTUAL}, "mutual TLS; any client with a certificate of ca.pem; "),
        ({"tls": MUTUAL, "clients": ("envoy.test", "spiffe://a/b")}, "mutual TLS; clients envoy.test, spiffe://a/b; "),
        ({"listen": ("unix:///run/a.sock",)}, "no TLS; any client (socket mode 0660); "),
        ({"revocations": Place(where="/etc/revoked")}, "; revocations in /etc/revoked; "),
        (
            {"revocations": Place(where="rediss://u:s3cret@r:7/0?x=s3cret", max_age=60)},
            "; revocations in rediss://r:7, 60 s old at most; ",
        ),
        ({"revocations": Place(where="unix://u:s3cret@/run/r.sock", max_age=math.inf)}, "; revocations in unix:///run/r.sock; "),
        ({"state_dir": Path("/var/keys")}, "; state directory /var/keys; "),
        ({"state_dir": Path("/var/keys"), "checks_state_dir_parents": False}, "; state directory /var/keys (parents trusted); "),
        ({"transport": "asyncio", "workers": 4}, "; transport asyncio; 4 workers"),
    ],
)
def test_what_is_in_force_is_said_without_secrets(changes, said):
    """Encryption, who may ask, revocations, keys on disk, transport and workers."""
    assert said in in_force(replace(OPEN, **changes))
    assert "s3cret" not in in_force(replace(OPEN, **changes))
