"""Fetch a JWKS document over HTTPS or from a file, bounded in time and size."""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from authz_server.core.user_pools import UserPool
from authz_server.keys.jwks import MAX_DOCUMENT_SIZE
from authz_server.trust import client_context

TIMEOUT_SECONDS: Final = 1.5

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
    """Fetch documents; proxies and CA settings come from the environment.

    A fetch opens a connection of its own: it happens once in minutes, and a connection kept for it would mostly be found closed.

    Args:
        timeout: seconds for one fetch from beginning to end.

    Source: API Gateway quotas: its JWT authorizers give a JWKS endpoint 1,500 ms and 150,000 bytes.
    """

    def __init__(self, timeout: float = TIMEOUT_SECONDS) -> None:
        self._timeout = timeout

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """What trusts the system's authorities."""
        return client_context()

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
        get = _getter() if "://" in pool.jwks else None
        try:
            async with asyncio.timeout(self._timeout):
                if get is not None:
                    return await get(pool.jwks, await self._trust(pool.settings.ca_file), etag, self._timeout)
                return Answer(await asyncio.to_thread(_read, Path(pool.jwks)))
        except TimeoutError:
            raise FetchError("timeout", f"no answer within {self._timeout} s") from None
        except OSError as error:
            raise FetchError("file", str(error)) from error

    async def _trust(self, ca_file: str | None) -> ssl.SSLContext:
        """Trust the system's authorities, or those of a file, which is read each time: it may be renewed."""
        if ca_file is None:
            return self._tls
        try:
            return await asyncio.to_thread(client_context, ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise FetchError("ca_file", f"{ca_file} holds no certificates to trust: {error.strerror}") from error


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


def _getter() -> Callable[[str, ssl.SSLContext, str | None, float], Awaitable[Answer]]:
    """Bring what speaks HTTP: 10 MiB that nobody needs whose key sets are files."""
    from authz_server.keys.web import get  # noqa: PLC0415 - as said

    return get


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_DOCUMENT_SIZE + 1)
