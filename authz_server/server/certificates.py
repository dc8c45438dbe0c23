"""The running certificate: load a new one, swap it whole, keep the old one when the new one is bad."""

import logging
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from authz_server.observe.logs import bug
from authz_server.observe.samples import CertificateSample
from authz_server.transport.tls import Credentials, TlsError, TlsFiles, moment, read

_logger: Final = logging.getLogger(__name__)


class Certificates:
    """Load credentials, one after the other.

    Args:
        files: where they stand.
        now: tells Unix time.

    Raises:
        TlsError: when the first ones are bad.
    """

    def __init__(self, files: TlsFiles, now: Callable[[], float]) -> None:
        self._files = files
        self._now = now
        self._current = self._load()

    def current(self) -> Credentials:
        """Tell the running ones; a connection ends with those it began with."""
        return self._current

    def reload(self) -> None:
        """Read the files again; keep what runs when they are bad."""
        try:
            self._current = self._load()
        except TlsError as error:
            _logger.error("%s", error)
            self._keep()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end a server that has a good certificate
            bug(_logger, error, "while reading the certificate")
            self._keep()

    def sample(self) -> CertificateSample:
        """Tell the metrics."""
        return CertificateSample(self._current.expires, self._current.valid_from, self._reloaded_at, good=self._good)

    def _keep(self) -> None:
        self._good = False
        _logger.error("the certificate that expires at %s stays in use", moment(self._current.expires))

    def _load(self) -> Credentials:
        self._reloaded_at = self._now()
        found = read(self._files, self._reloaded_at)
        self._good = True
        if _is_public(self._files.key):
            _logger.warning("%s: everybody on this machine may read this key; take that right away: chmod o-r", self._files.key)
        _logger.info("certificate %s, which expires at %s, is in use", self._files.certificate, moment(found.expires))
        return found


def _is_public(key: Path) -> bool:
    try:
        return bool(key.stat().st_mode & stat.S_IROTH)
    except OSError:  # between removal and replacement
        return False
