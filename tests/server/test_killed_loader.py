"""A loader that is killed midway, as the kernel does when memory runs out: nothing of its configuration is in force."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

from authz_server.config.parts import ApiPart, Part
from authz_server.core.user_pools import KeySettings
from authz_server.engine.generations import Generations
from authz_server.keys.store import KeyStore
from authz_server.server.loader import parts

ARN = "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/"
STAYS, GOES, COMES = "eu-west-1_Stays0001", "eu-west-1_Goes00001", "eu-west-1_Comes0001"
ROUTES = 4_000  # more than a pipe holds: the loader is still writing when the server has read their api


def written(pools: list[str], ceiling: int, ca_file: Path) -> str:
    """Write a configuration that is too long to be handed over at once."""
    arns = ", ".join(f'"{ARN}{pool}"' for pool in pools)
    routes = "".join(f"      /pets/{number}: {{GET: {{authorizer: users}}}}\n" for number in range(ROUTES))
    ca_file.touch()
    return f"""\
version: 1
authorizers:
  users: {{type: cognito_user_pools, provider_arns: [{arns}]}}
user_pools:
  {STAYS}: {{stale_ceiling_in_seconds: {ceiling}, ca_file: {ca_file}}}
apis:
  shop:
    routes:
{routes}"""


def kill_loader() -> None:
    """Kill the child of this process that loads a configuration."""
    children = {int(child) for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()}
    (loader,) = (child for child in children if b"authz_server.config" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"))
    os.kill(loader, signal.SIGKILL)


def interrupted(handed_over: Iterator[Part]) -> Iterator[Part]:
    """Kill the loader when it has handed over an api with its user pools, before all of the api's routes have come."""
    for part in handed_over:
        yield part
        if isinstance(part, ApiPart):
            kill_loader()


def test_settings_and_user_pools_come_with_the_last_part(tmp_path, caplog):
    """A stale ceiling, a `ca_file` and user pools of a configuration whose loader dies midway are not in force, and those of the next good one are."""
    path, refresher, outcome = tmp_path / "authz.yaml", Mock(), Mock()
    refresher.configure.side_effect = lambda keys, pool: keys.configure(pool)
    store = KeyStore(lambda: 0.0, refresher)
    load = Mock(side_effect=[parts(path, {}), interrupted(parts(path, {})), parts(path, {})])
    generations = Generations(path, load, store=store, swap=Mock(), outcome=outcome)
    old, new = (
        KeySettings(stale_ceiling=ceiling, ca_file=str(tmp_path / name)) for ceiling, name in ((7_200.0, "old.pem"), (60.0, "new.pem"))
    )

    path.write_text(written([STAYS, GOES], 7_200, tmp_path / "old.pem"))
    generations.load()
    stays, _ = before = store.all()
    refresher.reset_mock()
    path.write_text(written([STAYS, COMES], 60, tmp_path / "new.pem"))
    generations.reload()

    outcome.assert_called_with(1, False)  # noqa: FBT003 - as it is called
    assert "the loader ended with status -9" in caplog.text
    assert (stays.pool.settings, stays.state.ceiling) == (old, 7_200.0)
    assert store.all() == before
    assert {name for name, _, _ in refresher.mock_calls} <= {"watch", "unwatch"}
    assert [call.args for call in refresher.watch.call_args_list] == [call.args for call in refresher.unwatch.call_args_list]

    generations.reload()
    outcome.assert_called_with(2, True)  # noqa: FBT003 - as above
    assert (stays.pool.settings, stays.state.ceiling) == (new, 60.0)
    assert {keys.pool.id for keys in store.all()} == {STAYS, COMES}
