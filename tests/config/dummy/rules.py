"""A type of authorizer that tests add: one of two files, its rules."""

from collections.abc import Mapping

from authz_server.core.authorizers import Authorizer, Keys
from authz_server.core.reasons import Reason
from authz_server.core.revocations import Revocations
from authz_server.core.rules import SIGNED_TOKEN, Rule


def machines(
    *,
    name: str,
    identity_source: str,
    issuers: Mapping[str, Keys],
    prefix: str,
    result_ttl: int = 0,
    revocations: Revocations | None = None,
) -> Authorizer:
    """Make an authorizer that takes tokens whose `client_id` begins with a text."""
    rule = Rule("machine", Reason.APP_CLIENT_REFUSED, lambda evaluation: str(evaluation.claims.get("client_id")).startswith(prefix))
    return Authorizer(
        name=name,
        identity_source=identity_source,
        issuers=issuers,
        rules=(*SIGNED_TOKEN, rule),
        result_ttl=result_ttl,
        revocations=revocations,
    )
