"""A gateway for Python programs: a configuration whose keys are kept fresh, without a server around it."""

import logging
import os
import random
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast
from weakref import WeakSet

from authz_server.config import compile_gateway, user_pools
from authz_server.config import load as load_configuration
from authz_server.config.problems import listed
from authz_server.core.decisions import Allow, Deny
from authz_server.core.gateway import Gateway, Pending
from authz_server.core.request import Request
from authz_server.keys.clock import ageing_clock
from authz_server.keys.fetch import Fetcher
from authz_server.keys.refresher import GOOD, KeyRefresher
from authz_server.keys.store import KeyStore, PoolKeys

MAX_WAIT_SECONDS: Final = 1.0

_logger: Final = logging.getLogger(__name__)
_left_behind: Final[list[object]] = []


class LiveGateway:
    """Decide requests with one configuration, from any thread, with keys that are kept fresh until `close`.

    Args:
        path: of the configuration file.
        environment: for its `${NAME}`; the process's own by default.

    Raises:
        ConfigurationError: with every mistake in the file.
    """

    def __init__(self, path: str | Path, environment: Mapping[str, str] | None = None) -> None:
        self._loaded = load_configuration(Path(path), os.environ if environment is None else environment)
        for warning in listed(self._loaded.warnings):
            _logger.warning("%s", warning)
        self._lock = threading.Lock()
        self._refresher: KeyRefresher | None = None
        self._gateway: Gateway | None = None
        for warning in self._open().warnings(user_pools(self._loaded)):
            _logger.warning("%s", warning)
        _open.add(self)

    def _open(self) -> Fetcher:
        """Begin to keep keys fresh, with a gateway that reads them."""
        clock = ageing_clock()
        fetcher = Fetcher()
        self._refresher = KeyRefresher(fetcher, clock, lambda: random.uniform(-1, 1), self)  # noqa: S311 - spreads load
        self._gateway = compile_gateway(self._loaded, KeyStore(clock, self._refresher).keys)
        return fetcher

    def _opened(self) -> Gateway:
        """Give the gateway; in a process that was forked off, begin anew when it is first needed."""
        gateway = self._gateway
        if gateway is not None:
            return gateway
        with self._lock:
            if self._gateway is None:
                self._open()
            return cast("Gateway", self._gateway)

    def forked(self) -> None:
        """Trust no key any more, in a process that was forked off: what keeps keys fresh is a thread, and stays behind."""
        _left_behind.append(self._refresher)  # its event loop is the parent's, too, and must not be closed here
        self._refresher = self._gateway = None
        self._lock = threading.Lock()

    def decide(self, request: Request) -> Allow | Deny:
        """Decide whether a request may pass.

        Args:
            request: method, host, path and headers (names in lower case).

        Returns:
            Allow with headers to set and to remove, or Deny with its reason. It comes at once, except where the token names a key that
            was not seen before: then one shared fetch is waited for, a second at most. A process that was forked off fetches keys of its
            own, from its first decision on. After `close` there are no more
            fetches: such a token is denied at once as `keys_unavailable`, and keys that are there are used until they are too old.
        """
        gateway = self._opened()
        decision = gateway.decide(request, time.time())
        if isinstance(decision, Pending):
            try:
                decision.fetch.result(MAX_WAIT_SECONDS)
            except TimeoutError:
                return decision.unavailable
            decision = gateway.decide(request, time.time())
        return decision.unavailable if isinstance(decision, Pending) else decision

    def fetch_ended(self, keys: PoolKeys, outcome: str, detail: str) -> None:
        """Log a fetch of keys that failed, see `keys.refresher.Observer`."""
        if outcome not in GOOD:
            _logger.warning("keys of %s from %s: %s (%s)", keys.pool.id, keys.pool.jwks, detail, outcome)

    def close(self) -> None:
        """Stop fetching keys; a second time does nothing."""
        _open.discard(self)
        self._opened()
        cast("KeyRefresher", self._refresher).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


_open: Final[WeakSet[LiveGateway]] = WeakSet()


def _forked() -> None:
    for gateway in tuple(_open):
        gateway.forked()


os.register_at_fork(after_in_child=_forked)


def load(path: str | Path, environment: Mapping[str, str] | None = None) -> LiveGateway:
    """Load a configuration and keep its keys fresh, also in processes that are forked off afterwards.

    Args:
        path: of the configuration file.
        environment: for its `${NAME}`; the process's own by default.

    Returns:
        A gateway, to be closed after use (it is a context manager).

    Raises:
        ConfigurationError: with every mistake in the file.
    """
    return LiveGateway(path, environment)
