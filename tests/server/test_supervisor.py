"""What a supervisor says about its workers."""

from concurrent.futures import Future

import pytest

from authz_server.server import supervisor
from authz_server.server.supervisor import State, Supervision, Supervisor


class Worker:
    """A worker that answers with some text, or not at all."""

    def __init__(self, number, text=None):
        self.number, self.link, self._text = number, self, text

    def ask(self, question):
        """Answer."""
        assert question == "ready"
        answer = Future()
        if self._text is not None:
            answer.set_result(self._text)
        return answer


@pytest.fixture
def report(monkeypatch):
    """Give the report of a supervisor of three workers, some of which listen."""
    monkeypatch.setattr(supervisor, "ANSWER_SECONDS", 0.05)

    def report(*listening, started=True):
        supervised = Supervisor(Supervision(workers=3, command=(), admin=None, end_seconds=1))
        supervised._state, supervised._started = State(listening), started
        return supervised.report()

    return report


def test_each_worker_says_why(report):
    """Its lines stand behind its number; one that hangs, or has not come up, is named."""
    said = report(Worker(0, b"not ready\nuser pool a: no keys\n"), Worker(2))

    assert not said.ready
    assert said.lines == (
        "worker 0: not ready",
        "worker 0: user pool a: no keys",
        "worker 1: does not listen yet",
        "worker 2: does not answer",
    )


def test_one_that_is_ready_is_enough(report):
    """Nobody waits for one that hangs, nor is anything said of it."""
    said = report(Worker(0, b"ready\n"), Worker(1, b"not ready\n"), Worker(2))

    assert said.ready
    assert said.lines[0] == "worker 0: ready"
    assert not any("worker 2" in line for line in said.lines)


def test_before_all_have_listened_none_is_enough(report):
    """The start may still fail."""
    assert not report(Worker(0, b"ready\n"), started=False).ready


def test_a_worker_that_is_not_ready_is_no_ready_one(report):
    """Whatever else it says."""
    assert not report(*(Worker(number, b"not ready\nready\n") for number in range(3))).ready
