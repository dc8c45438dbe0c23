"""The link between the supervisor and a worker."""

import logging
import threading
from queue import SimpleQueue
from socket import SHUT_RDWR, socketpair

import pytest

from authz_server.server import link
from authz_server.server.link import Link, Upward, read_outcome, write_outcome
from authz_server.server.report import READY
from tests.waiting import PATIENCE


class Ends:
    """Both ends of a link, each with its thread."""

    def __init__(self):
        ours, self.theirs = socketpair()
        self.news = SimpleQueue()
        self.link = Link(ours, self.news.put)
        self.upward = Upward(self.theirs)
        self.gone = threading.Event()
        self.thread = threading.Thread(target=self.link.run, daemon=True)
        self.thread.start()

    def attach(self, **answers):
        """Let the worker answer."""
        self.upward.attach(answers, self.gone.set)


@pytest.fixture
def ends():
    """A link whose worker does not answer yet."""
    made = Ends()
    yield made
    made.theirs.close()


def test_questions_wait_until_the_worker_answers(ends):
    """What is asked before the worker listens is answered once it does, in turn."""
    asked = [ends.link.ask("ready"), ends.link.ask("metrics"), ends.link.ask("reload")]
    assert not any(answer.done() for answer in asked)
    ends.attach(ready=lambda: READY, metrics=lambda: b"a 1\nb 2\n" * 100_000, reload=lambda: None)

    assert [answer.result(PATIENCE) for answer in asked] == [READY, b"a 1\nb 2\n" * 100_000, b"\n"]
    assert ends.link.metrics == b"a 1\nb 2\n" * 100_000


@pytest.mark.parametrize("outcome", [(1, True), (27, False)])
def test_news_come_between_answers(ends, outcome):
    """What a worker says without being asked, before it answers or while it does, spoils no answer."""
    generation, good = outcome
    ends.upward.tell(write_outcome(generation, good=good))
    ends.attach(ready=lambda: ends.upward.tell("while it answers") or READY)

    assert ends.link.ask("ready").result(PATIENCE) == READY
    assert read_outcome(ends.news.get(timeout=PATIENCE)) == outcome
    assert ends.news.get(timeout=PATIENCE) == "while it answers"


def test_news_for_a_supervisor_that_is_gone_are_lost(ends):
    """The worker goes on."""
    ends.link._end.shutdown(SHUT_RDWR)
    ends.thread.join(PATIENCE)
    for _ in range(3):
        ends.upward.tell("too late")


def test_a_worker_that_ends_owes_nothing(ends):
    """Its open questions and all later ones are answered with nothing at once."""
    asked = ends.link.ask("ready")
    ends.theirs.close()

    assert asked.result(PATIENCE) == b""
    ends.thread.join(PATIENCE)
    assert ends.link.ask("ready").result(0) == b""


def test_half_an_answer_is_none(ends):
    """A worker that is killed while it answers does not spoil its last metrics."""
    asked = [ends.link.ask("metrics"), ends.link.ask("metrics")]
    ends.theirs.sendall(b"4\na 1\n9\na 2")
    ends.theirs.close()

    assert [answer.result(PATIENCE) for answer in asked] == [b"a 1\n", b""]
    assert ends.link.metrics == b"a 1\n"


def test_a_worker_that_hangs_is_asked_no_more(ends):
    """Beyond a number of open questions nobody waits, and nothing piles up."""
    asked = [ends.link.ask("ready") for _ in range(link.MAX_OPEN)]

    assert ends.link.ask("ready").result(0) == b""
    assert not any(answer.done() for answer in asked)


def test_a_worker_is_told_when_the_supervisor_is_gone(caplog):
    """However the supervisor ends, its end of the link closes."""
    ours, theirs = socketpair()
    gone = threading.Event()
    Upward(theirs).attach({}, gone.set)
    assert not gone.wait(0.05)
    ours.close()

    assert gone.wait(PATIENCE)
    assert caplog.messages == ["the supervisor is gone"]


def test_a_bug_in_an_answer_does_not_cut_the_link(ends, caplog):
    """It is logged, and the next question is answered."""
    with caplog.at_level(logging.ERROR):
        ends.attach(metrics=lambda: 1 / 0, ready=lambda: READY)

        assert ends.link.ask("metrics").result(PATIENCE) == b"\n"
        assert ends.link.ask("ready").result(PATIENCE) == READY
    assert "bug: no answer to metrics" in caplog.text
