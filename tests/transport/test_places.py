"""Places to wait: so many in all, and not all of them for one fetch."""

from concurrent.futures import Future

from authz_server.transport.places import Places


def test_one_fetch_has_so_many_places_and_all_together_have_so_many():
    """Those of one fetch leave the rest for others, and a place that is left is free."""
    places, fetch, other, third = Places(3, 2), Future(), Future(), Future()

    assert [places.take(fetch) for _ in range(3)] == [True, True, False]
    assert [places.take(other), places.take(third)] == [True, False]
    places.leave(fetch)
    assert [places.take(third), places.take(fetch)] == [True, False]


def test_nothing_is_kept_of_a_fetch_that_no_check_waits_for():
    """A process meets endless fetches."""
    places, fetch = Places(1, 1), Future()
    assert places.take(fetch)
    assert not places.take(Future())
    places.leave(fetch)

    assert not places._taken
