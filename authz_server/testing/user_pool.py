"""A user pool in memory, whose tokens look exactly like those of Amazon Cognito."""

import base64
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from authz_server.core.user_pools import parse_arn
from authz_server.testing.app_client import AppClient
from authz_server.testing.key_ring import KeyRing
from authz_server.testing.session import SIGN_IN_SCOPE, Session
from authz_server.testing.signing_key import SigningKey, change, new_rsa_key
from authz_server.testing.user import User, identity


class UserPool:
    """An Amazon Cognito user pool in memory: it mints tokens and publishes keys, and never touches a network.

    Where no user or app client is given, the pool's first one is taken, and an empty pool gets one. Further arguments change
    claims by name, and None takes a claim away: `pool.id_token(exp=0)`, `pool.access_token(**{"cognito:groups": None})`.
    Tokens that Cognito would never make come from a key: `pool.access_key.sign(pool.id_claims(), header={"typ": "JWT"})`.

    Args:
        pool_id: begins with the primary region.
        account: twelve digits.
        region: of a replica; the pool id's region otherwise.
        issuer: what tokens name as `iss`; otherwise what follows from the ARN.
        clock: seconds since 1970.
        random: from a number of bytes to that many random bytes; ids and secrets come from here.
        new_key: makes the RSA keys, when they are first needed.

    Raises:
        ValueError: when the parts make no user pool ARN.

    Source: Cognito guide, "Understanding user pool JSON web tokens".
    """

    def __init__(
        self,
        pool_id: str = "eu-west-1_Local0001",
        account: str = "111122223333",
        *,
        region: str | None = None,
        issuer: str | None = None,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
        new_key: Callable[[], RSAPrivateKey] = new_rsa_key,
    ) -> None:
        self.id = pool_id
        self.region = region or pool_id.partition("_")[0]
        partition = "aws-us-gov" if self.region.startswith("us-gov-") else "aws"
        self.arn = f"arn:{partition}:cognito-idp:{self.region}:{account}:userpool/{pool_id}"
        self.issuer = issuer or parse_arn(self.arn).issuers[0]
        self.users: dict[str, User] = {}
        self.clients: dict[str, AppClient] = {}
        self._sessions: dict[str, Session] = {}
        self._keys = KeyRing(random=random, new_key=new_key)
        self._clock = clock
        self._random = random

    def __repr__(self) -> str:
        return f"UserPool({self.id!r})"

    def add_user(
        self,
        username: str,
        *,
        password: str | None = None,
        sub: str | None = None,
        groups: Sequence[str] = (),
        roles: Sequence[str] = (),
        provider: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> User:
        """Add a user, or replace the one of that name.

        Args:
            username: a federated user's is `{provider}_{id at the provider}`.
            password: a random one otherwise.
            sub: a random UUID otherwise.
            groups: names, in order of precedence.
            roles: ARNs of IAM roles, the preferred one first.
            provider: of a federated user, such as `Google`; it brings `identities` and the provider's own group.
            attributes: further claims of ID tokens.

        Returns:
            The user.

        Raises:
            ValueError: for a custom attribute that is no string.

        Source: Cognito API reference, `AdminCreateUser`.
        """
        self.users[username] = User(
            username=username,
            sub=sub or self._uuid(),
            password=password or self._word(20),
            groups=(*groups, f"{self.id}_{provider}") if provider else tuple(groups),
            roles=tuple(roles),
            attributes=dict(attributes or {}),
            identities=(identity(username, provider, self._clock()),) if provider else (),
        )
        return self.users[username]

    def add_client(
        self,
        name: str,
        *,
        client_id: str | None = None,
        secret: bool | str = False,
        scopes: Sequence[str] = (),
        lifetime: int = 3_600,
    ) -> AppClient:
        """Add an app client, or replace the one of that id.

        Args:
            name: for people.
            client_id: a random one otherwise, of 26 characters as Cognito's.
            secret: of a confidential client, the only kind that has client credentials: True for a random one, or the secret itself.
            scopes: custom scopes that it may ask for.
            lifetime: of its tokens, 300 to 86,400 seconds.

        Returns:
            The client.

        Raises:
            ValueError: for a lifetime that Cognito does not take.

        Source: Cognito API reference, `CreateUserPoolClient`.
        """
        client = AppClient(
            name=name,
            id=client_id or self._word(26),
            secret=self._word(52) if secret is True else secret or None,
            scopes=tuple(scopes),
            lifetime=lifetime,
        )
        self.clients[client.id] = client
        return client

    def sign_in(self, user: User | None = None, client: AppClient | None = None) -> Session:
        """Start a session that can be refreshed, without asking for a password.

        Args:
            user: the pool's first one otherwise.
            client: the pool's first one otherwise.

        Returns:
            What the tokens of this sign-in share.
        """
        session = self._new_session(user, client)
        self._sessions[session.refresh_token] = session
        return session

    def session(self, refresh_token: str) -> Session | None:
        """Find the sign-in that a refresh token goes on with, or None."""
        return self._sessions.get(refresh_token)

    def id_claims(
        self, user: User | None = None, client: AppClient | None = None, *, session: Session | None = None, **changes: Any
    ) -> dict[str, Any]:
        """Write the claims of an ID token.

        Args:
            user: the pool's first one otherwise.
            client: the pool's first one otherwise.
            session: an earlier sign-in, in place of *user* and *client*.
            changes: claims to replace; None takes one away.

        Returns:
            The payload.

        Source: Cognito guide, "Understanding the identity (ID) token".
        """
        session = session or self._new_session(user, client)
        return change(session.id_claims() | self._stamp(session.client), changes)

    def id_token(self, user: User | None = None, client: AppClient | None = None, *, session: Session | None = None, **changes: Any) -> str:
        """Mint an ID token of the claims that `id_claims` writes for the same arguments."""
        return self.id_key.sign(self.id_claims(user, client, session=session, **changes))

    def access_claims(
        self,
        user: User | None = None,
        client: AppClient | None = None,
        scope: str = SIGN_IN_SCOPE,
        *,
        session: Session | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        """Write the claims of a user's access token.

        Args:
            user: the pool's first one otherwise.
            client: the pool's first one otherwise.
            scope: separated by spaces; that of a sign-in through an SDK otherwise.
            session: an earlier sign-in, in place of *user* and *client*.
            changes: claims to replace; None takes one away.

        Returns:
            The payload.

        Source: Cognito guide, "Understanding the access token".
        """
        session = session or self._new_session(user, client)
        return change(session.access_claims(scope) | self._stamp(session.client), changes)

    def access_token(
        self,
        user: User | None = None,
        client: AppClient | None = None,
        scope: str = SIGN_IN_SCOPE,
        *,
        session: Session | None = None,
        **changes: Any,
    ) -> str:
        """Mint a user's access token of the claims that `access_claims` writes for the same arguments."""
        return self.access_key.sign(self.access_claims(user, client, scope, session=session, **changes))

    def client_claims(self, client: AppClient, scope: str | None = None, **changes: Any) -> dict[str, Any]:
        """Write the claims of a machine's access token.

        Args:
            client: the machine; it is its own subject.
            scope: separated by spaces; all scopes of the client otherwise.
            changes: claims to replace; None takes one away.

        Returns:
            The payload.

        Source: recorded tokens of client credentials.
        """
        claims = {
            "sub": client.id,
            "token_use": "access",
            "scope": " ".join(client.scopes) if scope is None else scope,
            "auth_time": int(self._clock()),
            "client_id": client.id,
            "version": 2,
        }
        return change(claims | self._stamp(client), changes)

    def client_token(self, client: AppClient, scope: str | None = None, **changes: Any) -> str:
        """Mint a machine's access token of the claims that `client_claims` writes for the same arguments."""
        return self.access_key.sign(self.client_claims(client, scope, **changes))

    @property
    def id_key(self) -> SigningKey:
        """The key that signs ID tokens now."""
        return self._keys.newest.id

    @property
    def access_key(self) -> SigningKey:
        """The key that signs access tokens now."""
        return self._keys.newest.access

    @property
    def published_keys(self) -> tuple[SigningKey, ...]:
        """The keys of the JWKS, the newest first."""
        return self._keys.published

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Write the key set that the pool publishes.

        Source: RFC 7517 section 5; Cognito guide, "Verifying a JSON web token".
        """
        return {"keys": [key.jwk for key in self.published_keys]}

    def jwks_document(self) -> bytes:
        """Write the key set as JSON text."""
        return json.dumps(self.jwks(), separators=(",", ":")).encode()

    def rotate(self) -> None:
        """Sign with new keys from now on; the old ones stay published until `forget`."""
        self._keys.rotate()

    def forget(self) -> None:
        """Publish only the keys that sign now."""
        self._keys.forget()

    def _new_session(self, user: User | None, client: AppClient | None) -> Session:
        return Session(
            user=user or next(iter(self.users.values()), None) or self.add_user("user"),
            client=client or next(iter(self.clients.values()), None) or self.add_client("app"),
            auth_time=int(self._clock()),
            origin_jti=self._uuid(),
            event_id=self._uuid(),
            refresh_token=self._word(64),
        )

    def _stamp(self, client: AppClient) -> dict[str, Any]:
        now = int(self._clock())
        return {"iss": self.issuer, "exp": now + client.lifetime, "iat": now, "jti": self._uuid()}

    def _uuid(self) -> str:
        return str(uuid.UUID(bytes=self._random(16), version=4))

    def _word(self, length: int) -> str:
        """Make a word of the 32 letters that Cognito's ids and secrets have."""
        return base64.b32hexencode(self._random(length)).decode()[:length].lower()
