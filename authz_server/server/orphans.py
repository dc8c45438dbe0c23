"""Orphans: PID 1 of a container inherits processes whose parent has ended, and must wait for them, or they stay in the table of processes."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 2.0

_PROC: Final = Path("/proc")
_STATE, _PARENT, _STARTED = 0, 1, 19  # fields of /proc/PID/stat after the name


class Orphans:
    """Wait for children that had ended at the previous look already: our own children are waited for as soon as they end.

    Source: proc_pid_stat(5); pid_namespaces(7), "The namespace init process".
    """

    def __init__(self) -> None:
        self._seen: set[tuple[int, str]] = set()

    def look(self) -> None:
        """Look once."""
        ended = set(_ended())
        for pid, _ in ended & self._seen:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._seen = ended


def _ended() -> Iterator[tuple[int, str]]:
    """Find the children of this process that have ended: their numbers, and when they began, since numbers come again."""
    own = str(os.getpid())
    for entry in _PROC.glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # the process is gone
            continue
        if fields[_STATE] == "Z" and fields[_PARENT] == own:
            yield int(entry.parent.name), fields[_STARTED]


def follow() -> None:
    """Wait for orphans for as long as this process lives, if it is PID 1."""
    if os.getpid() == 1:
        threading.Thread(target=_run, name="orphans", daemon=True).start()


def _run() -> None:
    orphans = Orphans()
    while True:
        time.sleep(LOOK_SECONDS)
        orphans.look()
