"""Sessions: one sign-in of one user, and the claims of the tokens it gives."""

from dataclasses import dataclass, field
from typing import Any, Final

from authz_server.testing.app_client import AppClient
from authz_server.testing.user import User

SIGN_IN_SCOPE: Final = "aws.cognito.signin.user.admin"  # the one scope of a sign-in through an SDK


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One sign-in; all its tokens, also the refreshed ones, share these claims.

    Args:
        user: who signed in.
        client: at which app client.
        auth_time: when, in seconds since 1970.
        origin_jti: names the sign-in; token revocation works on it.
        event_id: names the sign-in in Cognito's logs.
        refresh_token: opaque.
    """

    user: User
    client: AppClient
    auth_time: int
    origin_jti: str
    event_id: str
    refresh_token: str = field(repr=False)

    def id_claims(self) -> dict[str, Any]:
        """Write the claims of an ID token, all but issuer, times and name; None stands for an absent claim.

        Source: Cognito guide, "Understanding the identity (ID) token".
        """
        return {
            **self.user.attributes,
            **self._claims(),
            "token_use": "id",
            "aud": self.client.id,
            "cognito:username": self.user.username,
            "cognito:roles": list(self.user.roles) or None,
            "cognito:preferred_role": next(iter(self.user.roles), None),
            "identities": list(self.user.identities) or None,
        }

    def access_claims(self, scope: str) -> dict[str, Any]:
        """Write the claims of an access token, all but issuer, times and name; None stands for an absent claim.

        Args:
            scope: separated by spaces; `version` is seen wherever it is not the scope of an SDK sign-in.

        Source: Cognito guide, "Understanding the access token".
        """
        return {
            **self._claims(),
            "token_use": "access",
            "client_id": self.client.id,
            "username": self.user.username,
            "scope": scope,
            "version": None if scope == SIGN_IN_SCOPE else 2,
        }

    def _claims(self) -> dict[str, Any]:
        return {
            "sub": self.user.sub,
            "cognito:groups": list(self.user.groups) or None,
            "auth_time": self.auth_time,
            "origin_jti": self.origin_jti,
            "event_id": self.event_id,
        }
