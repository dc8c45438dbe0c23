"""Assembling: the parts of a configuration become one immutable generation of the gateway."""

from collections.abc import Callable, Iterable

from authz_server.config.parts import ApiPart, AuthorizerPart, MethodPart, Part, RoutesPart
from authz_server.core.authorizers import Authorizer, Keys
from authz_server.core.gateway import Api, Gateway, Route, protected
from authz_server.core.hosts import Hosts
from authz_server.core.revocations import Revocations
from authz_server.core.routes import Routes
from authz_server.core.user_pools import UserPool


class Assembly:
    """A gateway in the making; what is equal in the configuration becomes one object.

    Args:
        keys: gives the keys of a user pool, asked once for each.
        revocations: tokens that are refused, or None.
    """

    def __init__(self, keys: Callable[[UserPool], Keys], revocations: Revocations | None = None) -> None:
        self._give = keys
        self._revocations = revocations
        self._keys: dict[UserPool, Keys] = {}
        self._authorizers: dict[AuthorizerPart, Authorizer] = {}
        self._scopes: dict[tuple[str, ...], frozenset[str]] = {}
        self._apis: list[tuple[ApiPart, dict[str, Authorizer], Routes[Route]]] = []

    @property
    def user_pools(self) -> tuple[UserPool, ...]:
        """The user pools whose tokens can be accepted, each once."""
        return tuple(self._keys)

    def add(self, parts: Iterable[Part]) -> "Assembly":
        """Take parts in; done once, so that a check has nothing left to look up in them.

        Args:
            parts: each api, followed by its routes.

        Returns:
            The assembly.
        """
        for part in parts:
            if isinstance(part, ApiPart):
                authorizers = {entry.name: self._authorizer(entry) for entry in part.authorizers}
                self._apis.append((part, authorizers, Routes()))
            else:
                self._add_routes(part)
        return self

    def gateway(self) -> Gateway:
        """Put the gateway together."""
        identity_headers = tuple(sorted({header for part, _, _ in self._apis for header, _ in part.claims.headers}))
        apis = {
            part.name: Api(
                name=part.name,
                base_path=part.base_path,
                routes=routes,
                authorizers=authorizers,
                claims=part.claims,
                identity_headers=identity_headers,
            )
            for part, authorizers, routes in self._apis
        }
        return Gateway(apis=apis, hosts=Hosts((host, part.base_path, apis[part.name]) for part, _, _ in self._apis for host in part.hosts))

    def _add_routes(self, part: RoutesPart) -> None:
        api, authorizers, routes = self._apis[-1]
        for template, methods in part.resources:
            routes.add(template, {entry.method: self._route(template, api.name, entry, authorizers) for entry in methods})

    def _route(self, template: str, api: str, part: MethodPart, authorizers: dict[str, Authorizer]) -> Route:
        label = f"{part.method} {template}"
        if part.authorizer is None:
            return Route(label=label, authorizer=None)
        scopes = self._scopes.setdefault(part.scopes, frozenset(part.scopes))
        return protected(label, api, authorizers[part.authorizer], scopes)

    def _authorizer(self, part: AuthorizerPart) -> Authorizer:
        if part not in self._authorizers:
            self._authorizers[part] = part.make(
                name=part.name,
                identity_source=part.identity_source,
                issuers={issuer: self._keys_of(pool) for issuer, pool in part.pools},
                result_ttl=part.result_ttl,
                revocations=self._revocations,
                **dict(part.settings),
            )
        return self._authorizers[part]

    def _keys_of(self, pool: UserPool) -> Keys:
        if pool not in self._keys:
            self._keys[pool] = self._give(pool)
        return self._keys[pool]
