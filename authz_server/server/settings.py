"""How a server runs, as its flags say."""

from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Literal

from authz_server.engine.revoked import Place
from authz_server.transport.sockets import SocketAccess
from authz_server.transport.tls import TlsFiles

Transport = Literal["grpcio", "asyncio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server runs.

    Args:
        config: the configuration file.
        listen: addresses of the gRPC port, `host:port` or `unix:///path`.
        tls: where the credentials of the gRPC port stand, or None for plaintext.
        clients: names of which a client's certificate must have one; () is any certificate.
        unix_sockets: who may connect to those of `listen`.
        admin: address of the admin port, or None.
        transport: which door.
        cpu: place of the CPU that the threads of the grpcio door keep to, or None for any.
        max_checks: how many may be in progress, or None for what suits the transport.
        cache_bytes: memory for verdicts about good tokens; 0 decides each check anew.
        drain_seconds: between "not serving" and the end of new calls, for proxies to notice.
        grace_seconds: for calls in flight to finish.
        state_dir: where key sets are kept for the next start, or None.
        checks_state_dir_parents: whether what stands above it must be closed to others.
        revocations: where the list of refused tokens is, or None.
        supervisor: the link to it, when this server is one of several workers.
        worker: which of them, from 0; the first one tells what is the same for all.
        workers: how many there are.
    """

    config: Path
    listen: tuple[str, ...]
    tls: TlsFiles | None
    clients: tuple[str, ...]
    unix_sockets: SocketAccess
    admin: str | None
    transport: Transport
    cpu: int | None
    max_checks: int | None
    cache_bytes: int
    drain_seconds: float
    grace_seconds: float
    state_dir: Path | None = None
    checks_state_dir_parents: bool = True
    revocations: Place | None = None
    supervisor: socket | None = None
    worker: int = 0
    workers: int = 1
