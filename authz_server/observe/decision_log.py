"""The decision log: one line per check, without token, signature, path or claim values."""

import logging
import select
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TextIO

from authz_server.observe.entry import Entry, Line
from authz_server.observe.logs import bug

MAX_WAITING_BYTES: Final = 16 * 1_048_576  # of memory; some 50,000 lines
CLOSE_SECONDS: Final = 5.0
LINE_BYTES: Final = 72  # of a text without its characters, and of its place in the queue
FLUSH_SECONDS: Final = 0.02  # short, so that writing what has gathered does not hold up checks

_logger: Final = logging.getLogger(__name__)


def writes(lines: Iterable[str]) -> Iterator[list[str]]:
    """Group lines into writes that a pipe takes whole, so that lines of several workers never mix.

    Args:
        lines: each with its end.

    Yields:
        Lines of `PIPE_BUF` octets together at most, or one that is longer.

    Source:
        pipe(7), "PIPE_BUF".
    """
    together: list[str] = []
    left = select.PIPE_BUF
    for line in lines:
        size = len(line) if line.isascii() else len(line.encode(errors="surrogatepass"))
        if together and size > left:
            yield together
            together, left = [], select.PIPE_BUF
        together.append(line)
        left -= size
    if together:
        yield together


def memory(line: str) -> int:
    """Bytes that a line takes while it waits; beyond ASCII a character may take four."""
    return LINE_BYTES + (len(line) if line.isascii() else 4 * len(line))


class DecisionLog:
    """Write a line per entry from a thread of its own, so that a slow reader of the log never holds up a check.

    What waits for the reader is the text of lines: an entry, and whatever it refers to, is gone once its check has been answered.

    Args:
        stream: where lines go.
        line: how an entry becomes a line.
        dropped: told how many lines were lost when the stream could not take them, or because of a bug.
    """

    def __init__(self, stream: TextIO, line: Line, dropped: Callable[[int], None]) -> None:
        self._stream = stream
        self._line = line
        self._dropped = dropped
        self._lines: deque[str] = deque()
        self._taken = 0  # bytes since the start; no lock, since a part that threads lose to each other is made good with the next flush
        self._written = 0  # the same, at the beginning of the last flush that has ended
        self._told = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decision log", daemon=True)
        self._thread.start()

    def __call__(self, entry: Entry) -> None:
        """Take an entry; never waits for the reader."""
        try:
            line = self._line(entry) + "\n"
        except Exception as error:  # noqa: BLE001 - a bug must not end the log of all other checks
            self._dropped(1)
            self._tell(error)
            return
        size = memory(line)
        if self._taken - self._written + size > MAX_WAITING_BYTES:
            self._dropped(1)
            return
        self._taken += size
        self._lines.append(line)

    @property
    def waiting(self) -> int:
        """Bytes that lines take which may not have been written yet."""
        return self._taken - self._written

    def close(self) -> None:
        """Write what is left and end the thread, unless nobody reads."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)  # a reader that is stuck does not keep the process from ending

    def _run(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        taken = self._taken
        for together in writes(self._lines.popleft() for _ in range(len(self._lines))):
            try:
                self._stream.write("".join(together))
                self._stream.flush()
            except (OSError, ValueError):  # a closed pipe or stream
                self._dropped(len(together))
        self._written = taken

    def _tell(self, error: Exception) -> None:
        """Say once where the bug is, without the values that were at hand."""
        if not self._told:
            self._told = True
            bug(_logger, error, "while writing the decision log")
