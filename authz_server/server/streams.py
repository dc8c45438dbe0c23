"""Standard streams: the parent process may have closed them, or their reader may be gone."""

import os
import sys


def open_closed() -> None:
    """Open each closed standard stream on nothing.

    Otherwise the next file or socket gets the number of the stream, and what a library prints goes there; and Python has no stream to write to.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - os's signature; the lowest free number is this one
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)


def give_up_on_stdout() -> None:
    """Drop what could not be written to standard output; Python would try again at its exit, and end with status 120."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
