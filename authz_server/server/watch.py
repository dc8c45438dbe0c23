"""Watch the configuration file for new content."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

from watchfiles import watch


class FileWatch:
    """Call back when a file has new content.

    The folder is watched, not the file: Kubernetes swaps a symbolic link beside it, editors replace it.

    Args:
        path: the file.
        changed: called from the watching thread.
    """

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._path = path
        self._changed = changed
        self._digest = self._read()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="file watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        for _ in watch(self._path.parent, stop_event=self._stop, debounce=200, rust_timeout=500, recursive=False, raise_interrupt=False):
            digest = self._read()
            if digest != self._digest:
                self._digest = digest
                self._changed()

    def _read(self) -> bytes:
        try:
            return hashlib.sha256(self._path.read_bytes()).digest()
        except OSError:  # between removal and replacement
            return b""
