"""The text of a revocation: one spelling that can be read again, and clear words about all others."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz_server.core.revocations import KINDS, Revocation
from authz_server.revocations.text import moment, parse, show, write

values = st.text(st.characters(codec="ascii", min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), min_size=1, max_size=80)
times = st.one_of(st.just(inf), st.integers(0, 10**11 - 1).map(float), st.floats(0, 4e9).map(lambda value: round(value, 3)))


@given(st.sampled_from(KINDS), values, times, times)
def test_what_is_written_can_be_read(kind, value, before, until):
    """To the last digit that matters."""
    entry = Revocation(kind, value, inf if kind == "jti" else before, until)

    assert parse(write(entry)) == parse(show(entry)) == entry


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (Revocation("sub", "a", 1_790_000_000, 1_790_086_400), "sub=a issued_before=2026-09-21T14:13:20Z until=2026-09-22T14:13:20Z"),
        (Revocation("jti", "a", inf, 10**11 - 1), "jti=a until=5138-11-16T09:46:39Z"),
        (Revocation("sub", "a", 0.5, inf), "sub=a issued_before=0.5"),
        (Revocation("sub", "a"), "sub=a"),
    ],
)
def test_people_read_dates(entry, line):
    """A time of whole seconds is RFC 3339 in UTC; one that is not stays as it is, since it must be read again."""
    assert show(entry) == line


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("sub=7d8c", Revocation("sub", "7d8c")),
        ("  until=20  sub=7d8c\tissued_before=10.5 ", Revocation("sub", "7d8c", 10.5, 20)),
        ("pool=eu-west-1_Ab1 issued_before=1970-01-01T00:01:00Z", Revocation("pool", "eu-west-1_Ab1", 60)),
        ("client_id=c until=1970-01-01T01:00:00+01:00", Revocation("client_id", "c", inf, 0)),
        ("origin_jti=a=b==", Revocation("origin_jti", "a=b==")),
    ],
)
def test_what_is_read(line, entry):
    """Fields in any order, times in either form."""
    assert parse(line) == entry


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "expected KIND=VALUE"),
        ("7d8c", "expected KIND=VALUE"),
        ("sub=", "expected KIND=VALUE"),
        ("sub=é", "printable ASCII"),
        ("sub=a sub=b", "sub stands twice"),
        ("sub=a jti=b", "KIND is one of jti, origin_jti, sub, client_id, pool"),
        ("email=a", "KIND is one of"),
        ("until=5", "KIND is one of"),
        ("sub=a until=tomorrow", "Unix seconds"),
        ("sub=a until=2026-01-31T12:00:00", "Unix seconds"),
        ("sub=a until=nan", "Unix seconds"),
        ("sub=a until=-5", "Unix seconds"),
        ("sub=a issued_before=9999-12-31T23:59:59-01:00", "Unix seconds"),
        ("sub=a until=١٢", "printable ASCII"),
        ("jti=a issued_before=5", "no issued_before"),
        ("sub=" + "a" * 1_021, "longer than 1024"),
    ],
)
def test_what_is_no_revocation(line, words):
    """The message says what is wrong, and repeats nothing of a value."""
    with pytest.raises(ValueError, match=words):
        parse(line)


@pytest.mark.parametrize("entry", [Revocation("sub", ""), Revocation("sub", "a b"), Revocation("sub", "a#"), Revocation("sub", "a", -1)])
def test_what_could_not_be_read_is_not_written(entry):
    """Whoever writes learns it at once."""
    with pytest.raises(ValueError, match=r"expected|printable"):
        write(entry)


def test_infinity_is_no_time_but_its_absence():
    """And nobody writes what is no number."""
    with pytest.raises(ValueError, match="number of seconds"):
        write(Revocation("sub", "a", float("nan")))
    assert write(Revocation("sub", "a")) == "sub=a"


def test_a_leap_of_fractions_is_read():
    """A time may have fractions of a second."""
    assert moment("1970-01-01T00:00:01.5Z") == 1.5


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+10:00"])
def test_a_time_beyond_the_calendar_is_no_time(text):
    """Its offset takes it out of the years that can be counted, which is a mistake like any other, and nothing of it is repeated."""
    with pytest.raises(ValueError, match="expected a time") as error:
        moment(text)
    assert text not in str(error.value)
