"""Warnings: what is valid in a configuration and probably a mistake. Each is a function; its name is what `ignore_warnings` lists."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, Protocol

from authz_server.config.cognito_user_pools import CognitoUserPools
from authz_server.config.expressions import can_match, expression
from authz_server.config.fields import identity_header
from authz_server.config.guards import Guards
from authz_server.config.loaded import Loaded
from authz_server.config.problems import ConfigurationWarning, did_you_mean
from authz_server.config.regions import REGIONS
from authz_server.config.schema import Api, Method
from authz_server.config.sentences import Location
from authz_server.config.source import Source
from authz_server.config.urls import is_open
from authz_server.core.user_pools import Arn


class Part(Protocol):
    """A part of the configuration that may ignore warnings."""

    @property
    def ignore_warnings(self) -> tuple[str, ...]:
        """Their names."""
        ...


_APP_CLIENT_CHARACTERS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"  # of which Cognito makes the ids of app clients

# Headers whose syntax leaves no room for a bare token, or that Envoy writes itself. `Sec-WebSocket-Protocol` is not one: it lists words.
_NEVER_A_TOKEN: Final = frozenset(
    {
        *("accept", "accept-charset", "accept-encoding", "accept-language", "connection", "content-encoding", "content-language"),
        *("content-length", "content-type", "cookie", "date", "expect", "forwarded", "host", "keep-alive", "origin", "proxy-connection"),
        *("range", "referer", "sec-websocket-extensions", "sec-websocket-key", "sec-websocket-version", "set-cookie", "te", "traceparent"),
        *("trailer", "transfer-encoding", "upgrade", "user-agent", "via", "x-amzn-trace-id", "x-forwarded-client-cert", "x-forwarded-for"),
        *("x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-request-id"),
    }
)


class Found(NamedTuple):
    """One reason for a warning.

    Args:
        path: what it is about; its key is the place.
        message: why; `{}` stands for the place of `other`.
        where: names the part that may ignore it.
        parts: those that may, besides the top.
        other: a second place, or None.
    """

    path: Location
    message: str
    where: str
    parts: tuple[Part, ...] = ()
    other: Location | None = None


def warnings(source: Source, loaded: Loaded) -> list[ConfigurationWarning]:
    """Find what is probably a mistake, and is not ignored.

    Args:
        source: the file.
        loaded: what it says; nothing is wrong with it.

    Returns:
        The warnings, in the order of the file.
    """
    found = [
        _placed(source, name, each)
        for name, find in WARNINGS.items()
        if name not in loaded.configuration.ignore_warnings
        for each in find(loaded)
        if not any(name in part.ignore_warnings for part in each.parts)
    ]
    return sorted(set(found))


def _placed(source: Source, name: str, found: Found) -> ConfigurationWarning:
    message = found.message
    if found.other is not None:
        other = source.at_key(found.other, "")
        message = message.replace("{}", f"{other.file}:{other.line}:{other.column}")
    place = source.at_key(found.path, "")
    return ConfigurationWarning(file=place.file, line=place.line, column=place.column, message=message, name=name, where=found.where)


def region_differs(loaded: Loaded) -> Iterator[Found]:
    """Warn of an ARN whose region is not that of its pool id."""
    for name, index, arn in _arns(loaded):
        region = arn.pool_id.partition("_")[0]
        if arn.region != region and not _is_elsewhere(loaded, arn):
            message = (
                f"the ARN's region is {arn.region!r}, and the pool id {arn.pool_id!r} begins with {region!r}: "
                "right for a replica; otherwise a typing error, and no key is ever found"
            )
            yield _of_authorizer(loaded, name, message, "provider_arns", index)


def unknown_region(loaded: Loaded) -> Iterator[Found]:
    """Warn of a region that is not known to have user pools."""
    for name, index, arn in _arns(loaded):
        known = REGIONS[arn.partition]
        if arn.region not in known and not _is_elsewhere(loaded, arn):
            message = f"region {arn.region!r} of partition {arn.partition!r} is not known{did_you_mean(arn.region, sorted(known))}"
            yield _of_authorizer(loaded, name, message, "provider_arns", index)


def expression_matches_nothing(loaded: Loaded) -> Iterator[Found]:
    """Warn of an expression that matches no app client."""
    for name, authorizer in _cognito(loaded):
        text = authorizer.identity_validation_expression
        if text is None:
            continue
        why = ""
        if not can_match(text, _APP_CLIENT_CHARACTERS):
            why = "no app client id can match, since they are lower-case letters and digits; the expression is compared with `aud`, not with the header"
        elif authorizer.app_clients is not None and not any(map(expression(text).fullmatch, authorizer.app_clients)):
            why = "none of app_clients matches"
        if why:
            yield _of_authorizer(loaded, name, f"{text!r}: {why}. Every token is refused", "identity_validation_expression")


def expression_with_scopes(loaded: Loaded) -> Iterator[Found]:
    """Warn of an authorizer with an expression on a route with scopes."""
    first: dict[str, Location] = {}
    for path, method in _methods(loaded):
        if method.authorizer is not None and method.authorization_scopes:
            first.setdefault(method.authorizer, path)
    authorizers = dict(_cognito(loaded))
    for name, path in first.items():
        if name in authorizers and authorizers[name].identity_validation_expression is not None:
            message = (
                "an ordinary access token has no `aud` to match, so routes with scopes, such as {}, refuse every token, as on API Gateway"
            )
            found = _of_authorizer(loaded, name, message, "identity_validation_expression")
            yield found._replace(other=path)


def unused_authorizer(loaded: Loaded) -> Iterator[Found]:
    """Warn of an authorizer that no route names; where an api has no routes, Envoy may name any."""
    apis = loaded.configuration.apis.values()
    used = {method.authorizer for _, method in _methods(loaded)}
    if apis and all(api.routes for api in apis):
        for name in loaded.configuration.authorizers.keys() - used:
            yield _of_authorizer(loaded, name, f"no route names authorizer {name!r}; only Envoy's context_extensions can")


def any_app_client(loaded: Loaded) -> Iterator[Found]:
    """Warn of an authorizer that takes the tokens of every app client."""
    for name, authorizer in _cognito(loaded):
        if authorizer.app_clients is None and authorizer.identity_validation_expression is None:
            message = f"authorizer {name!r} takes the tokens of every app client of its user pools, as API Gateway does; list yours in app_clients"
            yield _of_authorizer(loaded, name, message)


def updated_issuer(loaded: Loaded) -> Iterator[Found]:
    """Warn of an authorizer that accepts what API Gateway refuses."""
    for name, authorizer in _cognito(loaded):
        if authorizer.accept_updated_issuer:
            message = "tokens of the updated issuer are accepted, which API Gateway refuses"
            yield _of_authorizer(loaded, name, message, "accept_updated_issuer")


def unusable_identity_source(loaded: Loaded) -> Iterator[Found]:
    """Warn of a header that can never hold a bare token."""
    for name, authorizer in loaded.configuration.authorizers.items():
        header = identity_header(authorizer.identity_source)
        if header in _NEVER_A_TOKEN:
            message = f"header {header!r} never holds a bare token: every request is 401"
            yield _of_authorizer(loaded, name, message, "identity_source")


def no_apis(loaded: Loaded) -> Iterator[Found]:
    """Warn of a file without apis."""
    if not loaded.configuration.apis:
        yield Found(("apis",), "there are no apis, so every check is denied with 403", "at the top")


def api_without_routes(loaded: Loaded) -> Iterator[Found]:
    """Warn of an api that has no resource, or none with a method."""
    for name, api in loaded.configuration.apis.items():
        if not any(api.routes.values()):
            message = f"api {name!r} has no routes, so every check is denied with 403 unless Envoy's context_extensions name an authorizer"
            yield Found(("apis", name), message, f"in api {name!r}", (api,))


def public_under_protected(loaded: Loaded) -> Iterator[Found]:
    """Warn of public methods that a protected `{proxy+}` would answer."""
    for name, api in loaded.configuration.apis.items():
        if not any(_is_protected_proxy(template, api) for template in api.routes):
            continue
        for template, method, asked, other, by in Guards(api.routes, loaded.configuration.authorizers).exemptions():
            message = f"{method} {template} is public, although {by} {other} ({{}}), which would match it too, is guarded"
            path = ("apis", name, "routes", template, method)
            parts = (asked, api)
            yield Found(path, message, "in this method", parts, other=("apis", name, "routes", other, by))


def less_guarded_method(loaded: Loaded) -> Iterator[Found]:
    """Warn of methods that a guarded resource lacks, where another resource answers them for less."""
    for name, api in loaded.configuration.apis.items():
        for template, guarded, methods, path, other, by, target in Guards(api.routes, loaded.configuration.authorizers).leaks():
            asks = "is public, unlike" if target.authorizer is None else "asks for less than"
            such = "" if path == template else f", such as {path},"
            message = (
                f"requests {', '.join(methods)} {template}{such} go to {by} {other} ({{}}), which {asks} {guarded} {template}, "
                "as on API Gateway. Declare these methods here, or ANY"
            )
            where = f"in {guarded} {template}"
            parts: tuple[Part, ...] = (*api.routes[template].values(), target, api)
            yield Found(("apis", name, "routes", template), message, where, parts, other=("apis", name, "routes", other, by))


def plaintext_keys(loaded: Loaded) -> Iterator[Found]:
    """Warn of keys that others can change on their way."""
    for pool_id, pool in loaded.configuration.user_pools.items():
        if pool.jwks_uri is not None and is_open(pool.jwks_uri):
            message = f"the keys of {pool_id!r} come over plain http: whoever can change the response can sign tokens"
            yield Found(("user_pools", pool_id, "jwks_uri"), message, f"in user pool {pool_id!r}", (pool,))


def claim_headers_collide(loaded: Loaded) -> Iterator[Found]:
    """Warn of headers that are one to upstreams which read `_` and `.` as `-`."""
    tokens = {_folded(identity_header(each.identity_source)): name for name, each in loaded.configuration.authorizers.items()}
    for name, api in loaded.configuration.apis.items():
        first: dict[str, str] = {}
        for header in api.claim_headers:
            other = first.setdefault(_folded(header), header)
            path = ("apis", name, "claim_headers", header)
            if other != header:
                message = f"many upstreams treat {header!r} and {other!r} ({{}}) as one header"
                yield Found(path, message, f"in api {name!r}", (api,), other=("apis", name, "claim_headers", other))
            elif _folded(header) in tokens:
                message = f"many upstreams treat {header!r} as the identity source of authorizer {tokens[_folded(header)]!r}"
                yield Found(path, message, f"in api {name!r}", (api,))


def _of_authorizer(loaded: Loaded, name: str, message: str, *keys: str | int) -> Found:
    return Found(("authorizers", name, *keys), message, f"in authorizer {name!r}", (loaded.configuration.authorizers[name],))


def _arns(loaded: Loaded) -> Iterator[tuple[str, int, Arn]]:
    """List the ARNs of each authorizer, with their places, once for each way in which an api fills them in."""
    stages = [{}, *(api.stage_variables for api in loaded.configuration.apis.values())]
    named = (
        (name, index, arn)
        for name, authorizer in _cognito(loaded)
        for stage in stages
        for index, arn in enumerate(_filled(authorizer, stage))
    )
    yield from dict.fromkeys(named)


def _filled(authorizer: CognitoUserPools, stage_variables: Mapping[str, str]) -> tuple[Arn, ...]:
    """Read the ARNs of an authorizer; none where a stage variable is lacking."""
    try:
        return authorizer.arns(stage_variables)
    except ValueError:
        return ()


def _cognito(loaded: Loaded) -> Iterator[tuple[str, CognitoUserPools]]:
    """List the authorizers of user pools."""
    return ((name, each) for name, each in loaded.configuration.authorizers.items() if isinstance(each, CognitoUserPools))


def _is_elsewhere(loaded: Loaded, arn: Arn) -> bool:
    """Whether the region says nothing about where the keys are, as with an emulator."""
    pool = loaded.configuration.user_pools.get(arn.pool_id)
    return bool(loaded.endpoint) or (pool is not None and (pool.jwks_uri is not None or pool.jwks_file is not None))


def _methods(loaded: Loaded) -> Iterator[tuple[Location, Method]]:
    for name, api in loaded.configuration.apis.items():
        for template, methods in api.routes.items():
            for method, asked in methods.items():
                yield ("apis", name, "routes", template, method), asked


def _is_protected_proxy(template: str, api: Api) -> bool:
    return template.endswith("+}") and any(asked.authorizer is not None for asked in api.routes[template].values())


def _folded(header: str) -> str:
    return re.sub("[^a-z0-9]", "-", header.lower())


_ALL: Final = (
    *(region_differs, unknown_region, expression_matches_nothing, expression_with_scopes, unused_authorizer, any_app_client),
    *(updated_issuer, unusable_identity_source, no_apis, api_without_routes, public_under_protected, less_guarded_method),
    *(plaintext_keys, claim_headers_collide),
)
WARNINGS: Final[Mapping[str, Callable[[Loaded], Iterator[Found]]]] = {find.__name__: find for find in _ALL}
