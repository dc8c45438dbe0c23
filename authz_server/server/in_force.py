"""What is in force: one line for people who expect a protection, and would not see that it is missing."""

import math

from authz_server.server.settings import Settings


def in_force(settings: Settings) -> str:
    """Say which protections and parts a server runs with, those that are missing included; it holds no secret."""
    workers = "1 worker" if settings.workers == 1 else f"{settings.workers} workers"
    parts = (
        _encryption(settings),
        _clients(settings),
        _revocations(settings),
        _state(settings),
        f"transport {settings.transport}",
        workers,
    )
    return "; ".join(parts)


def _encryption(settings: Settings) -> str:
    if settings.tls is None:
        return "no TLS"
    return "TLS" if settings.tls.client_ca is None else "mutual TLS"


def _clients(settings: Settings) -> str:
    """Say who may ask; a Unix socket has permissions, too."""
    sockets = any(address.startswith("unix:") for address in settings.listen)
    mode = f" (socket mode {settings.unix_sockets.mode:04o})" if sockets else ""
    if settings.clients:
        return f"clients {', '.join(settings.clients)}{mode}"
    if settings.tls is not None and settings.tls.client_ca is not None:
        return f"any client with a certificate of {settings.tls.client_ca}{mode}"
    return f"any client{mode}"


def _revocations(settings: Settings) -> str:
    place = settings.revocations
    if place is None:
        return "no revocations"
    return f"revocations in {place}" + ("" if place.max_age == math.inf else f", {place.max_age:g} s old at most")


def _state(settings: Settings) -> str:
    if settings.state_dir is None:
        return "no state directory"
    return f"state directory {settings.state_dir}" + ("" if settings.checks_state_dir_parents else " (parents trusted)")
