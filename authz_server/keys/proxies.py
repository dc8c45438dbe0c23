"""Proxies: which one a key set is fetched through, as the environment says."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from authz_server.core.hosts import is_loopback

_PORTS: Final = {"http": 80, "https": 443}
_VISIBLE: Final = re.compile(r"[!-~]+")
_NAME: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_NUMBERS: Final = re.compile(r"[0-9.]+")  # a piece of an IPv4 address, which is no name
_SEPARATORS: Final = re.compile(r"[,\s]+")
_ENTRY: Final = (
    re.compile(  # [IPv6]/prefix or a text with no colon, and a port; or a text with several colons, which leave no room for a port
        r"(?:\[(?P<six>[^\]]*)\](?P<prefix>/[0-9]+)?|(?P<text>[^\[:]*))(?::(?P<port>[0-9]{1,5}))?|(?P<bare>[^\[:]*:[^\[]*:[^\[]*)"
    )
)
_EXPECTED: Final = "expected http://HOST:PORT, where a user or password has its `/?#@:` written as %2F %3F %23 %40 %3A"

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy that speaks HTTP.

    Args:
        variable: of the environment that names it, as it is spelt there.
        url: scheme, host and port; fit for logs.
        credentials: user and password that it asks for, or None.
    """

    variable: str
    url: str
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def speaks_tls(self) -> bool:
        """Whether the way to the proxy itself is encrypted."""
        return self.url.startswith("https:")

    def __str__(self) -> str:
        return f"the proxy {self.url} of {self.variable}"


class _Named(NamedTuple):
    """What the environment says for one scheme.

    Args:
        proxy: the first that can be used, or None.
        problems: why each one before it cannot be.
    """

    proxy: Proxy | None
    problems: tuple[str, ...]


class _Exception(NamedTuple):
    """An entry of NO_PROXY.

    Args:
        reach: a network, a name that stands for all names below it too, or None for every host.
        port: the only one that is meant, or None for any.
    """

    reach: _Network | str | None
    port: int | None


class Proxies:
    """The proxies of an environment: HTTPS_PROXY or HTTP_PROXY by the scheme of the URL, else ALL_PROXY; none for what NO_PROXY lists.

    A name in small letters goes before the same in capitals, and an empty value names no proxy. What cannot be used is passed over: TLS, and
    not the way, is what makes a key set trustworthy.

    Args:
        environment: value by name.

    Source: the conventions of curl, Go and Python, which differ in corners; `NO_PROXY` has no specification.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._named = {scheme: _named(scheme, environment) for scheme in _PORTS}
        self._exception_variable, listed = _value("no_proxy", environment)
        read = [_exception(text) for text in _SEPARATORS.split(listed.lower()) if text]
        self._exceptions = tuple(entry for entry in read if entry is not None)
        self._unread = [number for number, entry in enumerate(read, 1) if entry is None]

    def find(self, url: str) -> Proxy | None:
        """Find the proxy for a URL.

        Args:
            url: absolute; one on loopback is never asked through a proxy, which is somewhere else.

        Returns:
            The proxy, or None to ask the host itself.
        """
        named = self._for(url)
        return None if named is None else named.proxy

    def warnings(self, urls: Iterable[str]) -> list[str]:
        """Name each variable that says something about these URLs and cannot be used, once."""
        named = (self._for(url) for url in urls)
        return list(dict.fromkeys(problem for each in named if each is not None for problem in each.problems))

    def in_force(self, urls: Collection[str]) -> list[str]:
        """Say which proxies these URLs are asked through, one sentence each."""
        found = dict.fromkeys(proxy for url in urls if (proxy := self.find(url)) is not None)
        skipped = (
            f"; {self._exception_variable} has entries that are not understood: number {_listed(self._unread)}" if self._unread else ""
        )
        return [f"keys are fetched through {proxy}{', with its credentials' if proxy.credentials else ''}{skipped}" for proxy in found]

    def _for(self, url: str) -> _Named | None:
        """Find what the environment says about a URL; None for nothing."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:  # which the fetch will tell
            return None
        named = self._named.get(parts.scheme)
        if named is None or not host or is_loopback(host) or self._excepted(host, port or _PORTS[parts.scheme]):
            return None
        return named

    def _excepted(self, host: str, port: int) -> bool:
        address = _address(host)
        return any(_reaches(entry.reach, host, address) for entry in self._exceptions if entry.port in {None, port})


def _value(name: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Find a variable in either spelling: as it is spelt, and its value."""
    spelt = name if name in environment else name.upper()
    return spelt, environment.get(spelt, "").strip()


def _named(scheme: str, environment: Mapping[str, str]) -> _Named:
    problems: list[str] = []
    for name in (f"{scheme}_proxy", "all_proxy"):
        variable, value = _value(name, environment)
        if not value or (variable == "HTTP_PROXY" and "REQUEST_METHOD" in environment):  # under CGI a client's header `Proxy` is in it
            continue
        try:
            return _Named(_proxy(variable, value), tuple(problems))
        except ValueError as error:
            problems.append(f"{variable} is not used, and keys are fetched without it: {error}")
    return _Named(None, tuple(problems))


def _proxy(variable: str, value: str) -> Proxy:
    """Read the URL of a proxy; no message repeats a part of it, which may be one of a password."""
    text = value if "://" in value else f"http://{value}"
    scheme = text.partition("://")[0].lower()
    if scheme.startswith("socks"):
        raise ValueError("SOCKS is not supported; name a proxy that speaks HTTP, as http://HOST:PORT")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port or (_PORTS[scheme] if parts.port is None else 0)
    except (ValueError, KeyError):
        raise ValueError(_EXPECTED) from None
    is_whole = parts.path in {"", "/"} and not parts.query and not parts.fragment and _VISIBLE.fullmatch(text)
    if not (port and is_whole and (_NAME.fullmatch(host) or _address(host))):
        raise ValueError(_EXPECTED)
    credentials = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
    return Proxy(variable=variable, url=f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}", credentials=credentials)


def _exception(text: str) -> _Exception | None:
    """Read an entry of NO_PROXY; None for what is not understood."""
    found = _ENTRY.fullmatch(text)
    if found is None:
        return None
    port = None if found["port"] is None else int(found["port"])
    body = found["bare"] or found["text"] or f"{found['six']}{found['prefix'] or ''}"
    if body == "*":
        return _Exception(None, port)
    try:
        return _Exception(ip_network(body, strict=False), port)
    except ValueError:
        name = body.removeprefix("*.").strip(".")
        return _Exception(name, port) if _NAME.fullmatch(name) and not _NUMBERS.fullmatch(name) else None


def _reaches(reach: _Network | str | None, host: str, address: _Address | None) -> bool:
    if reach is None:
        return True
    if isinstance(reach, str):
        return address is None and (host == reach or host.endswith(f".{reach}"))
    return address is not None and address in reach


def _address(host: str) -> _Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
