"""Fetch a JWKS document over HTTPS or from a file, bounded in time and size."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import httpx

from authz_server.keys.jwks import MAX_DOCUMENT_SIZE

TIMEOUT_SECONDS: Final = 1.5

Fetch = Callable[[str], Awaitable[bytes]]


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
        self._tls = ssl.create_default_context()

    async def __call__(self, place: str) -> bytes:
        """Fetch one document.

        Args:
            place: an absolute URL, or the path of a file.

        Returns:
            Its bytes; reading stops beyond the limit on a document's size.

        Raises:
            FetchError: whatever went wrong.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await (self._get(place) if "://" in place else asyncio.to_thread(_read, Path(place)))
        except TimeoutError:
            raise FetchError("timeout", f"no answer within {self._timeout} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchError("connection", f"{type(error).__name__}: {error}") from error
        except OSError as error:
            raise FetchError("file", str(error)) from error

    async def _get(self, url: str) -> bytes:
        document = b""
        # Raw octets: a body that is compressed all the same is no JSON, and cannot grow past the limit in one step.
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        client = httpx.AsyncClient(timeout=self._timeout, follow_redirects=False, verify=self._tls)
        async with client, client.stream("GET", url, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                raise FetchError("status", f"HTTP {response.status_code}")
            async for chunk in response.aiter_raw():
                document += chunk
                if len(document) > MAX_DOCUMENT_SIZE:
                    break
        return document


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_DOCUMENT_SIZE + 1)
