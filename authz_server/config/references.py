"""References: what must fit together between the parts of a configuration."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from authz_server.config.fields import TAKEN_HEADERS, identity_header
from authz_server.config.loaded import Loaded
from authz_server.config.problems import Problem, one_of
from authz_server.config.schema import Api
from authz_server.config.sentences import Location
from authz_server.config.source import Source, entries
from authz_server.core.routes import Routes

_ANY_HOST: Final = ("",)
_NO_STAGE: Final = Api()


def problems(source: Source, loaded: Loaded, broken: AbstractSet[Location]) -> list[Problem]:
    """Find what does not fit together, as far as it can be known.

    Args:
        source: the file.
        loaded: the parts of it that are right in themselves.
        broken: paths of the parts that are not; nothing is concluded from their absence.

    Returns:
        The problems, in no order.
    """
    stages = list(_stages(source, loaded, broken))
    found = [*_authorizers(source, broken), *_templates(source), *stages, *_addresses(source, loaded, broken)]
    found += [*_headers(source, loaded), *_issuers(source, loaded)]
    if not stages and not any(_hides_pools(path) for path in broken):
        found += _pool_ids(source, loaded)
    return found


def _hides_pools(path: Location) -> bool:
    return path[:1] in {("authorizers",), ("apis",)} and path[2:3] in {(), ("stage_variables",)}


def _methods(source: Source) -> Iterator[tuple[str, Location, str]]:
    """List the methods that name an authorizer, as they are written: api, path of the name, name."""
    for api, settings in entries(entries(source.data).get("apis")).items():
        for template, methods in entries(entries(settings).get("routes")).items():
            for method, wanted in entries(methods).items():
                authorizer = entries(wanted).get("authorizer")
                if isinstance(authorizer, str) and authorizer:
                    yield api, ("apis", api, "routes", template, method, "authorizer"), authorizer


def _authorizers(source: Source, broken: AbstractSet[Location]) -> Iterator[Problem]:
    """Require that every authorizer that a method names is defined, be it rightly or wrongly."""
    defined = entries(entries(source.data).get("authorizers"))
    if ("authorizers",) not in broken:
        for _, path, name in _methods(source):
            if name not in defined:
                yield source.at_value(path, f"authorizer {name!r} is not defined{one_of(name, defined)}")


def _templates(source: Source) -> Iterator[Problem]:
    """Require that the templates of an api are right and do not collide."""
    for api, settings in entries(entries(source.data).get("apis")).items():
        routes: Routes[None] = Routes()
        for template in entries(entries(settings).get("routes")):
            try:
                routes.add(template, {})
            except ValueError as error:
                yield source.at_key(("apis", api, "routes", template), str(error))


def _stages(source: Source, loaded: Loaded, broken: AbstractSet[Location]) -> Iterator[Problem]:
    """Require that every api can fill in the stage variables of the authorizers that its routes use."""
    used = dict.fromkeys((api, authorizer) for api, _, authorizer in _methods(source))
    for api, name in used:
        stage, authorizer = loaded.configuration.apis.get(api), loaded.configuration.authorizers.get(name)
        if stage is None or authorizer is None or ("apis", api, "stage_variables") in broken:
            continue
        for place, why in authorizer.mistakes(stage.stage_variables):
            yield source.at_value(("authorizers", name, *place), f"for api {api!r}: {why}")


def _addresses(source: Source, loaded: Loaded, broken: AbstractSet[Location]) -> Iterator[Problem]:
    """Require that a host and base path lead to one api."""
    owners: dict[tuple[str, tuple[str, ...]], tuple[str, int]] = {}
    for name, api in loaded.configuration.apis.items():
        if not broken.isdisjoint({("apis", name, "hosts"), ("apis", name, "base_path")}):
            continue
        for index, host in enumerate(api.hosts or _ANY_HOST):
            owner, _ = first = owners.setdefault((host, api.base_segments), (name, index))
            if first != (name, index):
                message = f"api {owner!r} has {f'host {host!r}' if host else 'every other host'} with this base path already"
                yield source.at_key(("apis", name, "hosts", index), f"{message}, expected another host or base_path")


def _headers(source: Source, loaded: Loaded) -> Iterator[Problem]:
    """Require that a claim header is written once, and never over a token."""
    tokens = {identity_header(authorizer.identity_source): name for name, authorizer in loaded.configuration.authorizers.items()}
    for api, settings in entries(entries(source.data).get("apis")).items():
        first: dict[str, str] = {}
        for header in entries(entries(settings).get("claim_headers")):
            name, path = header.lower(), ("apis", api, "claim_headers", header)
            if first.setdefault(name, header) != header:
                yield source.at_key(path, f"header {header!r} stands twice, the case of {first[name]!r} makes no difference")
            if name in tokens and name not in TAKEN_HEADERS:
                yield source.at_key(path, f"header {header!r} is the identity source of authorizer {tokens[name]!r}, expected another name")


def _issuers(source: Source, loaded: Loaded) -> Iterator[Problem]:
    """Require that the issuer of a token tells an authorizer which user pool it is from."""
    for api in loaded.configuration.apis.values():
        for name, issuers in loaded.authorizers(api).items():
            owners: dict[str, str] = {}
            for issuer, pool in issuers:
                owner = owners.setdefault(issuer, pool.id)
                if owner != pool.id:
                    message = f"authorizer {name!r} can not tell user pools {owner!r} and {pool.id!r} apart, both have issuer {issuer!r}"
                    yield source.at_key(("user_pools", pool.id, "issuer"), message)


def _pool_ids(source: Source, loaded: Loaded) -> Iterator[Problem]:
    """Require that every entry of `user_pools` belongs to a pool that is in use."""
    apis = (_NO_STAGE, *loaded.configuration.apis.values())
    named = {pool.id for api in apis for issuers in loaded.authorizers(api).values() for _, pool in issuers}
    for pool_id in entries(entries(source.data).get("user_pools")).keys() - named:
        yield source.at_key(("user_pools", pool_id), f"no authorizer names user pool {pool_id!r}{one_of(pool_id, sorted(named))}")
