"""The text of metrics is made once for all who ask within a second."""

import pytest

from authz_server.observe.exposition import FRESH_SECONDS, Exposition


class Texts:
    """Texts that can be told apart; making one takes a while.

    Args:
        seconds: that it takes.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.now = 100.0
        self.made = 0
        self.seconds = seconds

    def __call__(self) -> bytes:
        """Make the next one."""
        self.now += self.seconds
        self.made += 1
        return b"%d" % self.made

    def clock(self) -> float:
        """Tell the time."""
        return self.now


def test_a_text_is_given_again_for_a_second() -> None:
    """And made again for whoever asks after that."""
    texts = Texts()
    exposition = Exposition(texts, texts.clock)
    given = []
    for now in (100.0, 100.999, 101.0, 101.5, 102.0, 500.0):
        texts.now = now
        given.append(exposition.text())

    assert given == [b"1", b"1", b"2", b"2", b"3", b"4"]


def test_the_second_begins_when_the_text_is_there() -> None:
    """A text that takes long to make is given again, too, or many who wait for one would have one made each."""
    texts = Texts(seconds=10 * FRESH_SECONDS)
    exposition = Exposition(texts, texts.clock)

    assert {exposition.text() for _ in range(16)} == {b"1"}


def test_a_text_that_could_not_be_made_is_tried_again() -> None:
    """A bug in one scrape leaves nothing locked, and nothing old in force."""
    texts = iter([b"", b"text"])

    def make() -> bytes:
        text = next(texts)
        if not text:
            raise KeyError("bug")
        return text

    exposition = Exposition(make, lambda: 0.0)
    with pytest.raises(KeyError):
        exposition.text()

    assert exposition.text() == b"text"
