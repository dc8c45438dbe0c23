"""Processes that are pinned to a core, and what they use."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from authz_server.demo.process import Process

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

# Places in /proc/PID/stat behind the name, see proc(5).
_SESSION, _CPU_TICKS, _RESIDENT_PAGES = 3, slice(11, 15), 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process and its descendants have used so far.

    Args:
        cpu: seconds, user and system.
        memory: resident bytes.
    """

    cpu: float
    memory: int


class PinnedProcess(Process):
    """A child process that may run on one core only, at the head of a session of its own.

    Args:
        command: program and arguments.
        core: number.
        log: file that takes what it prints.
    """

    def __init__(self, command: Sequence[str], *, core: int, log: Path) -> None:
        super().__init__(pinned(command, core), log=log)

    def usage(self) -> Usage:
        """Add up the whole session: workers that it started count, too."""
        stats = [stat for stat in _stats() if int(stat[_SESSION]) == self.pid]
        return Usage(
            cpu=sum(int(ticks) for stat in stats for ticks in stat[_CPU_TICKS]) / TICKS_PER_SECOND,
            memory=sum(int(stat[_RESIDENT_PAGES]) for stat in stats) * PAGE,
        )

    def __enter__(self) -> Self:
        return self


def end_children_on_sigterm() -> None:
    """End this program in order on SIGTERM, so that everything it started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def pinned(command: Sequence[str], core: int) -> list[str]:
    """Write a command that keeps to one core; taskset becomes the program, so the process id stays."""
    return ["taskset", "--cpu-list", str(core), *command]


def _stats() -> Iterator[list[str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # it has just ended
                continue
            yield stat.rpartition(")")[2].split()
