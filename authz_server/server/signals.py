"""Signals, as events that are handled in turn; they count from the first instruction of the process."""

import os
import signal
import threading

TYPE_CHECKING = False  # as typing has it: its import takes longer than all that stands here, and signals do not wait
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from authz_server.server.events import Event

_EVENTS: "Final[dict[int, Event]]" = {signal.SIGHUP: "reload", signal.SIGTERM: "drain", signal.SIGINT: "stop"}


def before_loading(event: "Event") -> None:
    """Handle an event of a process that has loaded nothing yet: it ends at once, and there is nothing to load again.

    The end is that of the process and no exception: the main thread may be inside an import, which would turn it into another error.
    """
    if event != "reload":
        os._exit(0)


class Signals:
    """Turn signals into events: SIGHUP reloads, SIGTERM drains, SIGINT (a person at a terminal) stops at once.

    A thread reads them from a pipe. A handler in Python would not do: the kernel may give a signal to a thread that is just starting
    another one, as the admin port does, and a main thread that waits for a queue then sleeps on until the next signal.

    Args:
        put: takes each event, in that thread, until `hand_to` replaces it.

    Source: pid_namespaces(7): the first process of a container gets only signals that it has a handler for; others are lost.
    """

    def __init__(self, put: "Callable[[Event], None]" = before_loading) -> None:
        self._put = put
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing)
        for number in _EVENTS:
            signal.signal(number, lambda *_: None)
        threading.Thread(target=self._run, args=(reading,), name="signals", daemon=True).start()

    def hand_to(self, put: "Callable[[Event], None]") -> None:
        """Replace what takes the events."""
        self._put = put

    def _run(self, reading: int) -> None:
        while True:
            for number in os.read(reading, 64):
                if number in _EVENTS:
                    self._put(_EVENTS[number])
