"""Signals, as events for a main loop to handle in turn."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Final, Literal

Event = Literal["reload", "drain", "stop"]

_EVENTS: Final[dict[int, Event]] = {signal.SIGHUP: "reload", signal.SIGTERM: "drain", signal.SIGINT: "stop"}


def on_signals(put: Callable[[Event], None]) -> None:
    """Turn signals into events: SIGHUP reloads, SIGTERM drains, SIGINT (a person at a terminal) stops at once.

    A thread reads them from a pipe. A handler in Python would not do: the kernel may give a signal to a thread that is just starting
    another one, as the admin port does, and a main thread that waits for a queue then sleeps on until the next signal.

    Args:
        put: takes an event.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in _EVENTS:
        signal.signal(number, lambda *_: None)
    threading.Thread(target=_run, args=(reading, put), name="signals", daemon=True).start()


def _run(reading: int, put: Callable[[Event], None]) -> None:
    while True:
        for number in os.read(reading, 64):
            if number in _EVENTS:
                put(_EVENTS[number])
