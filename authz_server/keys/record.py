"""The record of a good fetch, as text that a later process may read: strict, and bound to the pool, issuer and place of its keys."""

import json
from typing import Any, Final

from authz_server.core.tokens import YEAR_10000, strict_json
from authz_server.core.user_pools import UserPool
from authz_server.keys import jwks
from authz_server.keys.fetch import is_etag
from authz_server.keys.jwks import MAX_DOCUMENT_SIZE, JwksError, KeySet, document
from authz_server.keys.life_cycle import Kept

VERSION: Final = 1  # raise it when `jwks.read` takes keys that it did not: an ETag from before would keep them away
MAX_RECORD_SIZE: Final = MAX_DOCUMENT_SIZE + 16_384
SKEW_SECONDS: Final = 60.0  # by which clocks of machines that share a directory may differ

_MEMBERS: Final = frozenset({"version", "user_pool", "issuer", "jwks_uri", "fetched_at", "etag", "jwks"})


class RecordError(Exception):
    """A record that is not used.

    Args:
        outcome: short label for metrics.
        detail: sentence for the log.
    """

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


def write(pool: UserPool, key_set: KeySet, etag: str | None, fetched_at: float) -> bytes:
    """Write a record.

    Args:
        pool: whose keys.
        key_set: what the fetch brought.
        etag: of the document; it is kept when the set has all that counts there.
        fetched_at: seconds since 1970.

    Returns:
        Octets for `read`.
    """
    whole = None if key_set.skipped else etag  # a 304 would hide from the next process what is not usable
    members = {**_binding(pool), "fetched_at": fetched_at, "etag": whole, "jwks": document(key_set)}
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()


def read(octets: bytes, pool: UserPool, now: float) -> Kept:
    """Read a record as carefully as what an endpoint answers.

    Args:
        octets: what stands there.
        pool: whose keys are wanted.
        now: seconds since 1970.

    Returns:
        The keys, and how old they are.

    Raises:
        RecordError: for what is no record, is of another pool, is too old, or comes from the future.
    """
    members = _members(octets)
    for name, wanted in _binding(pool).items():
        if type(members[name]) is not type(wanted) or members[name] != wanted:
            raise RecordError("foreign", f"`{name}` is not {wanted!r}")
    etag, fetched_at = members["etag"], members["fetched_at"]
    if not (etag is None or (isinstance(etag, str) and is_etag(etag))):
        raise RecordError("malformed", "`etag` is no entity tag")
    if type(fetched_at) not in {int, float} or not 0 <= fetched_at < YEAR_10000:
        raise RecordError("malformed", "`fetched_at` is no time")
    age = now - fetched_at
    if age < -SKEW_SECONDS:
        raise RecordError("future", f"it says that it was written {-age:.0f} s from now; a clock has gone back")
    if age > pool.settings.stale_ceiling:
        raise RecordError("stale", f"its keys were fetched {age:.0f} s ago")
    try:
        key_set = jwks.read(members["jwks"])
    except JwksError as error:
        raise RecordError("malformed", str(error)) from error
    return Kept(key_set, etag, max(0.0, age))


def _binding(pool: UserPool) -> dict[str, Any]:
    return {"version": VERSION, "user_pool": pool.id, "issuer": pool.issuer, "jwks_uri": pool.jwks}


def _members(octets: bytes) -> dict[str, Any]:
    if len(octets) > MAX_RECORD_SIZE:
        raise RecordError("malformed", f"it is longer than {MAX_RECORD_SIZE} bytes")
    try:
        members = strict_json(octets)
    except (ValueError, RecursionError):
        raise RecordError("malformed", "it is no JSON with unique members") from None
    if not isinstance(members, dict) or members.keys() != _MEMBERS:
        raise RecordError("malformed", f"it is no object of {', '.join(sorted(_MEMBERS))}")
    return members
