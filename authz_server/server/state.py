"""The state directory, probed at the start: else its mistakes show in an outage, when it is needed."""

import errno
import logging
import stat
import tempfile
from pathlib import Path
from typing import Final

from authz_server.keys.state_directory import open_parent

_PASSING: Final = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EFBIG}  # no mistake of the flag

_logger: Final = logging.getLogger(__name__)


class StateDirectoryError(Exception):
    """A state directory that can not be used."""


def probe(directory: Path, *, checks_parents: bool = True) -> None:
    """Write to a directory, and make it if it is not there.

    What may pass, such as a disk that is full, is a warning: keys are fetched all the same. So is a directory that would not be believed.

    Args:
        directory: of `--state-dir`.
        checks_parents: see `keys.state_directory`.

    Raises:
        StateDirectoryError: when nothing can be written there.
    """
    try:
        directory.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"probe")
        if checks_parents and (parent := open_parent(directory)) is not None:
            _logger.warning(
                "state directory %s: others may write to %s, or own it, so no keys in it will be used; "
                "close it to others, or say --state-dir-parents trust where nobody else can reach it",
                directory,
                parent,
            )
    except OSError as error:
        if error.errno not in _PASSING:
            raise StateDirectoryError(
                f"--state-dir {directory}: no keys can be kept there ({error.strerror}); name a directory that this server's user may write to"
            ) from error
        _logger.warning("state directory %s: no keys can be kept there now (%s)", directory, error.strerror)
