"""Where keys of tests come from."""

import itertools
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from authz_server.core import user_pools
from authz_server.testing import UserPool
from authz_server.testing.signing_key import new_rsa_key


@pytest.fixture(scope="session")
def new_key() -> Callable[[], RSAPrivateKey]:
    """A source of RSA keys that makes six of them and begins again."""
    return itertools.cycle([new_rsa_key() for _ in range(6)]).__next__


@pytest.fixture
def rotating(new_key: Callable[[], RSAPrivateKey]) -> UserPool:
    """A pool that a test may rotate."""
    return UserPool(new_key=new_key)


@pytest.fixture(scope="session")
def place(pool: UserPool) -> user_pools.UserPool:
    """What the key store knows about a pool."""
    return user_pools.UserPool(id=pool.id, issuer=pool.issuer, jwks="https://keys.test/jwks.json")
