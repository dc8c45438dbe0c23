"""The list of revocations that a server follows: a file or Redis."""

import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from authz_server import files
from authz_server.core.revocations import Revocations
from authz_server.engine.watch import FileWatch
from authz_server.keys.clock import ageing_clock
from authz_server.revocations.file import FileList
from authz_server.revocations.source import Observer, RevocationsError, Source

if TYPE_CHECKING:
    from authz_server.revocations.server import Server

MAX_PASSWORD_SIZE: Final = 65_536
SCHEMES: Final = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a list is.

    Args:
        where: path of a file, or URL of Redis.
        password_file: holds the password for Redis, or None.
        max_age: seconds without contact to Redis after which nothing is said about tokens; infinity for never.
    """

    where: str
    password_file: Path | None = None
    max_age: float = math.inf

    @property
    def is_shared(self) -> bool:
        """Whether it is in Redis."""
        return self.where.startswith(SCHEMES)

    def __str__(self) -> str:
        """Name it without its password."""
        if not self.is_shared:
            return self.where
        from authz_server.revocations.server import name_of  # noqa: PLC0415 - an extra brings what it needs

        return name_of(self.where)


@contextmanager
def following(place: Place, revocations: Revocations, observer: Observer) -> Iterator[Source]:
    """Keep a list up to date.

    Args:
        place: where it is.
        revocations: the list; not known before Redis was read.
        observer: told how it goes.

    Yields:
        The source.

    Raises:
        RevocationsError: when the file is bad, or what is needed for Redis is missing.
    """
    if place.is_shared:
        server = connected(place)
        from authz_server.revocations.shared import SharedList  # noqa: PLC0415 - an extra brings what it needs

        follower = SharedList(
            server, revocations, observer, max_age=place.max_age, now=time.time, clock=ageing_clock(), spread=random.random
        )
        try:
            yield follower
        finally:
            follower.close()
        return
    path = Path(place.where)
    listed = FileList(path, revocations, observer, ageing_clock())
    watch = FileWatch([path], listed.reload)
    listed.counts(watch.age)
    listed.reload()  # it may have changed before somebody watched
    try:
        yield listed
    finally:
        watch.close()


def connected(place: Place) -> "Server":
    """Make a client of Redis.

    Args:
        place: whose URL it is.

    Returns:
        The server; nothing was sent yet.

    Raises:
        RevocationsError: when the extra is missing, or URL or password can not be read.
    """
    try:
        from authz_server.revocations.server import connect  # noqa: PLC0415 - an extra brings what it needs
    except ModuleNotFoundError as error:
        raise RevocationsError(f"a list in Redis needs {error.name}: pip install 'authz-server[redis]'") from error
    return connect(place.where, None if place.password_file is None else _password(place.password_file))


def _password(path: Path) -> str:
    try:
        return files.read(path, MAX_PASSWORD_SIZE).decode().strip("\r\n")
    except OSError as error:
        raise RevocationsError(f"{path}: the password can not be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise RevocationsError(f"{path}: the password can not be read (it is not UTF-8)") from error
