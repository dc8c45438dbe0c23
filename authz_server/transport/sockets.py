"""Listening sockets: TCP ports and Unix paths that nobody else listens on."""

import contextlib
import socket
import stat
from pathlib import Path

from authz_server.transport.door import ListenError


def bound(address: str, backlog: int) -> socket.socket:
    """Listen on an address.

    Args:
        address: `host:port` or `unix:///path`.
        backlog: connections that may wait to be accepted.

    Returns:
        A listening socket.

    Raises:
        ListenError: when the address is taken, or none of this machine.
    """
    with contextlib.ExitStack() as opening:
        try:
            if address.startswith("unix:"):
                path = free_path(address)
                listening = opening.enter_context(socket.socket(socket.AF_UNIX))
                listening.bind(path)
            else:
                host, _, port = address.rpartition(":")
                family, kind, _, _, place = socket.getaddrinfo(
                    host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
                )[0]
                listening = opening.enter_context(socket.socket(family, kind))
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT, never one that is listened on
                listening.bind(place)
            listening.listen(backlog)
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {error.strerror}") from error
        listening.setblocking(False)  # noqa: FBT003 - the socket module's signature
        opening.pop_all()
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
