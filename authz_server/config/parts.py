"""Parts: a configuration that was loaded, as plain values that can be handed from one process to another."""

from collections.abc import Callable
from typing import Any, NamedTuple

from authz_server.core.authorizers import Authorizer
from authz_server.core.gateway import Claims
from authz_server.core.user_pools import UserPool


class AuthorizerPart(NamedTuple):
    """An authorizer with the stage variables of one api filled in.

    Args:
        name: as configured.
        identity_source: name of the header, lower case.
        pools: issuer and user pool, in the order of the file.
        result_ttl: seconds for which a decision may be repeated.
        make: makes the authorizer, with the arguments of `core.authorizers.Authorizer` save its rules, and with `settings`.
        settings: what its type takes beside these, by name.
    """

    name: str
    identity_source: str
    pools: tuple[tuple[str, UserPool], ...]
    result_ttl: int
    make: Callable[..., Authorizer]
    settings: tuple[tuple[str, Any], ...]


class ApiPart(NamedTuple):
    """An api without its routes, which follow.

    Args:
        name: as configured.
        hosts: exact names, `*.suffix`, or "" for any.
        base_path: its segments.
        claims: what it does with claims.
        authorizers: those it can use.
    """

    name: str
    hosts: tuple[str, ...]
    base_path: tuple[str, ...]
    claims: Claims
    authorizers: tuple[AuthorizerPart, ...]


class MethodPart(NamedTuple):
    """One method of a resource.

    Args:
        method: or ANY.
        authorizer: its name, or None for a public method.
        scopes: any one of these must be granted.
    """

    method: str
    authorizer: str | None
    scopes: tuple[str, ...]


class RoutesPart(NamedTuple):
    """Some resources of the api that came before.

    Args:
        resources: template and methods of each.
    """

    resources: tuple[tuple[str, tuple[MethodPart, ...]], ...]


class WarningsPart(NamedTuple):
    """What the loader warns of; sent before the others, and no part of a gateway.

    Args:
        lines: for the log.
    """

    lines: tuple[str, ...]


Part = ApiPart | RoutesPart
