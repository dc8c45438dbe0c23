"""Watch files for new content."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from math import inf
from pathlib import Path
from typing import Final

from watchfiles import watch

from authz_server import files
from authz_server.keys.clock import ageing_clock
from authz_server.observe.logs import bug

LOOK_SECONDS: Final = 0.5  # at what the system tells nothing about, such as a file behind a link, or on a disk of another machine
CLOSE_SECONDS: Final = 2.0
MAX_SIZE: Final = 64 * 2**20  # of a file; no larger one is read by anybody
READ_SECONDS: Final = 10.0  # after which a file is read whatever it looks like

State = tuple[int, ...]

_logger: Final = logging.getLogger(__name__)


class FileWatch:
    """Call back when one of some files has new content.

    The folders are watched, not the files: Kubernetes swaps a symbolic link beside them, editors replace them.

    Whoever could not read them for a reason that may pass, such as too many open files, returns True and is called again at the next look.
    A content that is bad is no such reason: it stays bad until it is another one. Whoever asks another thread to load, as for the configuration
    and the certificates, does not know yet how that ends, and returns None: a change or SIGHUP repeats it. An exception is a bug: it is
    logged, and tried again READ_SECONDS later.

    A read that does not end, as on a disk that is gone, holds up this watch alone: `age` grows, which a metric shows.

    Args:
        paths: the files.
        changed: called from the watching thread; returns whether to call it again.
        clock: seconds, which go on while the machine is suspended.
    """

    def __init__(self, paths: Collection[Path], changed: Callable[[], bool | None], clock: Callable[[], float] | None = None) -> None:
        self._paths = paths
        self._changed = changed
        self._clock = clock or ageing_clock()
        self._states = self._look()
        self._digests = self._read()
        self._read_at = time.monotonic()
        self._again_at = inf
        self.looked_at = self._clock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="file watch", daemon=True)
        self._thread.start()

    def age(self) -> float:
        """Seconds since a look at the files ended; it begins anew every LOOK_SECONDS."""
        return self._clock() - self.looked_at

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join(CLOSE_SECONDS)  # a look that does not end must not keep the process from ending

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
        """Read what looks other than before or is to be tried again, and now and then what does not."""
        if self._look() != self._states or time.monotonic() >= min(self._read_at + READ_SECONDS, self._again_at):
            self._compare()
        self.looked_at = self._clock()

    def _compare(self) -> None:
        self._states, self._read_at = self._look(), time.monotonic()  # before it is read: what comes later looks other next time
        digests = self._read()
        self.looked_at = self._clock()
        if digests != self._digests or self._read_at >= self._again_at:
            self._digests = digests
            self._again_at = self._read_at + self._call()

    def _call(self) -> float:
        """Call back, and say after how many seconds to do so again."""
        try:
            again = self._changed()
        except Exception as error:  # noqa: BLE001 - whatever it is, the files must be watched
            bug(_logger, error, f"after a change of {self._names()}")
            return READ_SECONDS
        was_written = self._look() != self._states  # meanwhile: what was called back about may have been half of it
        return 0.0 if again or was_written else inf

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
        return files.digest(path, MAX_SIZE)
    except files.UnusableFileError as error:  # whoever reads it says so, once for each kind of it
        return str(error).encode()
    except OSError:  # between removal and replacement
        return b""
