"""Compiling: a loaded configuration becomes one immutable generation of the gateway."""

from collections.abc import Callable, Mapping

from authz_server.config import schema
from authz_server.config.expressions import expression
from authz_server.config.fields import identity_header
from authz_server.config.loaded import Loaded
from authz_server.core.authorizers import CognitoUserPools, Expression, Keys
from authz_server.core.gateway import Api, Claims, Gateway, Route
from authz_server.core.hosts import Hosts
from authz_server.core.routes import Routes
from authz_server.core.user_pools import Arn, UserPool


def user_pools(loaded: Loaded) -> tuple[UserPool, ...]:
    """List the user pools that a configuration can accept tokens of.

    Args:
        loaded: the configuration.

    Returns:
        Each pool once, in the order of the file.
    """
    apis = loaded.configuration.apis.values()
    return tuple(dict.fromkeys(loaded.user_pool(arn) for api in apis for arns in loaded.authorizers(api).values() for arn in arns))


def compile_gateway(loaded: Loaded, keys: Callable[[UserPool], Keys]) -> Gateway:
    """Compile a configuration, so that a check has nothing left to look up in it.

    Args:
        loaded: the configuration.
        keys: gives the keys of a user pool, asked once for each.

    Returns:
        The gateway.
    """
    return _Compiler(loaded, keys).gateway()


class _Compiler:
    """Compiles one configuration; what is equal in it becomes one object."""

    def __init__(self, loaded: Loaded, keys: Callable[[UserPool], Keys]) -> None:
        self._loaded = loaded
        self._configuration = loaded.configuration
        self._keys = {pool: keys(pool) for pool in user_pools(loaded)}
        self._authorizers: dict[tuple[str, tuple[Arn, ...]], CognitoUserPools] = {}
        self._expressions: dict[str, Expression] = {}
        self._scopes: dict[tuple[str, ...], frozenset[str]] = {}

    def gateway(self) -> Gateway:
        identity_headers = tuple(sorted({name.lower() for api in self._configuration.apis.values() for name in api.claim_headers}))
        apis = {name: self._api(name, api, identity_headers) for name, api in self._configuration.apis.items()}
        addresses = (
            (host, apis[name].base_path, apis[name]) for name, api in self._configuration.apis.items() for host in api.hosts or ("",)
        )
        return Gateway(apis=apis, hosts=Hosts(addresses))

    def _api(self, name: str, api: schema.Api, identity_headers: tuple[str, ...]) -> Api:
        authorizers = {authorizer: self._authorizer(authorizer, arns) for authorizer, arns in self._loaded.authorizers(api).items()}
        routes: Routes[Route] = Routes()
        for template, methods in api.routes.items():
            routes.add(
                template, {method: self._route(f"{method} {template}", settings, authorizers) for method, settings in methods.items()}
            )
        return Api(
            name=name,
            base_path=api.base_segments,
            routes=routes,
            authorizers=authorizers,
            claims=_claims(api),
            identity_headers=identity_headers,
        )

    def _authorizer(self, name: str, arns: tuple[Arn, ...]) -> CognitoUserPools:
        if (name, arns) not in self._authorizers:
            settings = self._configuration.authorizers[name]
            pools: dict[str, Keys] = {}
            for arn in arns:
                for issuer in self._loaded.issuers(settings, arn):
                    pools.setdefault(issuer, self._keys[self._loaded.user_pool(arn)])
            self._authorizers[name, arns] = CognitoUserPools(
                name=name,
                identity_source=identity_header(settings.identity_source),
                pools=pools,
                expression=self._expression(settings.identity_validation_expression),
                app_clients=None if settings.app_clients is None else frozenset(settings.app_clients),
            )
        return self._authorizers[name, arns]

    def _expression(self, text: str | None) -> Expression | None:
        if text is None:
            return None
        if text not in self._expressions:
            self._expressions[text] = expression(text)
        return self._expressions[text]

    def _route(self, label: str, method: schema.Method, authorizers: Mapping[str, CognitoUserPools]) -> Route:
        if method.authorizer is None:
            return Route(label=label, authorizer=None)
        scopes = self._scopes.setdefault(method.authorization_scopes, frozenset(method.authorization_scopes))
        return Route(label=label, authorizer=authorizers[method.authorizer], scopes=scopes)


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
