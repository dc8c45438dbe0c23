"""Aliases: other names that an upstream may read as the name of an identity header."""

import re
from collections.abc import Iterable
from typing import Final

_OTHER: Final = re.compile(r"[^a-z0-9\n:-]")  # in names written one below the other; Envoy's pseudo-headers begin with a colon
_SEPARATOR: Final = re.compile("[^a-z0-9]")


class Aliases:
    """Names that equal an identity header's once every character but letters and digits is read as `-`.

    Args:
        identity_headers: names in lower case.

    Source: RFC 3875 section 4.1.18 (a meta-variable has `_` in place of `-`); servers of CGI, FastCGI and WSGI, and PHP itself, read more
        characters so.
    """

    __slots__ = ("_folded", "_identity", "_plain")

    def __init__(self, identity_headers: Iterable[str]) -> None:
        self._identity = frozenset(identity_headers)
        self._folded = frozenset(map(_fold, self._identity))
        self._plain = self._folded == self._identity

    def among(self, headers: Iterable[str]) -> tuple[str, ...]:
        """List the headers of a request that are aliases.

        Args:
            headers: names that the client sent.

        Returns:
            Those that fold to an identity header and are none.
        """
        if self._plain and _OTHER.search("\n".join(headers)) is None:
            return ()
        return tuple(name for name in headers if _fold(name) in self._folded and name.lower() not in self._identity)


def _fold(name: str) -> str:
    return _SEPARATOR.sub("-", name.lower())
