"""Watch files for new content."""

import hashlib
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from watchfiles import watch

LOOK_SECONDS: Final = 10.0  # at what the system tells nothing about, such as a folder behind a link that was swapped


class FileWatch:
    """Call back when one of some files has new content.

    The folders are watched, not the files: Kubernetes swaps a symbolic link beside them, editors replace them.

    Args:
        paths: the files.
        changed: called from the watching thread.
    """

    def __init__(self, paths: Collection[Path], changed: Callable[[], None]) -> None:
        self._paths = paths
        self._changed = changed
        self._digests = self._read()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="file watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        folders = {path.parent for path in self._paths}
        timeout = int(LOOK_SECONDS * 1000)
        for _ in watch(
            *folders,
            stop_event=self._stop,
            debounce=200,
            rust_timeout=timeout,
            yield_on_timeout=True,
            recursive=False,
            raise_interrupt=False,
        ):
            digests = self._read()
            if digests != self._digests:
                self._digests = digests
                self._changed()

    def _read(self) -> list[bytes]:
        return [_digest(path) for path in self._paths]


def _digest(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:  # between removal and replacement
        return b""
