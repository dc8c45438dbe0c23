"""The link between the supervisor and a worker: questions go down, answers come up, and its end is the end of the other side.

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

_logger: Final = logging.getLogger(__name__)


class Link:
    """The supervisor's side: asks.

    Args:
        end: this side's socket.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
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
        """Hand out answers until the worker is gone."""
        with self._end, self._end.makefile("rb") as answers, suppress(OSError):
            while size := answers.readline():
                text = answers.read(int(size))
                if len(text) < int(size):
                    break
                question, answer = self._open.popleft()
                if question == "metrics":
                    self.metrics = text
                answer.set_result(text)
        with self._lock:
            self._gone = True
        while self._open:
            self._open.popleft()[1].set_result(b"")


def attach(end: socket.socket, answers: Mapping[Question, Callable[[], bytes | None]], gone: Callable[[], None]) -> None:
    """Answer from a thread: the worker's side.

    Args:
        end: this side's socket.
        answers: by question; what has nothing to say answers with a new line.
        gone: called when the supervisor is.
    """
    threading.Thread(target=_run, args=(end, answers, gone), name="supervisor", daemon=True).start()


def _run(end: socket.socket, answers: Mapping[Question, Callable[[], bytes | None]], gone: Callable[[], None]) -> None:
    with end, end.makefile("rwb") as questions, suppress(OSError):
        for line in questions:
            question = cast("Question", line.decode().strip())
            try:
                text = answers[question]() or b"\n"
            except Exception:
                _logger.exception("bug: no answer to %s; please report it", question)
                text = b"\n"
            questions.write(b"%d\n" % len(text) + text)
            questions.flush()
    _logger.warning("the supervisor is gone")
    gone()
