"""Files that others write: none is waited for, and no more is read of it than there should be."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class UnusableFileError(OSError):
    """A file that is no regular one, or larger than it should be; `strerror` says which."""


@contextmanager
def opened(path: Path | str, limit: int) -> Iterator[int]:
    """Open a regular file for reading, without waiting for anybody.

    Args:
        path: of the file; a link is followed.
        limit: bytes that it may have.

    Yields:
        Its descriptor.

    Raises:
        UnusableFileError: for a named pipe, a socket, a device, and a file that is larger.
        OSError: when it cannot be opened, or is a directory.

    Source: open(2): without O_NONBLOCK the open of a named pipe waits for a writer.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(found.st_mode):
            kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
            raise UnusableFileError(errno.EINVAL, f"it is {kind}; a regular file is needed")
        if found.st_size > limit:
            raise _too_large(limit)
        yield descriptor
    finally:
        os.close(descriptor)


def read(path: Path | str, limit: int) -> bytes:
    """Read a regular file, see `opened`.

    Args:
        path: of the file.
        limit: bytes that it may have.

    Returns:
        All of it.

    Raises:
        OSError: as `opened` does, and where it cannot be read to its end.
    """
    with opened(path, limit) as descriptor, open(descriptor, "rb", closefd=False) as file:
        content = file.read(limit + 1)  # it may have grown
    if len(content) > limit:
        raise _too_large(limit)
    return content


def digest(path: Path | str, limit: int) -> bytes:
    """Make the digest of a regular file, reading it in pieces.

    Args:
        path: of the file.
        limit: bytes that it may have.

    Returns:
        SHA-256, 32 bytes.

    Raises:
        OSError: as `read` does.
    """
    with opened(path, limit) as descriptor, open(descriptor, "rb", closefd=False) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _too_large(limit: int) -> UnusableFileError:
    return UnusableFileError(errno.EFBIG, f"it is larger than {limit:,} bytes")
