"""The running configuration: load a new one, swap it whole, keep the old one when the new one is bad."""

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from authz_server.config.assemble import Assembly
from authz_server.config.parts import Part
from authz_server.config.problems import ConfigurationError
from authz_server.core.gateway import Gateway
from authz_server.core.revocations import Revocations
from authz_server.keys.store import KeyStore
from authz_server.observe.logs import bug

FIRST_KEYS_SECONDS: Final = 2.0

_logger: Final = logging.getLogger(__name__)


class Generations:
    """Load configurations, one generation after the other.

    Args:
        path: the configuration file, for the log.
        parts: loads it.
        store: holds the keys that its user pools need.
        revocations: tokens that it refuses, or None.
        swap: told the new generation's number and gateway.
        outcome: told the running generation's number and whether the last load was good.
    """

    def __init__(
        self,
        path: Path,
        parts: Callable[[], Iterable[Part]],
        *,
        store: KeyStore,
        revocations: Revocations | None = None,
        swap: Callable[[Gateway], None],
        outcome: Callable[[int, bool], None],
    ) -> None:
        self._path = path
        self._parts = parts
        self._store = store
        self._revocations = revocations
        self._swap = swap
        self._outcome = outcome
        self.number = 0

    def load(self) -> None:
        """Load the file and swap it in; checks that run at this moment end with the generation they began with.

        Raises:
            ConfigurationError: with every mistake; nothing has changed.
        """
        with self._store.draft() as keys:
            assembly = Assembly(keys, self._revocations).add(self._parts())
            gateway = assembly.gateway()
        if self.number:
            self._await_keys()
        self._swap(gateway)
        self._store.keep(assembly.user_pools)
        self.number += 1
        self._outcome(self.number, True)  # noqa: FBT003 - told positionally to a callback
        _logger.info("generation %d of %s is in force", self.number, self._path)

    def reload(self) -> None:
        """Load the file again; keep what runs when it is bad."""
        try:
            self.load()
        except ConfigurationError as error:
            for problem in str(error).splitlines():
                _logger.error("%s", problem)
            self._keep()
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end a server that has a good configuration
            bug(_logger, error, f"while loading {self._path}")
            self._keep()

    def _keep(self) -> None:
        self._outcome(self.number, False)  # noqa: FBT003 - as above
        _logger.error("%s is bad; generation %d stays in force", self._path, self.number)

    def _await_keys(self) -> None:
        """Give user pools that are new a moment to get their keys, so that the swap makes no check wait."""
        until = time.monotonic() + FIRST_KEYS_SECONDS
        while not self._store.attempted() and time.monotonic() < until:
            time.sleep(0.02)
