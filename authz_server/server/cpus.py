"""CPUs: how many this process may use, and which one its door keeps to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from zlib import crc32

_V2: Final = "sys/fs/cgroup"
_V1: Final = "sys/fs/cgroup/cpu"


def usable(affinity: int, root: Path) -> int:
    """Count the CPUs that a process may use: those it may run on, and its control group's quota.

    Args:
        affinity: on how many it may run.
        root: of the file system, `/`.

    Returns:
        At least 1. A part of a CPU is not counted: a worker that has used up its part stands still, and its checks with it.

    Source:
        cgroups(7), and the kernel's documentation of `cpu.max` and `cpu.cfs_quota_us`.
    """
    return max(1, min([affinity, *(int(quota) for group in _groups(root) for quota in _quota(group))]))


def place(host: str, server: int, worker: int) -> int:
    """Choose where a process keeps its threads: workers side by side, and servers of one machine apart, as far as chance can.

    Args:
        host: its name; each container has its own, though the server's number is 1 in all of them.
        server: number of the process that the user started.
        worker: 0 where there are no others.

    Returns:
        A number for `pinned`.
    """
    return crc32(f"{host} {server}".encode()) + worker


@contextmanager
def pinned(number: int) -> Iterator[None]:
    """Let the threads that are started meanwhile run on one CPU only; the calling thread and its children are free again afterwards.

    Threads of one interpreter take turns: on two CPUs they hand that turn from one to the other, and a check costs half as much again.

    Args:
        number: any; of the CPUs that this thread may run on, the one at this place, counted around.

    Source: sched_setaffinity(2): affinity is a thread's, and inherited by the threads that it starts.
    """
    free = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(free)[number % len(free)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, free)


def _groups(root: Path) -> Iterator[Path]:
    """Find the folders of the process's own group and those around it, which limit it as well.

    A container sees its group as the root of the mount, though the file may name the path on the host.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / (_V1 if controllers else _V2)
        group = mount / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(mount))


def _quota(group: Path) -> Iterator[float]:
    """Read how many CPUs a group may use, where that is limited."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / name).read_text() for name in names).split()
        except OSError:
            continue
        if quota not in ("max", "-1"):
            yield int(quota) / int(period)
