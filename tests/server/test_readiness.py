"""Readiness follows the keys and the end, whichever thread brings the news."""

import threading

from authz_server.core.revocations import Revocations
from authz_server.server.readiness import Readiness


class Keys:
    """What readiness asks the store."""

    def __init__(self) -> None:
        self.has_attempted = self.has_keys = False

    def attempted(self) -> bool:
        """Whether each pool had its first fetch."""
        return self.has_attempted

    def answerable(self) -> bool:
        """Whether some pool has keys."""
        return self.has_keys


def test_readiness_follows_the_keys():
    """Not ready before each pool was tried, nor without keys; each change is told once."""
    keys, told = Keys(), []
    readiness = Readiness(keys, told.append)
    for keys.has_attempted, keys.has_keys, ready in (
        (False, True, False),
        (True, False, False),
        (True, True, True),
        (False, True, True),  # a reload brought another pool
        (False, False, False),
        (False, True, True),
    ):
        readiness.update()
        assert readiness.ready == ready

    assert told == [True, False, True]


def test_readiness_follows_the_list_of_revocations():
    """Nothing is said about tokens while it is not known, so others should be asked."""
    keys, told, revocations = Keys(), [], Revocations(known=False)
    keys.has_attempted = keys.has_keys = True
    readiness = Readiness(keys, told.append, revocations)
    for change in (lambda: None, lambda: revocations.replace([]), revocations.forget):
        change()
        readiness.update()

    assert told == [True, False]


def test_nothing_is_ready_again_once_it_drains():
    """Keys that come meanwhile change nothing."""
    keys, told = Keys(), []
    readiness = Readiness(keys, told.append)
    keys.has_attempted = keys.has_keys = True
    readiness.update()
    readiness.drain()
    readiness.update()

    assert told == [True, False]


def test_keys_that_come_at_the_very_moment_of_the_drain_do_not_hide_it():
    """Proxies would go on to send checks to a server that ends."""
    told = []
    draining = threading.Event()

    class Slow(Keys):
        def answerable(self) -> bool:
            threading.Thread(target=lambda: (readiness.drain(), draining.set())).start()
            draining.wait(0.2)  # it can not drain while somebody looks
            return True

    keys = Slow()
    keys.has_attempted = True
    readiness = Readiness(keys, told.append)
    readiness.update()

    assert draining.wait(5)
    assert not readiness.ready
    assert told == [True, False]
