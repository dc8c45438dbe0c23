"""Users: who signs in at a user pool."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of a pool.

    Args:
        username: unique in the pool.
        sub: the user's id, mostly a UUID.
        password: for signing in.
        groups: names, in order of precedence.
        roles: ARNs of the IAM roles of the groups, the preferred one first.
        attributes: ID token claims such as `email`, `email_verified` (a boolean) or `custom:department` (a string).
        identities: of a federated user, the accounts behind it.

    Raises:
        ValueError: for a custom attribute that is no string; Cognito has no other kind.

    Source: Cognito guide, "Understanding the identity (ID) token".
    """

    username: str
    sub: str
    password: str = field(repr=False)
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    identities: tuple[Mapping[str, str | None], ...] = ()

    def __post_init__(self) -> None:
        for name, value in self.attributes.items():
            if name.startswith("custom:") and not isinstance(value, str):
                raise ValueError(f"{name} is {value!r}; a custom attribute is always a string")


def identity(username: str, provider: str, now: float) -> Mapping[str, str | None]:
    """Describe the account that a federated user has at its provider.

    Args:
        username: `{provider}_{id at the provider}`.
        provider: such as `Google`.
        now: seconds since 1970.

    Returns:
        One element of the `identities` claim: no booleans or numbers, and an issuer that is null.

    Source: recorded ID tokens of federated users.
    """
    return {
        "dateCreated": str(int(now * 1_000)),
        "userId": username.removeprefix(f"{provider}_"),
        "providerName": provider,
        "providerType": provider,
        "issuer": None,
        "primary": "true",
    }
