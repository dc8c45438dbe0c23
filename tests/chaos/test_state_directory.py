"""Chaos of the state directory: no check notices that keys can not be kept for the next start."""

import resource

import pytest

from authz_server.testing import UserPool
from tests.chaos.fault import Fault
from tests.chaos.load import id_tokens
from tests.chaos.stage import Stage, sample


class Replaced:
    """A file in place of the state directory: nothing can be written there, not even by root."""

    def __init__(self, stage: Stage) -> None:
        self._directory, self._aside = stage.folder / "state", stage.folder / "aside"

    def begin(self) -> None:
        """Put it there."""
        self._directory.rename(self._aside)
        self._directory.touch()

    def end(self) -> None:
        """Put the directory back."""
        self._directory.unlink()
        self._aside.rename(self._directory)


class Full:
    """No room for another octet in any file that a process writes, its log included."""

    def __init__(self, pid: int) -> None:
        self._pid, self._room = pid, resource.prlimit(pid, resource.RLIMIT_FSIZE)

    def begin(self) -> None:
        """Take the room."""
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (0, self._room[1]))

    def end(self) -> None:
        """Give it back."""
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, self._room)


@pytest.mark.parametrize("name", ["full", "not writable"])
def test_a_bad_state_directory(stage: Stage, name):
    """New keys are fetched and verify all the same, and no check fails."""
    pool = stage.pool
    server = stage.start("--state-dir", str(stage.folder / "state"))
    disk = Full(server.process.pid) if name == "full" else Replaced(stage)
    server.process.wait_until(lambda: sample(server, _written(pool, "ok")) == 1)
    pool.rotate()
    fault = Fault(
        name=f"state directory {name}",
        begin=disk.begin,
        end=disk.end,
        felt=lambda: sample(server, _written(pool, "failed")) >= 1,
        asked=id_tokens(pool, 4, "new key's"),
    )
    stage.chaos(server).meet(fault)


def _written(pool: UserPool, outcome: str) -> str:
    return f'authz_jwks_state_files_total{{operation="write",outcome="{outcome}",user_pool="{pool.id}"}}'
