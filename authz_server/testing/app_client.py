"""App clients: the applications that ask a user pool for tokens."""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

LIFETIMES: Final = range(300, 86_401)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppClient:
    """An app client of a pool.

    Args:
        name: for people.
        id: `aud` of ID tokens and `client_id` of access tokens.
        secret: None for a public client.
        scopes: custom scopes (`resource-server/scope`) that client credentials may ask for.
        lifetime: of its tokens, 300 to 86,400 seconds.

    Raises:
        ValueError: for a lifetime that Cognito does not take.

    Source: Cognito API reference, `UserPoolClientType`.
    """

    name: str
    id: str
    secret: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = ()
    lifetime: int = 3_600

    def __post_init__(self) -> None:
        if self.lifetime not in LIFETIMES:
            raise ValueError(f"a lifetime of {self.lifetime} s is not between 5 minutes and 1 day")

    def secret_hash(self, username: str) -> str:
        """Compute the `SECRET_HASH` that a client with a secret sends when a user signs in.

        Args:
            username: as sent in `USERNAME`.

        Returns:
            Base64 text.

        Raises:
            ValueError: for a client without a secret.

        Source: Cognito guide, "Computing secret hash values".
        """
        if self.secret is None:
            raise ValueError(f"app client {self.name!r} has no secret")
        return base64.b64encode(hmac.digest(self.secret.encode(), f"{username}{self.id}".encode(), hashlib.sha256)).decode()

    def authenticates(self, secret: str) -> bool:
        """Compare a secret with the client's, in constant time; a public client has none to match."""
        return self.secret is not None and hmac.compare_digest(secret.encode(), self.secret.encode())
