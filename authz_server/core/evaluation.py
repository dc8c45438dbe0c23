"""Evaluation: the record of one check. Rules write down what they find; decisions and reports are made from it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from authz_server.core.request import Request
from authz_server.core.tokens import Key, Token

if TYPE_CHECKING:
    from authz_server.core.authorizers import Authorizer, Keys
    from authz_server.core.rules import Rule


class Evaluation:
    """What is known about one request while it is judged. A value that no rule has reached yet is absent.

    Args:
        request: what Envoy asks about.
        now: seconds since 1970.
        authorizer: of the route.
        scopes: of the route; any one of these must be granted, and none at all asks for an ID token.
    """

    __slots__ = (
        "authorizer",
        "claims",
        "dropped",
        "failed",
        "issuer",
        "key",
        "keys",
        "now",
        "request",
        "revocations_version",
        "scopes",
        "text",
        "token",
    )

    text: str
    """The identity source without `Bearer `."""
    token: Token
    issuer: str
    """The issuer that the token says it is from, before its signature is verified."""
    keys: "Keys"
    """The keys of the issuer's user pool."""
    key: Key | None
    """The key that the token names; None until the keys have it."""
    claims: Mapping[str, Any]
    """The claims; the signature is verified."""
    dropped: list[str]
    """The names of the claim headers that do not fit."""
    revocations_version: int
    """Version of the list of revocations, from before it was read."""
    failed: "Rule | None"
    """The first rule that is not met."""

    def __init__(self, request: Request, now: float, authorizer: "Authorizer", scopes: frozenset[str]) -> None:
        self.request = request
        self.now = now
        self.authorizer = authorizer
        self.scopes = scopes
        self.key = None
        self.failed = None
