"""Listening sockets: TCP ports, and Unix paths that nobody else listens on."""

import contextlib
import errno
import fcntl
import os
import resource
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from authz_server.transport import addresses
from authz_server.transport.door import ListenError

LOCK_TRIES: Final = 50  # of a folder in which another server begins to listen, which takes a moment
LOCK_PAUSE_SECONDS: Final = 0.02

_GONE: Final = {errno.ECONNREFUSED, errno.ENOENT}  # what a client of a socket hears that nobody listens on
_NOBODY: Final = 0o777  # masks every right
_UNCHANGED: Final = -1  # to chown


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketAccess:
    """Who may connect to a Unix socket: whoever may write to it.

    Args:
        mode: its permissions.
        owner: number of its user; None is this process's.
        group: number of its group; None is this process's, or the folder's if that hands down its own.
    """

    mode: int = 0o660
    owner: int | None = None
    group: int | None = None


PRIVATE: Final = SocketAccess()


def bound(address: str, backlog: int, access: SocketAccess) -> list[socket.socket]:
    """Listen on an address.

    Args:
        address: `host:port`, see `addresses`, or `unix:///path`.
        backlog: connections that may wait to be accepted.
        access: who may connect to a Unix socket.

    Returns:
        Listening sockets, one for each address that the host has on this machine.

    Raises:
        ListenError: when the address is taken, or none of this machine.
    """
    with contextlib.ExitStack() as opening:
        with guarded(address, access):
            listening = [opening.enter_context(each) for each in _opened(address)]
            try:
                for each in listening:
                    each.listen(backlog)
                    each.setblocking(False)  # noqa: FBT003 - the socket module's signature
            except OSError as error:
                raise ListenError(f"cannot listen on {address}: {error.strerror}") from error
        opening.pop_all()
    return listening


def _opened(address: str) -> list[socket.socket]:
    return [_unix(address)] if address.startswith("unix:") else addresses.bound(address)


def _unix(address: str) -> socket.socket:
    with contextlib.ExitStack() as opening:
        opened = opening.enter_context(socket.socket(socket.AF_UNIX))
        try:
            opened.bind(_path(address))
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from error
        opening.pop_all()
    return opened


@contextlib.contextmanager
def guarded(address: str, access: SocketAccess) -> Iterator[None]:
    """Free the path of a Unix socket, and give what is bound there to those who may connect; nobody may before.

    Args:
        address: `unix:///path`; for `host:port` there is nothing to do.
        access: who may connect.

    Raises:
        ListenError: when another process listens there, the file is no socket, or it can not be given away.
    """
    if not address.startswith("unix:"):
        yield
        return
    path = _path(address)
    with _alone(Path(path).parent):
        _free(path, address)
        before = os.umask(_NOBODY)
        try:
            yield
        finally:
            os.umask(before)
        try:
            _give(path, access)
        except OSError as error:
            Path(path).unlink(missing_ok=True)
            reason = f"it can not be given to its owner and group ({error.strerror}); run as that user, a member of that group, or root"
            raise ListenError(f"cannot listen on {address}: {reason}") from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let no other server free and bind a path in a folder meanwhile; one that can not be locked, as it is not ours alone, keeps nobody out."""
    with contextlib.ExitStack() as opening:
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opening.callback(os.close, descriptor)
            _lock(descriptor)
        yield


def _lock(descriptor: int) -> None:
    for _ in range(LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(LOCK_PAUSE_SECONDS)


def _give(path: str, access: SocketAccess) -> None:
    """Give a socket away, and nothing that whoever may write to its folder has put in its place.

    Raises:
        OSError: when it can not be, or stands there no more.
    """
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(place).st_mode):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
        same = Path(f"/proc/self/fd/{place}")
        os.chown(same, _UNCHANGED if access.owner is None else access.owner, _UNCHANGED if access.group is None else access.group)
        same.chmod(access.mode)
    finally:
        os.close(place)


def _path(address: str) -> str:
    return address.removeprefix("unix:").removeprefix("//")


def _free(path: str, address: str) -> None:
    """Remove a socket that nobody listens on; two servers on one path would silently orphan the first."""
    file = Path(path)
    try:
        if not stat.S_ISSOCK(file.stat().st_mode):
            raise ListenError(f"cannot listen on {address}: a file that is no socket stands there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)  # noqa: FBT003 - the socket module's signature; a server with a full queue would hold us up
        answer = client.connect_ex(path)
    if answer not in _GONE:
        told = "" if answer in {0, errno.EAGAIN} else f", or so it seems ({os.strerror(answer)}); remove the socket if nobody does"
        raise ListenError(f"cannot listen on {address}: another process does{told}")
    file.unlink(missing_ok=True)


def most_connections(most: int) -> int:
    """Say how many connections to take: never more than half of the files that this process may open, or it could fetch no keys.

    Args:
        most: when there are files enough.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if files == resource.RLIM_INFINITY else min(most, files // 2)
