"""Compiling: a loaded configuration becomes parts, and those become a gateway."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from authz_server.config import schema
from authz_server.config.assemble import Assembly
from authz_server.config.authorizers import Issuers
from authz_server.config.fields import identity_header
from authz_server.config.loaded import Loaded
from authz_server.config.parts import ApiPart, AuthorizerPart, MethodPart, Part, RoutesPart
from authz_server.core.authorizers import Keys
from authz_server.core.gateway import Claims, Gateway
from authz_server.core.revocations import Revocations
from authz_server.core.user_pools import UserPool

BATCH: Final = 200  # resources in one part: a process that takes parts in can do other things between two of them


def user_pools(loaded: Loaded) -> tuple[UserPool, ...]:
    """List the user pools that a configuration can accept tokens of.

    Args:
        loaded: the configuration.

    Returns:
        Each pool once, in the order of the file.
    """
    apis = loaded.configuration.apis.values()
    return tuple(dict.fromkeys(pool for api in apis for issuers in loaded.authorizers(api).values() for _, pool in issuers))


def compile_gateway(loaded: Loaded, keys: Callable[[UserPool], Keys], revocations: Revocations | None = None) -> Gateway:
    """Compile a configuration, so that a check has nothing left to look up in it.

    Args:
        loaded: the configuration.
        keys: gives the keys of a user pool, asked once for each.
        revocations: tokens that are refused all the same, or None.

    Returns:
        The gateway.
    """
    return Assembly(keys, revocations).add(parts(loaded)).gateway()


def parts(loaded: Loaded) -> Iterator[Part]:
    """Take a configuration apart.

    Args:
        loaded: the configuration.

    Yields:
        Each api, followed by its routes.
    """
    for name, api in loaded.configuration.apis.items():
        authorizers = tuple(_authorizer(loaded, authorizer, issuers) for authorizer, issuers in loaded.authorizers(api).items())
        yield ApiPart(name, api.hosts or ("",), api.base_segments, _claims(api), authorizers)
        resources = ((template, tuple(map(_method, methods, methods.values()))) for template, methods in api.routes.items())
        while batch := tuple(islice(resources, BATCH)):
            yield RoutesPart(batch)


def _authorizer(loaded: Loaded, name: str, issuers: Issuers) -> AuthorizerPart:
    settings = loaded.configuration.authorizers[name]
    pools: dict[str, UserPool] = {}
    for issuer, pool in issuers:
        pools.setdefault(issuer, pool)
    make, more = settings.maker()
    return AuthorizerPart(
        name=name,
        identity_source=identity_header(settings.identity_source),
        pools=tuple(pools.items()),
        result_ttl=settings.authorizer_result_ttl_in_seconds,
        make=make,
        settings=more,
    )


def _method(method: str, settings: schema.Method) -> MethodPart:
    return MethodPart(method, settings.authorizer, settings.authorization_scopes)


def _claims(api: schema.Api) -> Claims:
    return Claims(
        headers=tuple((header.lower(), claim) for header, claim in api.claim_headers.items()),
        metadata=_metadata(api.dynamic_metadata),
        logged=frozenset(api.log_claims),
        drop=api.claim_headers_overflow == "drop",
        forward_token=api.forward_token,
    )


def _metadata(wanted: str | tuple[str, ...]) -> frozenset[str] | None:
    """Say which claims, as the gateway is told: None for none, an empty set for all."""
    if isinstance(wanted, str):
        return frozenset() if wanted == "all" else None
    return frozenset(wanted)
