"""Servers for other people's tools, which `make conformance` builds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from authz_server.testing import LocalCognito, UserPool
from tests.e2e.stack import Server


def pytest_collection_modifyitems(items):
    """Mark every test of this folder, so that plain pytest leaves it out: the tools need Go."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.conformance)


@pytest.fixture(scope="session")
def pool() -> UserPool:
    """A user pool with one user."""
    pool = UserPool("eu-west-1_Local0001")
    pool.add_user("ada")
    return pool


@pytest.fixture(scope="session", params=["grpcio", "asyncio"])
def server(request, tmp_path_factory, pool) -> Iterator[Server]:
    """A server behind each door in turn, at a port and a Unix socket."""
    folder = tmp_path_factory.mktemp(request.param)
    with LocalCognito(pool) as cognito:
        arguments = ("--transport", request.param, "--listen", f"unix://{folder}/authz.sock")
        started = Server.start(folder, pool, cognito, *arguments)
        yield started
        started.process.stop()


@pytest.fixture
def transport(server) -> str:
    """Which door it is."""
    return server.config.parent.name.rstrip("0")
