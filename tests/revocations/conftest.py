"""A Redis and a Valkey, and those who follow the list there."""

import time
from contextlib import ExitStack
from math import inf

import pytest

from authz_server.core.revocations import Revocations
from authz_server.revocations import shared
from authz_server.revocations.server import connect
from authz_server.revocations.shared import SharedList
from tests.redis_server import REDIS, SECRET, VALKEY, RedisServer
from tests.revocations.following import Told


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Wait for news in short turns, so that a test ends soon."""
    monkeypatch.setattr(shared, "BLOCK_SECONDS", 0.1)
    monkeypatch.setattr(shared, "WATCH_SECONDS", 0.1)


@pytest.fixture(scope="module", params=[pytest.param(REDIS, id="Redis", marks=pytest.mark.redis), pytest.param(VALKEY, id="Valkey")])
def program(request):
    """What is true of one is true of the other."""
    return request.param


@pytest.fixture(scope="module")
def running(tmp_path_factory, program):
    """A server."""
    with RedisServer(tmp_path_factory.mktemp("redis"), "--hz", "500", program=program) as server:  # ends a wait in time
        yield server


@pytest.fixture
def server(running):
    """One without entries."""
    with running.client() as client:
        client.flushall()
    return connect(running.url, SECRET)


@pytest.fixture
def told():
    """Who is told."""
    return Told()


@pytest.fixture
def revocations():
    """A list that nobody has read."""
    return Revocations(known=False)


@pytest.fixture
def follow(revocations, told, request):
    """Follow the list until the test ends."""
    with ExitStack() as stack:

        def begin(other=None, max_age=inf, now=time.time, into=revocations, clock=time.monotonic):
            there = other or request.getfixturevalue("server")
            made = SharedList(there, into, told, max_age=max_age, now=now, clock=clock, spread=lambda: 0.0)
            for thread in made._threads:
                stack.callback(thread.join)
            stack.callback(made.close)
            return made

        yield begin
