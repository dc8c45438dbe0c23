"""Signals, as events for a main loop to handle in turn."""

import signal
from collections.abc import Callable
from typing import Literal

Event = Literal["reload", "drain", "stop"]


def on_signals(put: Callable[[Event], None]) -> None:
    """Turn signals into events: SIGHUP reloads, SIGTERM drains, SIGINT (a person at a terminal) stops at once.

    Args:
        put: takes an event, and may be interrupted by itself.
    """
    signal.signal(signal.SIGHUP, lambda *_: put("reload"))
    signal.signal(signal.SIGTERM, lambda *_: put("drain"))
    signal.signal(signal.SIGINT, lambda *_: put("stop"))
