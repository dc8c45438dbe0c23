"""A gateway for Python programs: the engine with keys and revocations that are kept up to date, without a server around it."""

import logging
import math
import os
import random
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self
from weakref import WeakSet

from authz_server.config import compile_gateway, user_pools
from authz_server.config import load as load_configuration
from authz_server.config.loaded import Loaded
from authz_server.config.problems import listed
from authz_server.core.decisions import Allow, Deny
from authz_server.core.observation import Observer
from authz_server.core.reasons import Reason
from authz_server.core.request import Request
from authz_server.core.revocations import Revocations
from authz_server.engine.counts import Uncounted
from authz_server.engine.engine import Engine, Wait
from authz_server.engine.revocation_observer import RevocationObserver
from authz_server.engine.revoked import Place, following
from authz_server.keys.clock import ageing_clock
from authz_server.keys.fetch import Fetcher
from authz_server.keys.refresher import GOOD, KeyRefresher
from authz_server.keys.store import KeyStore, PoolKeys
from authz_server.revocations.source import RevocationsError

CACHE_BYTES: Final = 16 * 1_048_576
MAX_WAIT_SECONDS: Final = 1.0
ALLOW_OVERHEAD: Final = 700  # bytes that an allow takes beside its texts, measured
TEXT_OVERHEAD: Final = 200  # bytes that a header or a claim takes beside its own length

_logger: Final = logging.getLogger(__name__)
_left_behind: Final[list[object]] = []


class _Decisions:
    """Answers that are decisions. They are given to several callers, so that nobody may change them."""

    def allow(self, decision: Allow) -> Allow | Deny:
        return replace(decision, metadata=MappingProxyType(decision.metadata), logged=MappingProxyType(decision.logged), evaluation=None)

    def deny(self, decision: Deny, _: Request) -> tuple[Allow | Deny, str]:
        return replace(decision, evaluation=None), ""

    def size(self, decision: Allow | Deny) -> int:
        if isinstance(decision, Deny):  # which is not kept here
            return 0
        texts = [*decision.headers, *decision.metadata.items(), *decision.logged.items()]
        lengths = sum(
            len(name) + (len(value) if isinstance(value, str) else sum(len(each) + TEXT_OVERHEAD for each in value))
            for name, value in texts
        )
        return ALLOW_OVERHEAD + lengths + TEXT_OVERHEAD * len(texts)


class _Process:
    """What decides in one process: its threads keep keys and revocations up to date, and stay behind when it forks.

    Args:
        loaded: the configuration.
        place: of the list of revocations, or None.
        cache_bytes: see `Engine`.
        observers: see `Engine`.

    Raises:
        RevocationsError: when the list can not be followed.
    """

    def __init__(self, loaded: Loaded, place: Place | None, cache_bytes: int, observers: Iterable[Observer]) -> None:
        self.fetcher = Fetcher()
        self._revocations = None if place is None else Revocations(known=False)
        with ExitStack() as parts:
            if place is not None and self._revocations is not None:
                parts.enter_context(following(place, self._revocations, RevocationObserver(Uncounted())))
            clock = ageing_clock()
            refresher = KeyRefresher(self.fetcher, clock, lambda: random.uniform(-1, 1), self)  # noqa: S311 - spreads load
            parts.callback(refresher.close)
            self._store = KeyStore(clock, refresher)
            self.engine = Engine(_Decisions(), cache_bytes, now=time.time, timer=time.perf_counter, counts=Uncounted(), observers=observers)
            self.put(loaded)
            self._parts = parts.pop_all()

    def put(self, loaded: Loaded) -> None:
        """Decide with a configuration from now on; keys of user pools that stay are kept."""
        with self._store.draft() as keys:
            gateway = compile_gateway(loaded, keys, self._revocations)
        self.engine.swap(gateway)
        self._store.keep(user_pools(loaded))

    def fetch_ended(self, keys: PoolKeys, outcome: str, detail: str) -> None:
        """Log a fetch of keys that failed, see `keys.refresher.Observer`."""
        if outcome not in GOOD:
            _logger.warning("keys of %s from %s: %s (%s)", keys.pool.id, keys.pool.jwks, detail, outcome)

    def close(self) -> None:
        """End the threads; a second time does nothing."""
        self._parts.close()


class LiveGateway:
    """Decide requests with one configuration, from any thread, with keys that are kept fresh until `close`; see `load`."""

    def __init__(
        self, path: Path, environment: Mapping[str, str] | None, place: Place | None, cache_bytes: int, observers: tuple[Observer, ...]
    ) -> None:
        self._path = path
        self._environment = environment
        self._place = place
        self._cache_bytes = cache_bytes
        self._observers = observers
        self._lock = threading.Lock()
        self._loaded = self._load()
        self._process: _Process | None = self._open()
        for warning in self._process.fetcher.warnings(user_pools(self._loaded)):
            _logger.warning("%s", warning)
        _open.add(self)

    def _load(self) -> Loaded:
        loaded = load_configuration(self._path, os.environ if self._environment is None else self._environment)
        for warning in listed(loaded.warnings):
            _logger.warning("%s", warning)
        return loaded

    def _open(self) -> _Process:
        return _Process(self._loaded, self._place, self._cache_bytes, self._observers)

    def _opened(self) -> _Process:
        """Give what decides; in a process that was forked off, begin anew when it is first needed.

        Raises:
            RevocationsError: when that process can not follow the list.
        """
        process = self._process
        if process is not None:
            return process
        with self._lock:
            if self._process is None:
                self._process = self._open()
            return self._process

    def forked(self) -> None:
        """Trust no key and no list any more, in a process that was forked off: what keeps them up to date are threads, which stay behind."""
        _left_behind.append(self._process)  # its event loop is the parent's, too, and must not be closed here
        self._process = None
        self._lock = threading.Lock()

    def decide(self, request: Request) -> Allow | Deny:
        """Decide whether a request may pass.

        Args:
            request: method, host, path and headers.

        Returns:
            Allow with headers to set and to remove, or Deny with its reason. It comes at once, except where the token names a key that
            was not seen before: then one shared fetch is waited for, a second at most. A process that was forked off fetches keys and
            reads the list of revocations on its own, from its first decision on; while it can not read the list, the answer is a denial as
            `revocations_unknown`. After `close` there are no more fetches: a token with a new key is denied at once as
            `keys_unavailable`, and keys that are there are used until they are too old.
        """
        try:
            engine = self._opened().engine
        except RevocationsError as error:
            _logger.error("revocations: %s", error)
            return Deny(reason=Reason.REVOCATIONS_UNKNOWN)
        decision = engine.decide(request, time.perf_counter())
        if not isinstance(decision, Wait):
            return decision
        try:
            decision.fetch.result(MAX_WAIT_SECONDS)
        except TimeoutError:
            return decision.refuse()
        return decision.resume()

    def reload(self) -> None:
        """Load the file again, and decide with it from now on; keys of user pools that stay are kept.

        Raises:
            ConfigurationError: with every mistake in the file; what was loaded before goes on deciding.
        """
        loaded = self._load()
        with self._lock:
            self._loaded = loaded
            if self._process is not None:
                self._process.put(loaded)

    def close(self) -> None:
        """Stop fetching keys and following the list; a second time does nothing."""
        _open.discard(self)
        with suppress(RevocationsError):  # of a process that was forked off, and never used
            self._opened().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


_open: Final[WeakSet[LiveGateway]] = WeakSet()


def _forked() -> None:
    for gateway in tuple(_open):
        gateway.forked()


os.register_at_fork(after_in_child=_forked)


def load(
    path: str | Path,
    environment: Mapping[str, str] | None = None,
    *,
    cache_bytes: int = CACHE_BYTES,
    revocations: str | Path | None = None,
    revocations_password_file: str | Path | None = None,
    revocations_max_age: float = math.inf,
    observers: Iterable[Observer] = (),
) -> LiveGateway:
    """Load a configuration and keep its keys fresh, also in processes that are forked off afterwards.

    Args:
        path: of the configuration file.
        environment: for its `${NAME}`; the process's own by default.
        cache_bytes: memory for decisions about good tokens, repeated as `result_ttl` of their authorizer says; 0 decides each anew.
        revocations: path or Redis URL of a list of tokens that are refused, as `--revocations` takes it.
        revocations_password_file: holds the password for Redis, or None.
        revocations_max_age: seconds without contact to Redis after which good tokens are denied as `revocations_unknown`.
        observers: called with an `Observation` of each decision, in the thread that decides.

    Returns:
        A gateway, to be closed after use (it is a context manager).

    Raises:
        ConfigurationError: with every mistake in the file.
        RevocationsError: when the list is bad, or what is needed for Redis is missing.
    """
    place = None
    if revocations is not None:
        password_file = None if revocations_password_file is None else Path(revocations_password_file)
        place = Place(where=str(revocations), password_file=password_file, max_age=revocations_max_age)
    return LiveGateway(Path(path), environment, place, cache_bytes, tuple(observers))
