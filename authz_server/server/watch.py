"""Watch files for new content."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from watchfiles import watch

LOOK_SECONDS: Final = 0.5  # at what the system tells nothing about, such as a file behind a link, or on a disk of another machine
READ_SECONDS: Final = 10.0  # after which a file is read whatever it looks like

State = tuple[int, ...]

_logger: Final = logging.getLogger(__name__)


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
        self._states = self._look()
        self._digests = self._read()
        self._read_at = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="file watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._follow()
        except (OSError, RuntimeError) as error:  # the machine has too many watches, or the folder is gone
            _logger.warning("looking at %s every %g s, since they can not be watched: %s", self._names(), LOOK_SECONDS, error)
            while not self._stop.wait(LOOK_SECONDS):
                self._compare_looks()

    def _follow(self) -> None:
        """Read whenever the system tells of a change, and look now and then."""
        for told in watch(
            *{path.parent for path in self._paths},
            stop_event=self._stop,
            debounce=200,
            rust_timeout=int(LOOK_SECONDS * 1000),
            yield_on_timeout=True,
            recursive=False,
            raise_interrupt=False,
        ):
            if told:
                self._compare()
            else:
                self._compare_looks()

    def _compare_looks(self) -> None:
        """Read what looks other than before, and now and then what does not."""
        if self._look() != self._states or time.monotonic() >= self._read_at + READ_SECONDS:
            self._compare()

    def _compare(self) -> None:
        self._states, self._read_at = self._look(), time.monotonic()  # before it is read: what comes later looks other next time
        digests = self._read()
        if digests != self._digests:
            self._digests = digests
            self._changed()

    def _look(self) -> list[State]:
        return [_state(path) for path in self._paths]

    def _names(self) -> str:
        return ", ".join(map(str, self._paths))

    def _read(self) -> list[bytes]:
        return [_digest(path) for path in self._paths]


def _state(path: Path) -> State:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:  # between removal and replacement
        return b""
