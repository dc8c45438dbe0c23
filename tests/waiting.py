"""How tests wait: for what happens, and for long; a machine that stands still delays it, and breaks no rule."""

import time

PATIENCE = 120.0  # seconds for what comes at once on a machine that has nothing else to do


def until(condition):
    """Wait until something comes true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true in {PATIENCE:g} s"
        time.sleep(0.02)
