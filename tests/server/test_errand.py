"""What may hang is done in a thread of its own."""

import threading

from authz_server.server.errand import Errand
from tests.waiting import PATIENCE


def test_one_run_answers_all_that_came_before_it(caplog):
    """Whoever asks while it runs gets another one; a bug is logged, and the next run is as good as any."""
    began, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def act():
        began.release()
        go_on.acquire()
        raise RuntimeError

    errand = Errand("a thread", act)
    errand.ask()
    assert began.acquire(timeout=PATIENCE)
    for _ in range(3):
        errand.ask()
    go_on.release()
    assert began.acquire(timeout=PATIENCE)
    go_on.release()
    errand.ask()
    assert began.acquire(timeout=PATIENCE)

    assert "RuntimeError in a thread" in caplog.text
    assert not began.acquire(blocking=False)
    go_on.release()
