"""What others leave behind is taken away, and what somebody waits for is left to them."""

import subprocess
import sys

from authz_server.server.orphans import Orphans, _ended
from tests.waiting import PATIENCE, until


def zombie():
    """Start a process, and let it end without waiting for it."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    until(lambda: child.pid in {pid for pid, _ in _ended()})
    return child


def test_an_ended_process_that_nobody_waits_for_is_taken_away_at_the_second_look():
    """At the first, whoever has started it may be about to ask for its status."""
    orphans, child = Orphans(), zombie()
    orphans.look()
    assert child.pid in {pid for pid, _ in _ended()}
    orphans.look()

    assert child.pid not in {pid for pid, _ in _ended()}
    assert child.wait() == 0  # there is no status left, which subprocess takes for 0


def test_a_process_that_is_waited_for_between_two_looks_keeps_its_status():
    """Nothing is taken from its parent, nor from a later process with the same number."""
    orphans = Orphans()
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    orphans.look()
    assert child.wait(PATIENCE) == 3
    orphans.look()


def test_a_running_process_is_left_alone():
    """However often it is looked at."""
    orphans = Orphans()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        for _ in range(3):
            orphans.look()
        assert child.poll() is None
        child.communicate(b"\n")
    assert child.returncode == 0
