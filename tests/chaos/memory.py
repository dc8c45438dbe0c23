"""Memory of a server and of its workers."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
LOOKS, LOOK_SECONDS = 2, 0.05  # a child is a copy of its parent for a moment
LOADER = b"authz_server.config"  # comes and goes when a configuration is loaded

# Places in /proc/PID/stat behind the name, see proc(5).
_PARENT, _RESIDENT_PAGES = 1, 21


def resident_mib(pid: int) -> float:
    """Tell how much memory is resident in a process and its descendants, without those that load a configuration."""
    return min(_resident(pid) for _ in range(LOOKS) if time.sleep(LOOK_SECONDS) is None) / 1_048_576


def _resident(pid: int) -> int:
    stats = dict(_stats())
    family, generation = set[int](), {pid}
    while generation:
        family |= generation
        generation = {child for child, stat in stats.items() if int(stat[_PARENT]) in generation and not _loads(child)}
    return sum(int(stats[each][_RESIDENT_PAGES]) for each in family & stats.keys()) * PAGE


def _loads(pid: int) -> bool:
    try:
        return LOADER in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it has just ended
        return True


def _stats() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # it has just ended
                continue
            yield int(entry.name), stat.rpartition(")")[2].split()
