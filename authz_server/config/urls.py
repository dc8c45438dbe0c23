"""URLs that keys may be fetched from."""

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from authz_server.core.hosts import is_loopback

_URL: Final = re.compile(r"[!-\[\]-~]+")  # printable ASCII without the backslash, which some parsers take for a slash


def check_url(text: str, *, allow_http: bool) -> str:
    """Require a URL whose answer can be trusted: https, or http where nobody listens in.

    Args:
        text: an absolute URL; it is not repeated in messages, since it may hold a password.
        allow_http: whether http is good for any host.

    Returns:
        The URL.

    Raises:
        ValueError: with what is wrong about it.
    """
    url = _split(text)
    if url is None or url.scheme not in {"https", "http"}:
        raise ValueError("this is no URL, expected https://HOST/PATH")
    if url.username is not None or url.password is not None:
        raise ValueError("a URL with a user or password is refused: it would end up in logs")
    if "#" in text:
        raise ValueError("a URL with a fragment (#…) is refused: it is never sent")
    if url.scheme == "http" and not allow_http and not is_loopback(url.hostname or ""):
        raise ValueError(
            "http is refused: who can change the keys can sign tokens; expected https, a loopback address, or allow_http: true"
        )
    return text


def _split(text: str) -> SplitResult | None:
    try:
        url = urlsplit(text)
        has_host = bool(url.hostname) and url.port != 0
    except ValueError:
        return None
    return url if has_host and _URL.fullmatch(text) else None
