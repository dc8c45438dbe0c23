"""Fetch a JWKS document over HTTPS or from a file, bounded in time and size."""

import asyncio
import os
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from authz_server import files
from authz_server.core.user_pools import UserPool, configured_endpoint
from authz_server.keys import authorities
from authz_server.keys.jwks import MAX_DOCUMENT_SIZE
from authz_server.keys.proxies import Proxies, Proxy
from authz_server.trust import client_context

TIMEOUT_SECONDS: Final = 1.5

_NO_TRUST: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # for http, where no certificate is shown

_ETAG: Final = re.compile(r'(W/)?"[!#-~]{0,256}"')
_MAX_AGE: Final = re.compile(r'max-age="?(\d{1,10})"?', re.ASCII | re.IGNORECASE)


class Answer(NamedTuple):
    """What a place answered.

    Args:
        document: octets, or None when they are those that the ETag in the question names.
        etag: names these octets in the next question, or None.
        max_age: seconds for which they are fresh, as the place says, or None.
    """

    document: bytes | None
    etag: str | None = None
    max_age: float | None = None


class Way(NamedTuple):
    """How an endpoint is asked.

    Args:
        tls: whom to trust there.
        proxy: that stands before it, or None.
        proxy_tls: whom to trust as a proxy that speaks TLS, else None.
    """

    tls: ssl.SSLContext
    proxy: Proxy | None
    proxy_tls: ssl.SSLContext | None


Fetch = Callable[[UserPool, str | None], Awaitable[Answer]]


class FetchError(Exception):
    """A document that could not be fetched.

    Args:
        outcome: short label for metrics.
        detail: sentence for the log.
    """

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


class Fetcher:
    """Fetch documents, through the proxies and with the certificate authorities that the environment names.

    A fetch opens a connection of its own: it happens once in minutes, and a connection kept for it would mostly be found closed.

    Args:
        timeout: seconds for one fetch from beginning to end.
        environment: names proxies; the process's own by default.

    Source: API Gateway quotas: its JWT authorizers give a JWKS endpoint 1,500 ms and 150,000 bytes.
    """

    def __init__(self, timeout: float = TIMEOUT_SECONDS, environment: Mapping[str, str] | None = None) -> None:
        self._timeout = timeout
        self._environment = os.environ if environment is None else environment
        self._proxies = Proxies(self._environment)
        self._authorities = authorities.Authorities()

    async def __call__(self, pool: UserPool, etag: str | None = None) -> Answer:
        """Fetch one document.

        Args:
            pool: says where it is, an absolute URL or the path of a file, and whom to trust there.
            etag: of the document that is here already, or None.

        Returns:
            The answer; reading stops beyond the limit on a document's size.

        Raises:
            FetchError: whatever went wrong.

        Source: RFC 9110 sections 13.1.2 and 15.4.5 (If-None-Match, 304); RFC 9111 section 5.2.2.1 (max-age).
        """
        if "://" in pool.jwks:
            return await self._get(pool, etag)
        try:
            async with asyncio.timeout(self._timeout):
                return Answer(await asyncio.to_thread(_read, Path(pool.jwks)))
        except TimeoutError:
            raise self._late() from None
        except OSError as error:
            raise FetchError("file", str(error)) from error

    def warnings(self, pools: Iterable[UserPool]) -> list[str]:
        """Name each variable of the environment that matters for the keys of these pools and cannot be used.

        Args:
            pools: whose keys are fetched.

        Returns:
            A sentence for each, without any part of a password.
        """
        asked = [pool for pool in pools if "://" in pool.jwks]
        told = self._proxies.warnings(pool.jwks for pool in asked)
        return [*told, *(authorities.warnings(self._environment) if self._trusts_system(asked) else ())]

    def in_force(self, pools: Iterable[UserPool]) -> list[str]:
        """Say which variables of the environment lead to the keys of these pools, one sentence each; see `warnings`."""
        asked = [pool for pool in pools if "://" in pool.jwks]
        told = self._proxies.in_force([pool.jwks for pool in asked])
        endpoint = configured_endpoint(self._environment)
        if endpoint is not None and any(pool.jwks.startswith(endpoint[1]) for pool in asked):
            told.append(f"keys are fetched from {endpoint[1]}, as {endpoint[0]} says")
        return [*told, *(authorities.in_force(self._environment) if self._trusts_system(asked) else ())]

    def _trusts_system(self, pools: Iterable[UserPool]) -> bool:
        """Whether some answer is checked against the system's authorities."""
        return any(pool.jwks.startswith("https:") and pool.settings.ca_file is None for pool in pools)

    async def _get(self, pool: UserPool, etag: str | None) -> Answer:
        from authz_server.keys.web import get  # noqa: PLC0415 - 10 MiB that no process needs whose key sets are files

        proxy = self._proxies.find(pool.jwks)
        try:
            async with asyncio.timeout(self._timeout):
                proxy_tls = self._authorities.context() if proxy is not None and proxy.speaks_tls else None
                return await get(pool.jwks, Way(await self._trust(pool), proxy, proxy_tls), etag)
        except TimeoutError:
            raise self._late("" if proxy is None else f" through {proxy}") from None

    async def _trust(self, pool: UserPool) -> ssl.SSLContext:
        """Trust the system's authorities, or those of the pool's file, which is read each time: it may be renewed."""
        ca_file = pool.settings.ca_file
        if ca_file is None:
            return self._authorities.context() if pool.jwks.startswith("https:") else _NO_TRUST
        try:
            return await asyncio.to_thread(client_context, ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise FetchError("ca_file", f"{ca_file} holds no certificates to trust: {error.strerror}") from error

    def _late(self, way: str = "") -> FetchError:
        return FetchError("timeout", f"no answer within {self._timeout} s{way}")


def is_etag(text: str) -> bool:
    """Whether a text is an entity tag that can be sent back; RFC 9110 section 8.8.3."""
    return _ETAG.fullmatch(text) is not None


def max_age(cache_control: str) -> float | None:
    """Read for how long an answer is fresh.

    Args:
        cache_control: the header's value.

    Returns:
        Seconds, or None when it does not say; of several the shortest.

    Source: RFC 9111 sections 4.2.1 and 5.2.2.1.
    """
    found = [_MAX_AGE.fullmatch(directive.strip()) for directive in cache_control.split(",")]
    return min((float(age[1]) for age in found if age is not None), default=None)


def _read(path: Path) -> bytes:
    try:
        return files.read(path, MAX_DOCUMENT_SIZE)
    except files.UnusableFileError as error:
        raise FetchError("file", f"{path} cannot be read: {error.strerror}") from error
