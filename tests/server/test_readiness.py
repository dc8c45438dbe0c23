"""Readiness follows the keys and the end, whichever thread brings the news."""

import threading

from authz_server.core.revocations import Revocations
from authz_server.server.readiness import Readiness
from authz_server.server.report import Report
from tests.waiting import PATIENCE


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

    assert draining.wait(PATIENCE)
    assert not readiness.ready
    assert told == [True, False]


def test_a_report_says_why_and_can_be_read_back():
    """The first line is for probes, the others are for people; a worker's is read by its supervisor."""
    keys = Keys()
    readiness = Readiness(keys, lambda _: None, lines=lambda: ["user pool a: no keys", "revocations: 2 entries"])
    before = readiness.report()
    keys.has_attempted = keys.has_keys = True
    readiness.update()
    ready = readiness.report()
    readiness.drain()

    assert before.text() == b"not ready\nuser pool a: no keys\nrevocations: 2 entries\n"
    assert ready.text() == b"ready\nuser pool a: no keys\nrevocations: 2 entries\n"
    assert readiness.report().text() == b"not ready\ndraining\nuser pool a: no keys\nrevocations: 2 entries\n"
    assert [Report.read(report.text()) for report in (before, ready)] == [before, ready]


def test_a_report_knows_that_a_list_became_too_old():
    """It says so at once, before anything has happened that readiness would follow."""
    keys, revocations = Keys(), Revocations()
    is_fresh = [True]
    revocations.expires(lambda: is_fresh[0])
    readiness = Readiness(keys, lambda _: None, revocations)
    keys.has_attempted = keys.has_keys = True
    readiness.update()
    reports = [readiness.report().ready]
    is_fresh[0] = False
    reports.append(readiness.report().ready)

    assert reports == [True, False]
