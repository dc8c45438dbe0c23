"""Proofs: what a decision about a verified token rests on. A decision is repeated only while its proof stands."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from authz_server.core.authorizers import Keys
from authz_server.core.evaluation import Evaluation
from authz_server.core.revocations import Revocations, issued_at, marks
from authz_server.core.tokens import Key


class Proof(Protocol):
    """What a decision about a verified token rests on."""

    @property
    def size(self) -> int:
        """Bytes that it takes beyond those of a key's proof, measured."""
        ...

    def stands(self) -> bool:
        """Whether it still holds: the key that verified the token is still the user pool's."""
        ...


class KeyProof(NamedTuple):
    """A key that verified a token, and the pool it came from.

    Args:
        keys: of the pool.
        key: the one that verified.
    """

    keys: Keys
    key: Key

    @property
    def size(self) -> int:
        """None beyond its own."""
        return 0

    def stands(self) -> bool:
        """Whether the key is still the pool's."""
        return self.keys.holds(self.key)


class TokenProof:
    """A key that verified a token, and a list of revocations that does not name the token.

    Args:
        key: as above.
        revocations: the list.
        version: of the list, from before it was looked at.
        claims: of the token.
    """

    __slots__ = ("_issued", "_key", "_marks", "_revocations", "_version")

    def __init__(self, key: KeyProof, revocations: Revocations, version: int, claims: Mapping[str, Any]) -> None:
        self._key = key
        self._revocations = revocations
        self._version = version
        self._marks = marks(claims)
        self._issued = issued_at(claims)

    @property
    def size(self) -> int:
        """Itself, the marks and the time."""
        return 160

    def stands(self) -> bool:
        """Whether the key is still the pool's, and the list is known and still does not name the token."""
        revocations = self._revocations
        return self._key.stands() and revocations.known and (self._version == revocations.version or self._look_again())

    def _look_again(self) -> bool:
        version = self._revocations.version
        if self._revocations.may_refuse(self._marks, self._issued):
            return False
        self._version = version
        return True


def proof_of(evaluation: Evaluation) -> Proof | None:
    """Say what the outcome of a check rests on.

    Args:
        evaluation: after the check.

    Returns:
        The key that verified the token, with the list of revocations where the token passed it; None where no key was found, and where
        the fault is ours, which may pass at any moment.
    """
    key, failed = evaluation.key, evaluation.failed
    if key is None or (failed is not None and failed.reason.is_ours):
        return None
    proof = KeyProof(evaluation.keys, key)
    revocations = evaluation.authorizer.revocations
    if revocations is None or failed in evaluation.authorizer.rules:
        return proof
    return TokenProof(proof, revocations, evaluation.revocations_version, evaluation.claims)


def repeatable_until(evaluation: Evaluation) -> float:
    """Say until when the outcome of a check may be repeated while its proof stands.

    Args:
        evaluation: after the check.

    Returns:
        Unix time: the end of the token or the moment from which it is good, and no more than the authorizer's `result_ttl` from now.
    """
    failed = evaluation.failed
    until = evaluation.claims["exp"] if failed is None else failed.until(evaluation)
    return float(min(until, evaluation.now + evaluation.authorizer.result_ttl))
