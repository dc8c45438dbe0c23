"""The state directory, probed at the start: else its mistakes show in an outage, when it is needed."""

import errno
import logging
import stat
import tempfile
from pathlib import Path
from typing import Final

_PASSING: Final = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EFBIG}  # no mistake of the flag

_logger: Final = logging.getLogger(__name__)


class StateDirectoryError(Exception):
    """A state directory that can not be used."""


def probe(directory: Path) -> None:
    """Write to a directory, and make it if it is not there.

    What may pass, such as a disk that is full, is a warning: keys are fetched all the same.

    Args:
        directory: of `--state-dir`.

    Raises:
        StateDirectoryError: when nothing can be written there.
    """
    try:
        directory.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"probe")
    except OSError as error:
        if error.errno not in _PASSING:
            raise StateDirectoryError(
                f"--state-dir {directory}: no keys can be kept there ({error.strerror}); name a directory that this server's user may write to"
            ) from error
        _logger.warning("state directory %s: no keys can be kept there now (%s)", directory, error.strerror)
