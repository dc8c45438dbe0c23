"""What happens to a running server, in which order."""

import gc
from queue import SimpleQueue

import pytest

from authz_server.server.serve import _until_end, collect_rarely


class Loader:
    """Count loads, and let things happen during each.

    Args:
        events: where they go.
        meanwhile: for each load, what happens during it.
    """

    def __init__(self, events, *meanwhile):
        self.count = 0
        self._events, self._meanwhile = events, meanwhile

    def ask(self):
        """Load."""
        for event in self._meanwhile[self.count]:
            self._events.put(event)
        self.count += 1


@pytest.fixture
def events():
    """Nothing has happened yet."""
    return SimpleQueue()


def test_one_load_answers_all_who_asked_before_it(events):
    """A hundred changes during a load are followed by a single further load."""
    generations = Loader(events, ["reload"] * 100, ["drain"])
    events.put("reload")

    assert _until_end(events, generations, None, list) == "drain"
    assert generations.count == 2


def test_the_end_waits_for_no_load_that_has_not_begun(events):
    """A signal that ends the server comes before the reloads that were asked for earlier."""
    generations = Loader(events, ["reload", "reload", "drain", "reload"])
    events.put("reload")

    assert _until_end(events, generations, None, list) == "drain"
    assert generations.count == 1


def test_to_stop_comes_before_to_drain(events):
    """Whoever is in a hurry gets what they ask for, also when both were asked for."""
    for event in ("drain", "stop"):
        events.put(event)

    assert _until_end(events, Loader(events), None, list) == "stop"


@pytest.mark.parametrize(("event", "fetches"), [("reload", 1), ("changed", 0)])
def test_who_asks_for_a_reload_means_keys_too(events, event, fetches):
    """SIGHUP has key sets fetched and files of keys read again; a configuration that has changed says nothing about them."""
    renewed, generations = [], Loader(events, ["drain"])
    events.put(event)

    assert _until_end(events, generations, None, lambda: renewed.append(generations.count)) == "drain"
    assert (generations.count, renewed) == (1, [0] * fetches)


def test_a_changed_certificate_loads_no_configuration(events):
    """A rotation is looked at with each event, the configuration only when that is asked for."""
    certificates, generations = Loader(events, ["rotate", "rotate"], ["reload"], ["drain"]), Loader(events, [])
    events.put("rotate")

    assert _until_end(events, generations, certificates, list) == "drain"
    assert (certificates.count, generations.count) == (3, 1)


def test_full_collections_are_put_off_and_young_ones_are_not():
    """Each looks at every verdict and route while all checks wait."""
    before = gc.get_threshold()
    try:
        collect_rarely()
        assert gc.get_threshold() == (*before[:2], 1_000)
    finally:
        gc.set_threshold(*before)
