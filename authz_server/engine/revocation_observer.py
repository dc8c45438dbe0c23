"""What becomes of the list of revocations, for people: counted and logged, and readiness kept true."""

import logging
from collections.abc import Callable
from typing import Final

from authz_server.engine.counts import Counts

_logger: Final = logging.getLogger(__name__)


class RevocationObserver:
    """Count looks at the list, and log when they begin to fail and when they are good again.

    Args:
        counts: counts.
    """

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._told = ""
        self.changed: Callable[[], None] = lambda: None

    def ended(self, outcome: str, detail: str) -> None:
        """Take note of a look, see `revocations.source.Observer`."""
        self._counts.revocations_read(outcome)
        if detail and detail != self._told:
            for line in detail.splitlines():
                _logger.error("revocations: %s", line)
        elif self._told and not detail:
            _logger.info("revocations: the list can be read again")
        self._told = detail
        self.changed()

    def line(self, *, entries: int, known: bool) -> str:
        """Say how the list is."""
        after = f"; {self._told}" if self._told else ""
        return f"revocations: {entries} entries{after}" if known else f"revocations: the list is not known{after}"

    def unreadable(self, detail: str) -> None:
        """Take note of an entry that refuses nothing."""
        self._counts.revocation_skipped()
        _logger.error("revocations: %s", detail)

    def lost(self, detail: str) -> None:
        """Take note of entries that are gone and stay refused."""
        _logger.warning("revocations: %s", detail)
