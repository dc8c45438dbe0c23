"""Chaos of the state directory: no check notices that keys can not be kept for the next start."""

import pytest

from authz_server.testing import UserPool
from tests.chaos.fault import Fault
from tests.chaos.inside import Inside
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


@pytest.mark.parametrize("name", ["full", "not writable"])
def test_a_bad_state_directory(stage: Stage, name):
    """New keys are fetched and verify all the same, and no check fails."""
    inside, replaced, pool = Inside(stage.folder), Replaced(stage), stage.pool
    server = stage.start("--state-dir", str(stage.folder / "state"), environment=inside.environment)
    begin, end = (inside.fill_disk, inside.clear_disk) if name == "full" else (replaced.begin, replaced.end)
    server.process.wait_until(lambda: sample(server, _written(pool, "ok")) == 1)
    pool.rotate()
    fault = Fault(
        name=f"state directory {name}",
        begin=begin,
        end=end,
        felt=lambda: sample(server, _written(pool, "failed")) >= 1,
        asked=id_tokens(pool, 4, "new key's"),
    )
    stage.chaos(server).meet(fault)


def _written(pool: UserPool, outcome: str) -> str:
    return f'authz_jwks_state_files_total{{operation="write",outcome="{outcome}",user_pool="{pool.id}"}}'
