"""A crowd: as many checks as a server can take, or half of it, each of which is judged."""

import sys
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from threading import Event

from authz_server.envoy.stubs import CheckResponse
from tests.chaos.load import CHECK, read
from tests.chaos.oracle import NO_ANSWER, Answer, Oracle, Question

sys.path.append(str(Path(__file__).parents[2] / "load_tests"))

import caller

CONNECTIONS, STREAMS = 4, 16
TICK_SECONDS = 0.25
MEASURED = 4_000  # checks by which capacity is measured
PREFIX = 5  # octets before a gRPC message
DATA, HEADERS, END_STREAM = 0, 1, 1  # RFC 9113, section 6


class Crowd:
    """Ask on several connections at once.

    Args:
        port: of the server.
        oracle: judges.
    """

    def __init__(self, port: int, oracle: Oracle) -> None:
        self.questions: Sequence[Question] = ()
        self._port, self._oracle = port, oracle
        self._known: dict[bytes, Answer] = {}

    def ask(self, count: int) -> float:
        """Ask so many questions as fast as they are answered; return the seconds that it took.

        Raises:
            CallError: when one is not answered.
        """
        asked, began = cycle(self.questions), time.perf_counter()
        shares = [iter(list(islice(asked, count // CONNECTIONS))) for _ in range(CONNECTIONS)]
        caller.run(self._port, CHECK, shares, STREAMS, lambda path, some, streams: _Judged(self, path, some, streams))
        return time.perf_counter() - began

    def capacity(self) -> float:
        """Measure how many questions are answered per second."""
        return MEASURED / min(self.ask(MEASURED) for _ in range(3))

    def keep_asking(self, rate: float, over: Event) -> None:
        """Ask at a rate, a quarter of a second's worth at a time, until it is over."""
        due = time.monotonic()
        while not over.wait(max(0.0, due - time.monotonic())):
            self.ask(round(rate * TICK_SECONDS))
            due += TICK_SECONDS

    def judge(self, question: Question, asked: int, octets: bytes) -> None:
        """Have an answer judged; those that came before need no second reading."""
        answer = self._known.get(octets)
        if answer is None:
            self._known[octets] = answer = _read(octets)
        self._oracle.judge(question, asked, answer)

    def moment(self) -> int:
        """Name the present."""
        return self._oracle.moment()

    def forget(self) -> None:
        """Forget the answers that were read."""
        self._known.clear()


class _Judged(caller.Calls):
    """The calls of one connection, each of which is judged."""

    def __init__(self, crowd: Crowd, path: str, questions: Iterator[Question], streams: int) -> None:
        self._crowd, self._asked, self._parts = crowd, [], {}
        super().__init__(path, map(self._write, questions), streams)

    def _write(self, question: Question) -> bytes:
        self._asked.append((question, self._crowd.moment()))
        request = question.octets
        return bytes(1) + len(request).to_bytes(4) + request

    def _take(self, kind: int, flags: int, stream: int, payload: bytes, now: float) -> None:
        super()._take(kind, flags, stream, payload, now)
        if kind == DATA:
            self._parts[stream] = self._parts.get(stream, b"") + payload
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self._crowd.judge(*self._asked[stream // 2], self._parts.pop(stream, b""))


def _read(octets: bytes) -> Answer:
    return read(CheckResponse.FromString(octets[PREFIX:])) if octets else Answer(NO_ANSWER)
