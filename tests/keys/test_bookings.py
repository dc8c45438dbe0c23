"""Bookings: what anybody makes up costs so much and no more."""

import pytest

from authz_server.keys.bookings import Bookings


def test_fetches_are_booked_a_tenth_of_a_second_apart() -> None:
    """Of whichever pools they are; after a quiet time the first one is due at once."""
    bookings = Bookings()

    assert [bookings.book(now) for now in (100.0, 100.0, 100.1, 200.0)] == pytest.approx([100.1, 100.2, 100.3, 200.1])


def test_no_fetch_is_booked_beyond_the_longest_refresh() -> None:
    """However many are booked, they count for a quarter of an hour."""
    bookings = Bookings()

    assert max(bookings.book(100.0) for _ in range(20_000)) == 1_000.0
    assert bookings.book(1_900.0) == pytest.approx(1_900.1)
