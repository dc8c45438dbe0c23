"""Listening sockets: TCP ports and Unix paths that nobody else listens on."""

import contextlib
import errno
import socket
import stat
from pathlib import Path
from typing import Any, Final

from authz_server.transport.door import ListenError

_ABSENT: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # as ::1 of localhost is on a machine without IPv6


def bound(address: str, backlog: int) -> list[socket.socket]:
    """Listen on an address.

    Args:
        address: `host:port` or `unix:///path`.
        backlog: connections that may wait to be accepted.

    Returns:
        Listening sockets, one for each address that the host's name has on this machine.

    Raises:
        ListenError: when the address is taken, or none of this machine.
    """
    listening: list[socket.socket] = []
    absent: OSError | None = None
    with contextlib.ExitStack() as opening:
        try:
            for family, place in _places(address):
                try:
                    listening.append(opening.enter_context(_listening(family, place, backlog)))
                except OSError as error:
                    if error.errno not in _ABSENT:
                        raise
                    absent = error
            if not listening and absent is not None:
                raise absent
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from error
        opening.pop_all()
    return listening


def _places(address: str) -> list[tuple[int, Any]]:
    if address.startswith("unix:"):
        return [(socket.AF_UNIX, free_path(address))]
    host, _, port = address.rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [(family, place) for family, _, _, _, place in found]


def _listening(family: int, place: Any, backlog: int) -> socket.socket:
    listening = socket.socket(family)
    try:
        if family != socket.AF_UNIX:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT, never one that is listened on
        listening.bind(place)
        listening.listen(backlog)
        listening.setblocking(False)  # noqa: FBT003 - the socket module's signature
    except OSError:
        listening.close()
        raise
    return listening


def free_path(address: str) -> str:
    """Remove a socket that nobody listens on; two servers on one path would silently orphan the first.

    Args:
        address: `unix:///path`.

    Returns:
        The path.

    Raises:
        ListenError: when another process listens there, or the file is no socket.
    """
    path = address.removeprefix("unix:").removeprefix("//")
    file = Path(path)
    try:
        if not stat.S_ISSOCK(file.stat().st_mode):
            raise ListenError(f"cannot listen on {address}: a file that is no socket stands there")
    except FileNotFoundError:
        return path
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            file.unlink(missing_ok=True)
            return path
    raise ListenError(f"cannot listen on {address}: another process does")
