"""Pools with shared RSA keys, and a way to ask a local Cognito."""

import itertools
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from authz_server.testing import LocalCognito, UserPool
from authz_server.testing.signing_key import new_rsa_key
from tests.waiting import PATIENCE


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)


@pytest.fixture(scope="session")
def new_key() -> Callable:
    """A source of RSA keys that makes six of them and begins again."""
    return itertools.cycle([new_rsa_key() for _ in range(6)]).__next__


@pytest.fixture
def pool(new_key) -> UserPool:
    """An empty pool."""
    return UserPool(new_key=new_key)


@pytest.fixture
def cognito(pool) -> Iterator[LocalCognito]:
    """A local Cognito with that one pool."""
    with LocalCognito(pool) as cognito:
        yield cognito


@pytest.fixture(scope="session")
def ask() -> Callable[..., Answer]:
    """A plain HTTP request: no proxy, no redirects, no exception for an error status."""

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect())

    def ask(url: str, body: bytes | None = None, **headers: str) -> Answer:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(url, data=body, headers=fields)  # noqa: S310 - the tests' own addresses
        try:
            response = opener.open(request, timeout=PATIENCE)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            return Answer(status=response.status, headers={k.lower(): v for k, v in response.headers.items()}, body=response.read())

    return ask
