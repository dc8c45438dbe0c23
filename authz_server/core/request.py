"""What a check asks about."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, Self

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class _Fields(NamedTuple):
    method: str
    host: str
    path: str
    headers: Mapping[str, str]
    context: Mapping[str, str]


class Request(_Fields):
    """One HTTP request, as Envoy tells it.

    Args:
        method: as sent; compared exactly.
        host: Host or :authority as sent, "" when absent.
        path: the request target with its query, "" when absent.
        headers: value by name, whose case does not matter; lines of one name are joined by a comma.
        context: Envoy's context_extensions; a client can not set them.
    """

    __slots__ = ()

    def __new__(cls, method: str, host: str, path: str, headers: Mapping[str, str] = NOTHING, context: Mapping[str, str] = NOTHING) -> Self:
        """Make a request; `envoy.request`, whose names are in lower case, makes its own without this."""
        return super().__new__(cls, method, host, path, _lowered(headers), context)


def _lowered(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Write names in lower case; two that are one then are lines of one name, and none of them wins."""
    lowered: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        lowered[key] = f"{lowered[key]},{value}" if key in lowered else value
    return lowered
