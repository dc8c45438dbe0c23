"""Fetch a JWKS document over HTTPS."""

import ssl

import httpx

from authz_server.core.hosts import is_loopback
from authz_server.keys.fetch import Answer, FetchError, is_etag, max_age
from authz_server.keys.jwks import MAX_DOCUMENT_SIZE


async def get(url: str, tls: ssl.SSLContext, etag: str | None, seconds: float) -> Answer:
    """Ask once, without redirects.

    Args:
        url: of the document.
        tls: whom to trust.
        etag: of the document that is here already, or None.
        seconds: for each step; the caller bounds the whole.

    Returns:
        The answer; reading stops beyond the limit on a document's size.

    Raises:
        FetchError: whatever went wrong.
    """
    document = b""
    # Raw octets: a body that is compressed all the same is no JSON, and cannot grow past the limit in one step.
    headers = {"accept": "application/json", "accept-encoding": "identity", **({} if etag is None else {"if-none-match": etag})}
    try:
        # Over plain HTTP only what stays on this machine can be trusted: a proxy of the environment is somewhere else.
        through_proxy = not is_loopback(httpx.URL(url).host)
        client = httpx.AsyncClient(timeout=seconds, follow_redirects=False, verify=tls, trust_env=through_proxy)
        async with client, client.stream("GET", url, headers=headers) as response:
            if etag is not None and response.status_code == httpx.codes.NOT_MODIFIED:
                return Answer(None, etag, max_age(response.headers.get("cache-control", "")))
            if response.status_code != httpx.codes.OK:
                raise FetchError("status", f"HTTP {response.status_code}")
            async for chunk in response.aiter_raw():
                document += chunk
                if len(document) > MAX_DOCUMENT_SIZE:
                    break
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchError("connection", f"{type(error).__name__}: {error}") from error
    found = response.headers.get("etag", "")
    return Answer(document, found if is_etag(found) else None, max_age(response.headers.get("cache-control", "")))
