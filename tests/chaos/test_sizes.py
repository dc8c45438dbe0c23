"""Files and members of a list that are far too large."""

import math
import os
import re
from pathlib import Path

import pytest

from authz_server.revocations.shared import KEY, STREAM
from tests.chaos.fault import Fault
from tests.chaos.stage import Stage, sample
from tests.chaos.test_revocations import FAILED, SignOuts

pytestmark = pytest.mark.xdist_group("takes a CPU")

MEMBER = 200 * 2**20
PEAK_MIB = 128.0  # beyond what the server has at rest; the member alone would take five times as much
GENERATION = "authz_configuration_last_reload_successful"


def peak_mib(pid: int) -> float:
    """Read the most memory that a process ever had."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def test_what_is_far_too_large_is_not_read(stage: Stage):
    """A member of 200 MiB in Redis and a configuration of a tebibyte cost a bounded amount of memory, and nobody an answer."""
    out = SignOuts(stage)
    server = stage.start(*out.flags)
    text, before = server.config.read_bytes(), peak_mib(server.process.pid)

    def begin() -> None:
        with out.client() as client:
            client.zadd(KEY, {b"x" * MEMBER: math.inf})
            client.xadd(STREAM, {"read": "again"})
        os.truncate(server.config, 2**40)

    def end() -> None:
        with out.client() as client:
            client.zrem(KEY, b"x" * MEMBER)
            client.xadd(STREAM, {"read": "again"})
        server.config.write_bytes(text)

    fault = Fault(
        name="a member of 200 MiB in Redis, and a configuration of 1 TiB",
        begin=begin,
        end=end,
        felt=lambda: sample(server, FAILED) >= 1 and sample(server, GENERATION) in {0, 1},
        within=60.0,
        growth=PEAK_MIB,
    )
    stage.chaos(server, questions=[*stage.questions, out.before]).meet(fault)
    assert peak_mib(server.process.pid) - before < PEAK_MIB
