"""Revocations: tokens that are refused although they are good, such as those of a user who has signed out."""

import struct
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Final, Literal, NamedTuple

Kind = Literal["jti", "origin_jti", "sub", "client_id", "pool"]
Name = tuple[str, str]  # kind and value

KINDS: Final[tuple[Kind, ...]] = ("jti", "origin_jti", "sub", "client_id", "pool")

_MARKS: Final = struct.Struct("5q")


class Revocation(NamedTuple):
    """Tokens that are refused.

    Args:
        kind: the claim that names them; `client_id` is `aud` in an ID token, and `pool` the end of the issuer.
        value: of that claim.
        issued_before: Unix time before which a token must have been issued to be refused; infinity refuses all.
        until: Unix time from which they are no longer refused.
    """

    kind: Kind
    value: str
    issued_before: float = inf
    until: float = inf


class Revocations:
    """The tokens that are refused at this moment, as checks see them. Reading takes no lock.

    Whoever repeats a decision compares `version`, which is raised after each change, with what it was before the decision.

    Args:
        known: whether the list is known; while it is not, nothing can be said about a token.
    """

    def __init__(self, *, known: bool = True) -> None:
        self._named: dict[Name, tuple[float, float]] = {}
        self._marked: dict[int, float] = {}
        self._known = known
        self._is_fresh: Callable[[], bool] | None = None
        self.version = 0

    def __len__(self) -> int:
        return len(self._named)

    @property
    def known(self) -> bool:
        """Whether the list is known at this moment; if not, nothing can be said about a token."""
        return self._known and (self._is_fresh is None or self._is_fresh())

    def expires(self, is_fresh: Callable[[], bool]) -> None:
        """Be unknown whenever *is_fresh* says so: the age counts at each check, not only when a read of the list fails."""
        self._is_fresh = is_fresh

    def replace(self, revocations: Iterable[Revocation]) -> None:
        """Refuse these tokens, and no others."""
        named: dict[Name, tuple[float, float]] = {}
        marked: dict[int, float] = {}
        _put(revocations, named, marked)
        self._named, self._marked, self._known = named, marked, True
        self.version += 1

    def add(self, revocations: Iterable[Revocation]) -> None:
        """Refuse these tokens, too."""
        _put(revocations, self._named, self._marked)
        self.version += 1

    def forget(self) -> None:
        """Say nothing about any token until the list is known again."""
        self._known = False
        self.version += 1

    def refuse(self, claims: Mapping[str, Any], now: float) -> bool:
        """Whether a token is refused.

        Args:
            claims: of a verified token.
            now: seconds since 1970.
        """
        named = self._named
        if not named:
            return False
        issued = issued_at(claims)
        for name in names(claims):
            before, until = named.get(name, (0.0, 0.0))
            if issued < before and now < until:
                return True
        return False

    def may_refuse(self, marks: bytes, issued: float) -> bool:
        """Whether a token may be refused by now; only its claims can tell for sure.

        Args:
            marks: of the token, see `marks`.
            issued: see `issued_at`.
        """
        return not self.known or any(issued < self._marked.get(mark, 0.0) for mark in _MARKS.unpack(marks))


def names(claims: Mapping[str, Any]) -> list[Name]:
    """List the names by which a token can be refused: one for each kind.

    Source: Cognito guide, "Understanding user pool JSON web tokens": `origin_jti` is shared by all tokens that descend from one sign-in,
    and an ID token names the app client in `aud`.
    """
    client = claims.get("aud" if claims.get("token_use") == "id" else "client_id")
    issuer = claims.get("iss")
    pool = issuer.rpartition("/")[2] if isinstance(issuer, str) else ""
    values = (claims.get("jti"), claims.get("origin_jti"), claims.get("sub"), client, pool)
    return [(kind, value if isinstance(value, str) else "") for kind, value in zip(KINDS, values, strict=True)]


def marks(claims: Mapping[str, Any]) -> bytes:
    """Shorten the names of a token to what can be kept beside a decision; two names may have the same mark."""
    return _MARKS.pack(*map(hash, names(claims)))


def issued_at(claims: Mapping[str, Any]) -> float:
    """Say when a token was issued; one that does not tell is as old as can be."""
    issued = claims.get("iat")
    return issued if isinstance(issued, int | float) else -inf


def _put(revocations: Iterable[Revocation], named: dict[Name, tuple[float, float]], marked: dict[int, float]) -> None:
    """Put entries in; of two with one name the later moments count."""
    for entry in revocations:
        name = entry.kind, entry.value
        before, until = named.get(name, (-inf, -inf))
        named[name] = max(before, entry.issued_before), max(until, entry.until)
        mark = hash(name)
        marked[mark] = max(marked.get(mark, -inf), entry.issued_before)
