"""Where workers listen, when they are started again, and how many CPUs there are for them."""

import os
import subprocess
import sys
import threading

import pytest

from authz_server.server.cpus import pinned, place, usable
from authz_server.server.workers import endpoint, pause


@pytest.mark.parametrize(
    ("address", "worker", "expected"),
    [
        ("127.0.0.1:9000", 0, "127.0.0.1:9000"),
        ("127.0.0.1:9000", 3, "127.0.0.1:9003"),
        ("[::]:9000", 1, "[::]:9001"),
        ("authz.internal:65534", 1, "authz.internal:65535"),
        ("unix:///run/authz.sock", 0, "unix:///run/authz.sock.0"),
        ("unix:///run/authz.sock", 12, "unix:///run/authz.sock.12"),
    ],
)
def test_each_worker_has_an_endpoint_of_its_own(address, worker, expected):
    """Worker n listens on port + n, or on the path with `.n` after it."""
    assert endpoint(address, worker) == expected


@pytest.mark.parametrize(("address", "worker"), [("127.0.0.1:0", 0), ("127.0.0.1:0", 1), ("127.0.0.1:65535", 1), ("[::1]:65000", 536)])
def test_an_endpoint_that_can_not_be_is_refused(address, worker):
    """Any port is no port to count on from, and there is none after the last."""
    with pytest.raises(ValueError, match=r"0 is any|beyond the last port"):
        endpoint(address, worker)


@pytest.mark.parametrize(
    ("before", "up", "expected"),
    [(0, 0, 1), (0, 59.9, 1), (1, 5, 2), (2, 5, 4), (8, 5, 16), (16, 5, 30), (30, 5, 30), (30, 59.9, 30), (30, 60, 1), (0, 3600, 1)],
)
def test_pauses_double_until_a_worker_runs_steadily(before, up, expected):
    """A worker that ends is started again after 1 s, 2 s, 4 s … 30 s, and after 1 s once it has run for a minute."""
    assert pause(before, up) == expected


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"cgroup/cpu.max": "max 100000"}, 8),
        ("0::/", {"cgroup/cpu.max": "200000 100000"}, 2),
        ("0::/", {"cgroup/cpu.max": "250000 100000"}, 2),
        ("0::/", {"cgroup/cpu.max": "50000 100000"}, 1),
        ("0::/", {"cgroup/cpu.max": "1600000 100000"}, 8),
        ("0::/pod/one", {"cgroup/pod/cpu.max": "300000 100000", "cgroup/pod/one/cpu.max": "max 100000"}, 3),
        ("0::/pod/one", {"cgroup/pod/cpu.max": "300000 100000", "cgroup/pod/one/cpu.max": "400000 100000"}, 3),
        ("4:cpu,cpuacct:/", {"cgroup/cpu/cpu.cfs_quota_us": "-1", "cgroup/cpu/cpu.cfs_period_us": "100000"}, 8),
        ("4:cpu,cpuacct:/", {"cgroup/cpu/cpu.cfs_quota_us": "400000", "cgroup/cpu/cpu.cfs_period_us": "100000"}, 4),
        ("4:cpu:/docker/1f", {"cgroup/cpu/cpu.cfs_quota_us": "400000", "cgroup/cpu/cpu.cfs_period_us": "100000"}, 4),
        ("4:memory:/\n0::/", {"cgroup/memory/cpu.max": "100000 100000"}, 8),
        ("0::/", {}, 8),
        (None, {}, 8),
    ],
    ids=[
        "no limit",
        "two",
        "two and a half",
        "half a CPU",
        "more than there are",
        "the group around it",
        "the tighter of two",
        "version 1, no limit",
        "version 1",
        "version 1, a path of the host",
        "another controller",
        "no files",
        "no groups",
    ],
)
def test_cpus_are_those_that_the_container_may_use(tmp_path, groups, files, expected):
    """The tightest quota of the control group and those around it, in whole CPUs, of the 8 that the process may run on."""
    if groups is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(f"{groups}\n")
    for name, text in files.items():
        file = tmp_path / "sys/fs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    assert usable(8, tmp_path) == expected


def test_servers_keep_to_different_cpus():
    """Containers of one node, in each of which the server is process 1, spread over its CPUs; workers of one server have one each."""
    assert len({place(f"authz-{number}", 1, 0) % 8 for number in range(40)}) == 8
    assert sorted(place("authz", 1, worker) % 4 for worker in range(4)) == [0, 1, 2, 3]
    assert place("authz", 1, 0) == place("authz", 1, 0)


def test_a_door_keeps_to_one_cpu():
    """Threads that are started meanwhile run on one of the CPUs that there are; others, and the process itself, stay free."""
    free, seen = os.sched_getaffinity(0), []
    for number in range(len(free)):
        with pinned(number):
            thread = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
            thread.start()
            thread.join()
        assert os.sched_getaffinity(0) == free

    assert [cpus for each in seen for cpus in each] == sorted(free)


def test_a_supervisor_is_small():
    """It answers no check, so it does not bring what only checks and configurations need."""
    heavy = ["cryptography", "google", "grpc", "httpx2", "pydantic", "uvloop", "yaml"]
    program = f"import sys; from authz_server.cli import main; print([name for name in {heavy} if name in sys.modules])"

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
