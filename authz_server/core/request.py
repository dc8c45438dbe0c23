"""What a check asks about."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Request(NamedTuple):
    """One HTTP request, as Envoy tells it.

    Args:
        method: as sent; compared exactly.
        host: Host or :authority as sent, "" when absent.
        path: the request target with its query, "" when absent.
        headers: value by lower-case name; lines of one name are joined by a comma.
        context: Envoy's context_extensions; a client can not set them.
    """

    method: str
    host: str
    path: str
    headers: Mapping[str, str] = NOTHING
    context: Mapping[str, str] = NOTHING
