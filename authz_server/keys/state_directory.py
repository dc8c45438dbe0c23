"""The state directory: the last good key set of each pool, for a process that starts while their place can not be reached."""

import errno
import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from authz_server.core.user_pools import UserPool
from authz_server.keys import record
from authz_server.keys.jwks import KeySet
from authz_server.keys.life_cycle import Kept
from authz_server.keys.record import MAX_RECORD_SIZE, RecordError

UNREMARKABLE: Final = frozenset({"ok", "absent"})  # how reading and writing ought to end
LEFT_OVER_SECONDS: Final = 60.0  # age of a half written file whose process is gone
CLOSE_SECONDS: Final = 2.0

_TEMPORARY: Final = ".authz-"
_OWN: Final = stat.S_IRUSR | stat.S_IWUSR
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH

Told = Callable[[UserPool, str, str, str], None]


class StateDirectory:
    """Keep one private file per pool; any number of processes may share the directory.

    Writing happens in a thread of its own, so that a disk that hangs holds nobody up. Nothing here raises.

    Args:
        path: of the directory, which is made if it can be.
        now: seconds since 1970.
        told: told how each reading and writing ended: pool, `read` or `write`, a short label, and a sentence.
        checks_parents: whether what stands above the directory must be closed to others, too.
    """

    def __init__(self, path: Path, now: Callable[[], float], told: Told, *, checks_parents: bool = True) -> None:
        self._path = path
        self._checks_parents = checks_parents
        self._now = now
        self._told = told
        self._lock = threading.Lock()
        self._waiting: dict[UserPool, bytes] = {}
        self._wanted: SimpleQueue[UserPool | None] = SimpleQueue()
        with suppress(OSError):  # told by the first writing
            _make(path)
        self._clear()
        self._thread = threading.Thread(target=self._run, name="state directory", daemon=True)
        self._thread.start()

    def read(self, pool: UserPool) -> Kept | None:
        """Read what is left of a pool's keys.

        Args:
            pool: whose; one whose keys are in a file has no need of this.

        Returns:
            The keys, or None when there are none that can be trusted.
        """
        if not _is_remote(pool):
            return None
        try:
            kept = record.read(self._private(self._file(pool)), pool, self._now())
        except FileNotFoundError:
            self._told(pool, "read", "absent", "")
        except RecordError as error:
            self._told(pool, "read", error.outcome, f"{self._file(pool)}: {error}")
        except OSError as error:
            self._told(pool, "read", "failed", str(error))
        else:
            self._told(pool, "read", "ok", f"{len(kept.key_set.keys)} keys, fetched {kept.age:.0f} s ago")
            return kept
        return None

    def write(self, pool: UserPool, key_set: KeySet, etag: str | None) -> None:
        """Have a set that was fetched just now written; of several that wait, the last one is.

        Args:
            pool: whose; one whose keys are in a file has no need of this.
            key_set: the set.
            etag: of its document.
        """
        if not _is_remote(pool):
            return
        octets = record.write(pool, key_set, etag, self._now())
        with self._lock:
            is_waiting = pool in self._waiting
            self._waiting[pool] = octets
        if not is_waiting:
            self._wanted.put(pool)

    def close(self) -> None:
        """Write what is left and end the thread, unless the disk hangs."""
        self._wanted.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (pool := self._wanted.get()) is not None:
            with self._lock:
                octets = self._waiting.pop(pool)
            try:
                _replace(self._file(pool), octets)
            except OSError as error:
                self._told(pool, "write", "failed", str(error))
            else:
                self._told(pool, "write", "ok", "")

    def _private(self, file: Path) -> bytes:
        """Read a file that nobody else can have written, or put in its place.

        Raises:
            OSError: when it can not be read.
            RecordError: when it is a link, no file, or others may write to it or to a directory on its way.
        """
        with _opened(self._path, os.O_DIRECTORY) as directory:
            if not _is_guarded(os.fstat(directory)):
                raise RecordError("foreign", "others may write to its directory, or own it; name a folder that is this user's alone")
            if self._checks_parents and (parent := open_parent(self._path)) is not None:
                raise RecordError("foreign", f"others may write to {parent}, or own it, and could put an older directory in its place")
            try:
                with _opened(file.name, os.O_NOFOLLOW | os.O_NONBLOCK, directory) as descriptor:
                    return _read(descriptor)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise RecordError("foreign", "it is a symbolic link") from None
                raise

    def _file(self, pool: UserPool) -> Path:
        name = hashlib.sha256(f"{pool.id}\0{pool.issuer}\0{pool.jwks}".encode()).hexdigest()
        return self._path / f"{name}.json"

    def _clear(self) -> None:
        """Remove what processes that were killed have left half written."""
        with suppress(OSError):
            for entry in os.scandir(self._path):
                if entry.name.startswith(_TEMPORARY) and self._now() - entry.stat(follow_symlinks=False).st_mtime > LEFT_OVER_SECONDS:
                    Path(entry).unlink()


def open_parent(directory: Path) -> Path | None:
    """Find a directory above *directory* in which somebody else could rename what leads to it.

    Args:
        directory: which exists.

    Returns:
        The first that belongs to another user than root and this one, or that others may write to and that has no sticky bit; None where
        there is none.

    Raises:
        OSError: when one can not be looked at.

    Source: what OpenSSH asks of the way to a key file (`StrictModes`), with the sticky bit, which keeps others from renaming.
    """
    above = dict.fromkeys((*directory.absolute().parents, *directory.resolve().parents))
    return next((parent for parent in above if not _is_guarded(parent.stat())), None)


def _is_remote(pool: UserPool) -> bool:
    return "://" in pool.jwks


@contextmanager
def _opened(path: Path | str, flags: int, directory: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_guarded(status: os.stat_result) -> bool:
    """Whether nobody else may rename what stands in a directory: an older record would be back, with keys that were withdrawn since."""
    return status.st_uid in {0, os.geteuid()} and (bool(status.st_mode & stat.S_ISVTX) or not status.st_mode & _OTHERS_WRITE)


def _read(descriptor: int) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
        raise RecordError("foreign", "it is no file of this user, or others may write to it")
    with os.fdopen(descriptor, "rb", closefd=False) as opened:
        return opened.read(MAX_RECORD_SIZE + 1)


def _make(directory: Path) -> None:
    directory.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)


def _replace(file: Path, octets: bytes) -> None:
    """Put a file in place whole: a reader sees the old octets or the new ones.

    Raises:
        OSError: when it can not be; the old file is as it was.
    """
    _make(file.parent)
    descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=file.parent)  # only its owner may read or write it
    try:
        with os.fdopen(descriptor, "wb") as opened:
            os.fchmod(descriptor, _OWN)  # the umask may be that of a Unix socket which is bound just now
            opened.write(octets)
            opened.flush()
            os.fsync(descriptor)
        Path(temporary).replace(file)
    except OSError:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
