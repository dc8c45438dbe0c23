"""Hosts and base paths: which api a request belongs to."""

import re
from collections.abc import Collection, Iterable
from ipaddress import ip_address
from typing import Final, Generic, TypeVar

from authz_server.core.decisions import Denied, Details, listed
from authz_server.core.reasons import Reason
from authz_server.core.recent import Recent

T = TypeVar("T")

MAX_SEEN: Final = 1_024  # hosts, as clients spell them, that are not looked at twice
MAX_LENGTH: Final = 260  # a name of 253 characters, a dot and a port; clients may send 60 KiB

_HOST: Final = re.compile(r"((?:[a-z0-9_-]+\.)*[a-z0-9_-]+|\[[0-9a-f:.]+\])\.?(?::[0-9]{1,5})?")


def normalise(host: str) -> str:
    """Lower-case a host and take one port and one trailing dot off it.

    Args:
        host: Host or :authority as sent.

    Returns:
        The bare host name.

    Raises:
        Denied: HOST_REFUSED for anything that is not a plain host name or a bracketed IPv6 address, or is longer than a name can be.

    Source: RFC 1035 section 2.3.4 (255 octets, which are 253 characters).
    """
    found = _HOST.fullmatch(host.lower()) if len(host) <= MAX_LENGTH and host.isascii() else None
    if found is None:
        raise Denied(Reason.HOST_REFUSED)
    return found[1]


def is_loopback(host: str) -> bool:
    """Whether a host is this very machine, so that nobody else hears what is asked there.

    Args:
        host: in lower case, without brackets and port.
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _known(what: str, names: Collection[str]) -> Details:
    """Prepare the details of a denial: what is not found is asked for without a token, and so must cost nothing."""
    return ((what, listed(names)),) if names else ()


class BasePaths(Generic[T]):
    """The apis that share a host, by base path.

    Args:
        entries: segments of the base path (none for the root) and the api they lead to; no base path twice.
    """

    __slots__ = ("_by_path", "_depths", "known")

    def __init__(self, entries: Iterable[tuple[tuple[str, ...], T]]) -> None:
        self._by_path = dict(entries)
        self.known = _known("base_paths_known", ["/" + "/".join(base) for base in self._by_path])
        self._depths = sorted({len(base) for base in self._by_path}, reverse=True)

    def find(self, segments: list[str]) -> tuple[T, list[str]] | None:
        """Find the api with the longest base path that the path begins with, whole segments only.

        Args:
            segments: the path, as `paths.split` gives it.

        Returns:
            The api and the segments behind its base path, or None.
        """
        for depth in self._depths:
            entry = self._by_path.get(tuple(segments[:depth]))
            if entry is not None and depth <= len(segments):
                return entry, segments[depth:]
        return None


class Hosts(Generic[T]):
    """Every api of a generation, by host and base path.

    Args:
        entries: a host (`name`, `*.suffix`, or "" for any), base path segments, and the api.
    """

    __slots__ = ("_any", "_exact", "_known", "_seen", "_suffixes")

    def __init__(self, entries: Iterable[tuple[str, tuple[str, ...], T]]) -> None:
        tiers: dict[str, list[tuple[tuple[str, ...], T]]] = {}
        for host, base_path, api in entries:
            tiers.setdefault(host, []).append((base_path, api))
        self._known = _known("hosts_known", list(tiers))
        self._seen = Recent[str, BasePaths[T]](MAX_SEEN)
        self._any = BasePaths(tiers.pop("", ()))
        self._suffixes = {host[2:]: BasePaths(tier) for host, tier in tiers.items() if host.startswith("*.")}
        self._exact = {host: BasePaths(tier) for host, tier in tiers.items() if not host.startswith("*.")}

    def find(self, host: str, segments: list[str]) -> tuple[T, list[str]]:
        """Find the api of a request: exact host, then the longest `*.suffix`, then any; the best tier is chosen once.

        Args:
            host: Host or :authority as sent.
            segments: the path, as `paths.split` gives it.

        Returns:
            The api and the segments behind its base path.

        Raises:
            Denied: HOST_REFUSED, or NO_API when the tier has no base path for this path.
        """
        tier = self._seen.get(host)
        if tier is None:
            tier = self._tier(normalise(host))
            self._seen.keep(host, tier)
        found = tier.find(segments)
        if found is None:
            raise Denied(Reason.NO_API, details=tier.known or self._known)
        return found

    def _tier(self, host: str) -> BasePaths[T]:
        tier = self._exact.get(host)
        if tier is not None or not self._suffixes:
            return tier or self._any
        _, _, suffix = host.partition(".")
        while suffix:
            tier = self._suffixes.get(suffix)
            if tier is not None:
                return tier
            _, _, suffix = suffix.partition(".")
        return self._any
