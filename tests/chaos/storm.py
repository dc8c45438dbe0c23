"""Things that happen again and again."""

import itertools
import threading
from collections.abc import Callable


class Storm:
    """Do one thing after the other without a pause worth the name.

    Args:
        things: in turn, for ever.
        every: seconds from one to the next.
    """

    def __init__(self, *things: Callable[[], object], every: float = 0.1) -> None:
        self._every = every
        self._over = threading.Event()
        self._things = itertools.cycle(things)
        self._thread = threading.Thread(target=self._run)

    def begin(self) -> None:
        """Let it come."""
        self._thread.start()

    def end(self) -> None:
        """Let it pass."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            next(self._things)()
