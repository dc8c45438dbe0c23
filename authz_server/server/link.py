"""The link between the supervisor and a worker: questions go down, answers and news come up, and its end is the end of the other side.

It is a pair of sockets, one of them the worker's standard input. So there is no path or port to find, to guard or to clean up, and
neither side can outlive the other unnoticed, however it ends.
"""

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, Literal, cast

Question = Literal["ready", "metrics", "reload"]
MAX_OPEN: Final = 16  # questions to a worker that does not answer

_NEWS: Final = b"+"  # before the length of what is no answer

_logger: Final = logging.getLogger(__name__)


def write_outcome(generation: int, *, good: bool) -> str:
    """Write the news that a configuration was loaded: the generation in force, and whether it is that one."""
    return f"{'loaded' if good else 'kept'} {generation}"


def read_outcome(news: str) -> tuple[int, bool]:
    """Read what `write_outcome` wrote."""
    word, generation = news.split()
    return int(generation), word == "loaded"


class Link:
    """The supervisor's side: asks.

    Args:
        end: this side's socket.
        news: called with what the worker says without being asked.
    """

    def __init__(self, end: socket.socket, news: Callable[[str], None]) -> None:
        self._end = end
        self._news = news
        self._open: deque[tuple[Question, Future[bytes]]] = deque()
        self._gone = False
        self._lock = threading.Lock()
        self.metrics = b""  # the last answer to that question

    def ask(self, question: Question) -> Future[bytes]:
        """Ask; a worker answers in turn, once it listens.

        Args:
            question: what.

        Returns:
            The answer; b"" when the worker ends without one, or owes too many already.
        """
        answer: Future[bytes] = Future()
        with self._lock:
            if self._gone or len(self._open) >= MAX_OPEN:
                answer.set_result(b"")
                return answer
            self._open.append((question, answer))
            with suppress(OSError):  # `run` sees the end, too
                self._end.sendall(f"{question}\n".encode())
        return answer

    def run(self) -> None:
        """Hand out answers and news until the worker is gone."""
        with self._end, self._end.makefile("rb") as answers, suppress(OSError):
            while head := answers.readline():
                size = int(head.removeprefix(_NEWS))
                text = answers.read(size)
                if len(text) < size:
                    break
                if head.startswith(_NEWS):
                    self._news(text.decode())
                    continue
                question, answer = self._open.popleft()
                if question == "metrics":
                    self.metrics = text
                answer.set_result(text)
        with self._lock:
            self._gone = True
        while self._open:
            self._open.popleft()[1].set_result(b"")


class Upward:
    """The worker's side: answers, and tells news.

    Args:
        end: this side's socket.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._lock = threading.Lock()

    def tell(self, news: str) -> None:
        """Tell the supervisor something; nothing happens when it is gone."""
        text = news.encode()
        with suppress(OSError):
            self._write(_NEWS + b"%d\n" % len(text) + text)

    def attach(self, answers: Mapping[Question, Callable[[], bytes | None]], gone: Callable[[], None]) -> None:
        """Answer from a thread.

        Args:
            answers: by question; what has nothing to say answers with a new line.
            gone: called when the supervisor is.
        """
        threading.Thread(target=self._run, args=(answers, gone), name="supervisor", daemon=True).start()

    def _write(self, octets: bytes) -> None:
        with self._lock:
            self._end.sendall(octets)

    def _run(self, answers: Mapping[Question, Callable[[], bytes | None]], gone: Callable[[], None]) -> None:
        with self._end, self._end.makefile("rb") as questions, suppress(OSError):
            for line in questions:
                question = cast("Question", line.decode().strip())
                try:
                    text = answers[question]() or b"\n"
                except Exception:
                    _logger.exception("bug: no answer to %s; please report it", question)
                    text = b"\n"
                self._write(b"%d\n" % len(text) + text)
        _logger.warning("the supervisor is gone")
        gone()
