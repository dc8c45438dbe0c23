"""Fetch a JWKS document over HTTPS."""

from http import HTTPStatus
from typing import Any, Final

import httpcore2  # noqa: F401 - else httpx2 imports it within the time of the first fetch, of which it takes a fifth
import httpx2

from authz_server.keys.fetch import Answer, FetchError, Way, is_etag, max_age
from authz_server.keys.jwks import MAX_DOCUMENT_SIZE
from authz_server.keys.proxies import Proxy

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ANSWERED: Final = "http11.receive_response_headers.complete"  # by the endpoint, or by a proxy that has opened a way to it


async def get(url: str, way: Way, etag: str | None) -> Answer:
    """Ask once, without redirects; the caller bounds the time.

    Args:
        url: of the document.
        way: to it. Nothing of the environment is looked at here.
        etag: of the document that is here already, or None.

    Returns:
        The answer; reading stops beyond the limit on a document's size.

    Raises:
        FetchError: whatever went wrong.
    """
    document = b""
    answered = False

    async def trace(event: str, _: Any) -> None:
        nonlocal answered
        answered = answered or event == _ANSWERED

    # Raw bytes: what is compressed all the same is unpacked by `jwks.parse`, within its limit.
    headers = {"accept": "application/json", "accept-encoding": "identity", **({} if etag is None else {"if-none-match": etag})}
    try:
        client = httpx2.AsyncClient(timeout=None, follow_redirects=False, verify=way.tls, trust_env=False, proxy=_proxy(way))
        async with client, client.stream("GET", url, headers=headers, extensions={"trace": trace}) as response:
            if etag is not None and response.status_code == HTTPStatus.NOT_MODIFIED:
                return Answer(None, etag, max_age(response.headers.get("cache-control", "")))
            if response.status_code != HTTPStatus.OK:
                raise _refusal(url, response.status_code, way.proxy)
            async for chunk in response.aiter_raw():
                document += chunk
                if len(document) > MAX_DOCUMENT_SIZE:
                    break
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        what = f"{type(error).__name__}: {error}"
        if way.proxy is not None and (isinstance(error, httpx2.ProxyError) or not answered):
            raise FetchError("proxy", f"{way.proxy}: {what}") from error
        raise FetchError("connection", what) from error
    found = response.headers.get("etag", "")
    return Answer(document, found if is_etag(found) else None, max_age(response.headers.get("cache-control", "")))


def _proxy(way: Way) -> httpx2.Proxy | None:
    return None if way.proxy is None else httpx2.Proxy(way.proxy.url, ssl_context=way.proxy_tls, auth=way.proxy.credentials)


def _refusal(url: str, status: int, proxy: Proxy | None) -> FetchError:
    """Say what a status means for whoever wants a key set."""
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and proxy is not None:
        return FetchError("proxy", f"{proxy}: HTTP {status}: it wants credentials, as in http://USER:PASSWORD@HOST:PORT")
    hint = ""
    if status == HTTPStatus.NOT_FOUND:
        hint = ": no such pool in this region, or no key set at this URL"
    elif status in _REDIRECTS:
        hint = ": redirects are not followed; name the URL that it leads to"
    is_relayed = proxy is not None and url.startswith("http:")  # the proxy itself may have answered so
    return FetchError("status", f"HTTP {status}{f' through {proxy}' if is_relayed else ''}{hint}")
