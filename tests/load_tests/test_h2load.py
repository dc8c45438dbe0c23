"""h2load: its output is read strictly, since a figure about failed calls means nothing."""

import h2load
import pytest
from traffic import TrafficError

OUTPUT = """
finished in 413.02ms, 65856.01 req/s, 15.46MB/s
requests: 27200 total, 27200 started, 27200 done, 27200 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 27200 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 6.38MB (6692064) total, 133.68KB (136888) headers (space savings 95.21%), 4.23MB (4433600) data
"""


def test_h2load_tells_how_long_it_took():
    """H2load tells how long it took."""
    assert h2load.finished(OUTPUT, calls=27_200, reply_size=158) == pytest.approx(0.41302)


def test_a_call_that_did_not_succeed_makes_figures_worthless():
    """A call that did not succeed makes figures worthless."""
    with pytest.raises(TrafficError, match="not every call succeeded"):
        h2load.finished(OUTPUT, calls=27_201, reply_size=158)


def test_answers_of_another_size_are_wrong_answers():
    """Answers of another size are wrong answers."""
    with pytest.raises(TrafficError, match="answers of 4433600 octets, where 27200 right ones have 4406400"):
        h2load.finished(OUTPUT, calls=27_200, reply_size=157)


def test_an_output_that_says_nothing_is_an_error():
    """An output that says nothing is an error."""
    with pytest.raises(TrafficError, match="could not connect"):
        h2load.finished("could not connect", calls=1, reply_size=1)
