"""Readiness: whether checks can be answered, told to health checks and the admin port."""

import threading
from collections.abc import Callable, Iterable

from authz_server.core.revocations import Revocations
from authz_server.keys.store import KeyStore
from authz_server.server.report import Report


class Readiness:
    """Follow the keys: not ready before each user pool was tried once, nor while no pool has keys or the revocations are not known.

    Args:
        store: the keys.
        tell: told when readiness changes.
        revocations: tokens that are refused, or None.
        lines: says how user pools and lists are.
    """

    def __init__(
        self,
        store: KeyStore,
        tell: Callable[[bool], None],
        revocations: Revocations | None = None,
        lines: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._store = store
        self._lines = lines
        self._revocations = revocations
        self._tell = tell
        self._lock = threading.Lock()  # keys come in one thread and the end in another: whoever looks last must tell last
        self._started = False
        self._draining = False
        self.ready = False

    def update(self) -> None:
        """Look again; a pool that a reload adds does not take back what was ready."""
        with self._lock:
            self._started = self._started or self._store.attempted()
            self._set(ready=self._started and self._store.answerable() and self._is_known() and not self._draining)

    def report(self) -> Report:
        """Say whether checks can be answered, and why; a list that has become too old since the last look counts."""
        return Report(self.ready and self._is_known(), (*(("draining",) if self._draining else ()), *self._lines()))

    def drain(self) -> None:
        """Be not ready from now on."""
        with self._lock:
            self._draining = True
            self._set(ready=False)

    def _is_known(self) -> bool:
        return self._revocations is None or self._revocations.known

    def _set(self, *, ready: bool) -> None:
        if ready != self.ready:
            self.ready = ready
            self._tell(ready)
