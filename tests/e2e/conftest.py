"""Real processes: this server, Envoy and an upstream, around a local user pool."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from authz_server.demo.process import free_port
from authz_server.demo.upstream import Upstream
from authz_server.testing import LocalCognito, UserPool
from tests.e2e import edges
from tests.e2e.stack import CONFIGURATION, PROGRAM, Edge, Server


def pytest_collection_modifyitems(items):
    """Mark every test of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def pool() -> UserPool:
    """A user pool with one user and two app clients."""
    pool = UserPool("eu-west-1_Local0001")
    pool.add_user("ada", groups=["admins", "staging"], attributes={"email": "ada@example.com", "email_verified": True})
    pool.add_client("web")
    pool.add_client("machine", secret=True, scopes=["pets/read", "pets/write"])
    return pool


@pytest.fixture(scope="session")
def cognito(pool) -> Iterator[LocalCognito]:
    """The pool, served on this machine."""
    with LocalCognito(pool) as served:
        yield served


@pytest.fixture(scope="module", params=["grpcio", "asyncio"])
def transport(request) -> str:
    """Every promise holds behind both doors."""
    return request.param


@pytest.fixture
def start_server(tmp_path, pool, cognito, transport) -> Iterator[Callable[..., Server]]:
    """Start servers of this package that end with the test."""
    with ExitStack() as running:

        def start(*arguments: str, configuration: str = CONFIGURATION, program: Sequence[str] = PROGRAM, **environment: str) -> Server:
            flags = ("--transport", transport, *arguments)
            server = Server.start(tmp_path, pool, cognito, *flags, configuration=configuration, environment=environment, program=program)
            running.callback(server.process.stop)
            return server

        yield start


@pytest.fixture(scope="module")
def server(tmp_path_factory, pool, cognito, transport) -> Iterator[Server]:
    """One server for all tests of a module that do not change it."""
    started = Server.start(tmp_path_factory.mktemp("server"), pool, cognito, "--transport", transport)
    yield started
    started.process.stop()


EDGES = edges.chosen()


@pytest.fixture(scope="module", params=EDGES.attacked)
def edge(request, server, tmp_path_factory) -> Iterator[Edge]:
    """An Envoy in front of the server: as deployed, without any hardening, and sending header lines; or those that EDGES names."""
    with closing(Upstream()) as upstream:
        site = edges.Site(listener=free_port(), authz=server.port, upstream=upstream.port)
        with EDGES.attacked[request.param](site, tmp_path_factory.mktemp("envoy")):
            yield Edge(port=site.listener, variant=request.param)
