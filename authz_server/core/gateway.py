"""One generation: the whole way from a request to a decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from authz_server.core import claims as claim
from authz_server.core import paths
from authz_server.core.aliases import Aliases
from authz_server.core.authorizers import Authorizer, KeysPending
from authz_server.core.decisions import Allow, Denied, Deny, Details, listed
from authz_server.core.evaluation import Evaluation
from authz_server.core.hosts import Hosts
from authz_server.core.reasons import Reason
from authz_server.core.recent import Recent
from authz_server.core.request import Request
from authz_server.core.responses import BUILT_IN, Response
from authz_server.core.routes import METHODS, Routes
from authz_server.core.rules import CLAIM_HEADERS, details

NAMED_BY_ENVOY: Final = "(named by Envoy)"
CONTEXT_KEYS: Final = frozenset({"api", "authorizer", "authorization_scopes"})  # what Envoy's context_extensions may say
_ALIKE: Final = ("api", "authori")  # how a slip in one of them begins, which must not open a route
_MAX_KEY: Final = 64
MAX_NAMED_ROUTES: Final = 10_000
MAX_SEEN: Final = 1_024  # requests that are not looked at twice
MAX_SEEN_LENGTH: Final = 512  # of all three together; clients may send 60 KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """No decision yet: the keys that the check needs are being fetched.

    Args:
        fetch: what the key source offers to wait for.
        unavailable: the answer when the keys do not come.
    """

    fetch: Any
    unavailable: Deny


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one resource.

    Args:
        label: method and template, the route's name in metrics and logs.
        authorizer: None for a public route.
        scopes: any one of these must be granted; none at all asks for an ID token.
        tag: names all routes of the generation that decide alike about a token; empty where decisions are not repeated.
    """

    label: str
    authorizer: Authorizer | None
    scopes: frozenset[str] = frozenset()
    tag: bytes = b""


def protected(label: str, api: str, authorizer: Authorizer, scopes: frozenset[str]) -> Route:
    """Make a route that takes a token.

    Args:
        label: see `Route`.
        api: name of its api.
        authorizer: see `Route`.
        scopes: see `Route`.

    Returns:
        The route, tagged unless its authorizer wants each token judged anew.
    """
    tag = "\0".join((api, authorizer.name, *sorted(scopes))).encode() if authorizer.result_ttl else b""
    return Route(label=label, authorizer=authorizer, scopes=scopes, tag=tag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What an api does with the claims of a verified token.

    Args:
        headers: header name and claim, in file order.
        metadata: claims for Envoy's dynamic metadata: None for none, an empty set for all.
        logged: claims that may appear in the decision log.
        drop: whether headers beyond the size limit are dropped; otherwise the check is denied.
        forward_token: whether the identity source goes on to the upstream.
    """

    headers: tuple[tuple[str, str], ...] = ()
    metadata: frozenset[str] | None = None
    logged: frozenset[str] = frozenset()
    drop: bool = True
    forward_token: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One api, as it is deployed to one stage.

    Args:
        name: as configured.
        base_path: its segments, stripped before routes are matched.
        routes: its resources and their methods.
        authorizers: by name, with the stage variables of this api filled in.
        claims: what it does with claims.
        identity_headers: every header of the generation that carries identity; a client's own are stripped.
        aliases: other names of these headers, which are stripped, too.
        responses: what the caller of a denied request gets, by reason.
        named_routes: those that Envoy has named so far.
    """

    name: str
    base_path: tuple[str, ...]
    routes: Routes[Route]
    authorizers: Mapping[str, Authorizer]
    claims: Claims
    identity_headers: tuple[str, ...]
    responses: Mapping[Reason, Response] = field(default_factory=lambda: BUILT_IN, repr=False)
    aliases: Aliases = field(init=False, compare=False, repr=False)
    named_routes: Recent[tuple[str, str | None], Route] = field(default_factory=lambda: Recent(MAX_NAMED_ROUTES), compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "aliases", Aliases(self.identity_headers))

    def below(self, segments: list[str]) -> list[str]:
        """Strip the base path.

        Raises:
            Denied: NO_ROUTE for a path that is not below it.
        """
        depth = len(self.base_path)
        if tuple(segments[:depth]) != self.base_path:
            raise Denied(Reason.NO_ROUTE, details=(("base_paths_known", "/" + "/".join(self.base_path)),))
        return segments[depth:]

    def route(self, segments: list[str], method: str) -> Route:
        """Find the route of a request: the best resource that matches the path and declares the method.

        Raises:
            Denied: NO_ROUTE or NO_METHOD.

        Source: see `Routes.find`. AWS does not say whether ANY takes words that are no method of its own; here it does not, since
            upstreams may read `get` as GET.
        """
        route = self.routes.find(segments, method) if method in METHODS else None
        if route is None:
            raise Denied(Reason.NO_METHOD if self.routes.matches(segments) else Reason.NO_ROUTE)
        return route

    def named(self, context: Mapping[str, str]) -> Route:
        """Make the route that Envoy's context_extensions describe.

        Raises:
            Denied: AUTHORIZER_UNKNOWN, or CONTEXT_REFUSED for scopes without any, which somebody forgot to fill in.
        """
        name, scopes = context["authorizer"], context.get("authorization_scopes")
        route = self.named_routes.get((name, scopes))
        if route is not None:
            return route
        authorizer = self.authorizers.get(name)
        if authorizer is None:
            raise Denied(Reason.AUTHORIZER_UNKNOWN, details=(("authorizers_known", listed(self.authorizers)),))
        named = frozenset((scopes or "").split(" ")) - {""}
        if scopes is not None and not named:
            raise Denied(Reason.CONTEXT_REFUSED)
        route = protected(NAMED_BY_ENVOY, self.name, authorizer, named)
        self.named_routes.keep((name, scopes), route)
        return route

    def decide(self, route: Route, request: Request, now: float) -> Allow | Deny:
        """Decide whether a request may pass on its route, and hand the claims on.

        Raises:
            KeysPending: when the key is being fetched.
        """
        if route.authorizer is None:
            return Allow(api=self.name, route=route.label, remove=self.identity_headers + self.aliases.among(request.headers))
        evaluation = Evaluation(request, now, route.authorizer, route.scopes)
        failed = route.authorizer.judge(evaluation)
        if failed is None:
            headers, evaluation.dropped = claim.headers(evaluation.claims, self.claims.headers)
            if self.claims.drop or CLAIM_HEADERS.met(evaluation):
                return self._allow(route, evaluation, headers)
            failed = evaluation.failed = CLAIM_HEADERS
        return Deny(
            reason=failed.reason,
            api=self.name,
            route=route.label,
            details=details(failed, evaluation),
            responses=self.responses,
            evaluation=evaluation,
        )

    def deny(self, reason: Reason, route: str = "", details: Details = ()) -> Deny:
        """Deny a request for a reason that rests on no key.

        Args:
            reason: of the denial.
            route: label of the route, or "" when none was found.
            details: for the operator.

        Returns:
            The denial, with the response of this api.
        """
        return Deny(reason=reason, api=self.name, route=route, details=details, responses=self.responses)

    def _allow(self, route: Route, evaluation: Evaluation, headers: list[tuple[str, str]]) -> Allow:
        claims = evaluation.claims
        written = {name for name, _ in headers}
        stripped = self.identity_headers if self.claims.forward_token else (*self.identity_headers, evaluation.authorizer.identity_source)
        return Allow(
            api=self.name,
            route=route.label,
            headers=tuple(headers),
            remove=tuple(name for name in stripped if name not in written) + self.aliases.among(evaluation.request.headers),
            metadata=claim.metadata(claims, () if self.claims.metadata is None else self.claims.metadata or claims),
            logged=claim.texts(claims, self.claims.logged),
            dropped=tuple(evaluation.dropped),
            evaluation=evaluation,
        )


Match = tuple[Api, Route]  # where a request belongs


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One compiled, immutable configuration.

    Args:
        apis: by name.
        hosts: the same apis, by host and base path.
        seen: what was found lately, by method, host and path.
    """

    apis: Mapping[str, Api]
    hosts: Hosts[Api]
    seen: Recent[tuple[str, str, str], Match] = field(default_factory=lambda: Recent(MAX_SEEN), compare=False, repr=False)

    def decide(self, request: Request, now: float) -> Allow | Deny | Pending:
        """Decide whether a request may pass.

        Args:
            request: what Envoy asks about.
            now: seconds since 1970.

        Returns:
            The decision, or `Pending` when a key that the check needs is being fetched.
        """
        match = self.match(request)
        return match if isinstance(match, Deny) else self.judge(match, request, now)

    def match(self, request: Request) -> Match | Deny:
        """Find the route of a request.

        Args:
            request: what Envoy asks about.

        Returns:
            The api and its route, or why there is none.
        """
        method, host, target, _, context = request
        try:
            path = paths.path_of(target)
            asked = method, host, path
            match = None if context else self.seen.get(asked)
            if match is not None:
                return match
            segments = paths.split(path)
        except Denied as denied:
            return Deny(reason=denied.reason, details=denied.details)
        found = self._match(request, segments)
        if not isinstance(found, Deny):
            if "%" in path and "authorizer" not in context and not _same(found, self._match(request, paths.unescape(segments))):
                return found[0].deny(Reason.ESCAPE_REFUSED, details=(("escape", paths.first_telling_escape(path)),))
            if not context:
                self._see(asked, found)
        return found

    def _match(self, request: Request, segments: list[str]) -> Match | Deny:
        """Find the route that segments lead to."""
        try:
            api, rest = self._api(request, segments)
        except Denied as denied:
            return Deny(reason=denied.reason, details=denied.details)
        try:
            return api, api.named(request.context) if "authorizer" in request.context else api.route(rest, request.method)
        except Denied as denied:
            return api.deny(denied.reason, details=denied.details)

    def _see(self, asked: tuple[str, str, str], match: Match) -> None:
        """Find the same at once next time."""
        if sum(map(len, asked)) <= MAX_SEEN_LENGTH:
            self.seen.keep(asked, match)

    def judge(self, match: Match, request: Request, now: float) -> Allow | Deny | Pending:
        """Decide whether a request may pass on its route.

        Args:
            match: from `match`, for the same request.
            request: what Envoy asks about.
            now: seconds since 1970.

        Returns:
            The decision, or `Pending`.
        """
        api, route = match
        try:
            return api.decide(route, request, now)
        except KeysPending as pending:
            return Pending(fetch=pending.fetch, unavailable=api.deny(Reason.KEYS_UNAVAILABLE, route.label))

    def _api(self, request: Request, segments: list[str]) -> tuple[Api, list[str]]:
        """Find the api: the one that Envoy names, or by host and base path."""
        context = request.context
        if not context:
            return self.hosts.find(request.host, segments)
        for key in context:
            if key not in CONTEXT_KEYS and key.lower().startswith(_ALIKE):
                raise Denied(Reason.CONTEXT_REFUSED, details=(("context_extension", key[:_MAX_KEY]),))
        if "authorization_scopes" in context and "authorizer" not in context:
            raise Denied(Reason.CONTEXT_REFUSED)
        if "api" not in context:
            if "authorizer" in context:
                raise Denied(Reason.CONTEXT_REFUSED)
            return self.hosts.find(request.host, segments)
        api = self.apis.get(context["api"])
        if api is None:
            raise Denied(Reason.API_UNKNOWN, details=(("apis_known", listed(self.apis)),))
        if "authorizer" in context:
            return api, segments
        return api, api.below(segments)


def _same(one: Match, other: Match | Deny) -> bool:
    """Tell whether two readings of a path lead to one route."""
    return not isinstance(other, Deny) and one[0] is other[0] and one[1] is other[1]
