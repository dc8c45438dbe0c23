"""URLs that keys may be fetched from."""

import re
from typing import Final

from authz_server.config.patterns import OPEN_URL, URL

_USER: Final = re.compile(r"[A-Za-z]+://[^/?#\\]*@")


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
    if _USER.match(text):
        raise ValueError("a URL with a user or password is refused: it would end up in logs")
    before, fragment, _ = text.partition("#")
    if not re.fullmatch(URL, before):
        raise ValueError("this is no URL, expected https://HOST/PATH")
    if fragment:
        raise ValueError("a URL with a fragment (#…) is refused: it is never sent")
    if is_open(text) and not allow_http:
        raise ValueError(
            "http is refused: who can change the keys can sign tokens; expected https, a loopback address, or allow_http: true"
        )
    return text


def is_open(url: str) -> bool:
    """Whether others can change what comes from *url*: it is http, and not on a loopback address."""
    return re.match(OPEN_URL, url) is not None
