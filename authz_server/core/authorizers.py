"""Authorizers: which token a route takes, and the rules that the token must meet. One class per authorizer type."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from authz_server.core import tokens
from authz_server.core.decisions import Denied, Proof, Reason, listed
from authz_server.core.revocations import Revocations, issued_at, marks
from authz_server.core.tokens import Key


class Keys(Protocol):
    """The current keys of one user pool, as a check sees them."""

    def find(self, kid: str) -> Key:
        """Find a key without waiting.

        Args:
            kid: the key's name.

        Returns:
            The key.

        Raises:
            Denied: KEY_UNKNOWN, or KEYS_UNAVAILABLE when nothing can be said.
            KeysPending: when a fetch that is under way will tell.
        """
        ...

    def holds(self, key: Key) -> bool:
        """Whether *key* is still in the set, and the set is not too old."""
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


class Verified(NamedTuple):
    """The claims of a token that met every rule.

    Args:
        claims: as signed.
        proof: what they rest on.
    """

    claims: Mapping[str, Any]
    proof: Proof


class KeysPending(Exception):  # noqa: N818 - waiting is an answer, not an error
    """End a check because the keys it needs are being fetched; ask again once they are there.

    Args:
        fetch: what the key source offers to wait for; opaque to the core.
    """

    def __init__(self, fetch: Any) -> None:
        super().__init__()
        self.fetch = fetch


class Expression(Protocol):
    """A compiled regular expression that takes linear time."""

    def fullmatch(self, text: str) -> object:
        """Match the whole *text*; anything but None is a match."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CognitoUserPools:
    """API Gateway's `COGNITO_USER_POOLS` authorizer.

    Args:
        name: as configured.
        identity_source: name of the header that holds the token, lower case.
        pools: the keys of each user pool, by the issuer its tokens name.
        expression: what the whole `aud` must match, or None.
        app_clients: the app clients whose tokens are accepted, or None for all.
        result_ttl: seconds for which a decision may be repeated; 0 for never.
        revocations: tokens that are refused all the same, or None; API Gateway has no such list.

    Source: API Gateway guide, "Integrate a REST API with an Amazon Cognito user pool".
    """

    name: str
    identity_source: str
    pools: Mapping[str, Keys]
    expression: Expression | None = None
    app_clients: frozenset[str] | None = None
    result_ttl: int = 0
    revocations: Revocations | None = None

    def authorize(self, header: str | None, scopes: frozenset[str], now: float) -> Verified:
        """Require a token that the route takes.

        Args:
            header: the identity source, or None when it is absent.
            scopes: any one of these must be granted; none at all asks for an ID token.
            now: seconds since 1970.

        Returns:
            The verified claims, and what they rest on.

        Raises:
            Denied: for the first rule that fails; nothing about an unverified token is told.
            KeysPending: when the key is being fetched.
        """
        try:
            token = tokens.parse(tokens.from_header(header))
        except Denied as denied:
            denied.details = (("identity_source", self.identity_source),)
            raise
        issuer, keys = self._pool(token.payload)
        proof = KeyProof(keys, keys.find(token.kid))
        try:
            tokens.verify(token, proof.key)
            claims = tokens.claims_of(token.payload)
            if claims.get("iss") != issuer:
                raise self._issuer_unknown()
            tokens.check_times(claims, now)
            tokens.check_texts(claims)
            self._check_claims(claims, scopes)
            if self.revocations is None:
                return Verified(claims, proof)
            version = self.revocations.version
            if self.revocations.known:
                check_revocations(claims, self.revocations, now)
                return Verified(claims, TokenProof(proof, self.revocations, version, claims))
        except Denied as denied:
            denied.proof = proof
            raise
        raise Denied(Reason.REVOCATIONS_UNKNOWN)  # without a proof: it may be known at any moment

    def _check_claims(self, claims: Mapping[str, Any], scopes: frozenset[str]) -> None:
        check_token_use(claims, "access" if scopes else "id")
        if self.expression is not None:
            check_audience(claims, self.expression)
        if self.app_clients is not None:
            check_app_client(claims, self.app_clients)
        if scopes:
            check_scopes(claims, scopes)

    def _pool(self, payload: bytes) -> tuple[str, Keys]:
        """Find the user pool that a token says it is from."""
        for issuer in tokens.issuers_in(payload):
            keys = self.pools.get(issuer)
            if keys is not None:
                return issuer, keys
        raise self._issuer_unknown()

    def _issuer_unknown(self) -> Denied:
        return Denied(Reason.ISSUER_UNKNOWN, details=(("issuers_known", listed(self.pools)),))


def check_token_use(claims: Mapping[str, Any], use: str) -> None:
    """Require the kind of token that the route takes.

    Source: recorded truth table: the other kind is 401, never 403.
    """
    found = claims.get("token_use")
    if found != use:
        kind = found if isinstance(found, str) and found in {"access", "id"} else "other"
        raise Denied(Reason.WRONG_TOKEN_USE, details=(("token_use_wanted", use), ("token_use_found", kind)))


def check_audience(claims: Mapping[str, Any], expression: Expression) -> None:
    """Require that *expression* matches the whole `aud`; an access token mostly has none and is refused.

    Source: API Gateway guide, "Integrate a REST API with an Amazon Cognito user pool" (token validation).
    """
    audience = claims.get("aud")
    if not isinstance(audience, str) or expression.fullmatch(audience) is None:
        kind = "none" if audience is None else "text" if isinstance(audience, str) else "list"
        raise Denied(Reason.AUDIENCE_REFUSED, details=(("aud_found", kind),))


def check_app_client(claims: Mapping[str, Any], app_clients: frozenset[str]) -> None:
    """Require an accepted app client: `aud` of an ID token, `client_id` of an access token.

    Source: Cognito guide, "Verifying a JSON web token"; API Gateway itself does not check this.
    """
    name = "aud" if claims.get("token_use") == "id" else "client_id"
    client = claims.get(name)
    if not isinstance(client, str) or client not in app_clients:
        raise Denied(Reason.APP_CLIENT_REFUSED, details=(("claim_compared", name),))


def check_scopes(claims: Mapping[str, Any], scopes: frozenset[str]) -> None:
    """Require any one of *scopes*, compared as whole strings.

    Source: API Gateway API reference, `authorizationScopes`.
    """
    granted = claims.get("scope")
    if not isinstance(granted, str) or scopes.isdisjoint(granted.split(" ")):
        raise Denied(Reason.SCOPE_UNMET, details=(("scopes_wanted", listed(sorted(scopes))),))


def check_revocations(claims: Mapping[str, Any], revocations: Revocations, now: float) -> None:
    """Require that the list names neither the token nor what it belongs to; API Gateway has no such list."""
    if revocations.refuse(claims, now):
        raise Denied(Reason.TOKEN_REVOKED)
