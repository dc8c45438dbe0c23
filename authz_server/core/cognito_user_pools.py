"""API Gateway's `COGNITO_USER_POOLS` authorizer, as rules."""

from collections.abc import Mapping
from typing import Final, Protocol

from authz_server.core.authorizers import Authorizer, Keys
from authz_server.core.decisions import Details, listed
from authz_server.core.evaluation import Evaluation
from authz_server.core.reasons import Reason
from authz_server.core.revocations import Revocations
from authz_server.core.rules import SIGNED_TOKEN, Rule


class Expression(Protocol):
    """A compiled regular expression that takes linear time."""

    def fullmatch(self, text: str) -> object:
        """Match the whole *text*; anything but None is a match."""
        ...


def cognito_user_pools(
    *,
    name: str,
    identity_source: str,
    issuers: Mapping[str, Keys],
    expression: Expression | None = None,
    app_clients: frozenset[str] | None = None,
    result_ttl: int = 0,
    revocations: Revocations | None = None,
) -> Authorizer:
    """Make a `COGNITO_USER_POOLS` authorizer.

    Args:
        name: see `Authorizer`.
        identity_source: see `Authorizer`.
        issuers: the keys of each user pool, by the issuer that its tokens name.
        expression: what the whole `aud` must match, or None.
        app_clients: the app clients whose tokens are accepted, or None for all.
        result_ttl: see `Authorizer`.
        revocations: see `Authorizer`; API Gateway has no such list.

    Returns:
        The authorizer.

    Source: API Gateway guide, "Integrate a REST API with an Amazon Cognito user pool".
    """
    return Authorizer(
        name=name,
        identity_source=identity_source,
        issuers=issuers,
        rules=(
            *SIGNED_TOKEN,
            TOKEN_USE,
            *(() if expression is None else (audience(expression),)),
            *(() if app_clients is None else (app_client(app_clients),)),
            SCOPE,
            *(() if revocations is None else revocation(revocations)),
        ),
        result_ttl=result_ttl,
        revocations=revocations,
    )


def audience(expression: Expression) -> Rule:
    """Require that *expression* matches the whole `aud`; an access token mostly has none and is refused.

    Source: API Gateway guide, "Integrate a REST API with an Amazon Cognito user pool" (token validation).
    """

    def is_met(evaluation: Evaluation) -> bool:
        aud = evaluation.claims.get("aud")
        return isinstance(aud, str) and expression.fullmatch(aud) is not None

    return Rule("audience", Reason.AUDIENCE_REFUSED, is_met, actual=_kind_of_aud)


def app_client(app_clients: frozenset[str]) -> Rule:
    """Require an accepted app client: `aud` of an ID token, `client_id` of an access token.

    Source: Cognito guide, "Verifying a JSON web token"; API Gateway itself does not check this.
    """

    def is_met(evaluation: Evaluation) -> bool:
        client = evaluation.claims.get(_client_claim(evaluation))
        return isinstance(client, str) and client in app_clients

    return Rule("app_client", Reason.APP_CLIENT_REFUSED, is_met, actual=lambda evaluation: (("claim_compared", _client_claim(evaluation)),))


def revocation(revocations: Revocations) -> tuple[Rule, Rule]:
    """Require that the list is known, and names neither the token nor what it belongs to; API Gateway has no such list."""

    def is_known(evaluation: Evaluation) -> bool:
        evaluation.revocations_version = revocations.version  # from before the list is read
        return revocations.known

    def is_unnamed(evaluation: Evaluation) -> bool:
        return not revocations.refuse(evaluation.claims, evaluation.now)

    return Rule("revocations", Reason.REVOCATIONS_UNKNOWN, is_known), Rule("revocation", Reason.TOKEN_REVOKED, is_unnamed)


def _wanted_use(evaluation: Evaluation) -> str:
    return "access" if evaluation.scopes else "id"


def _has_token_use(evaluation: Evaluation) -> bool:
    return bool(evaluation.claims.get("token_use") == _wanted_use(evaluation))


def _found_use(evaluation: Evaluation) -> Details:
    found = evaluation.claims.get("token_use")
    return (("token_use_found", found if isinstance(found, str) and found in {"access", "id"} else "other"),)


def _kind_of_aud(evaluation: Evaluation) -> Details:
    aud = evaluation.claims.get("aud")
    return (("aud_found", "none" if aud is None else "text" if isinstance(aud, str) else "list"),)


def _client_claim(evaluation: Evaluation) -> str:
    return "aud" if evaluation.claims.get("token_use") == "id" else "client_id"


def _has_scope(evaluation: Evaluation) -> bool:
    scopes = evaluation.scopes
    granted = evaluation.claims.get("scope")
    return not scopes or (isinstance(granted, str) and not scopes.isdisjoint(granted.split(" ")))


# Recorded truth table: the other kind of token is 401, never 403.
TOKEN_USE: Final = Rule(
    "token_use", Reason.WRONG_TOKEN_USE, _has_token_use, lambda evaluation: (("token_use_wanted", _wanted_use(evaluation)),), _found_use
)
# API Gateway API reference, `authorizationScopes`: any one of the route's, compared as whole texts.
SCOPE: Final = Rule(
    "scope",
    Reason.SCOPE_UNMET,
    _has_scope,
    lambda evaluation: (("scopes_wanted", listed(sorted(evaluation.scopes))),) if evaluation.scopes else (),
)
