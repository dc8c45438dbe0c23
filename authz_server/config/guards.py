"""Guards: what the routes of one api ask for, and where a request ends up that a resource has no method for.

A request is answered by the best template that matches its path *and* has its method. So a resource that names `GET` alone leaves
`POST` to a less specific one, which may ask for less: here those pairs are found. Methods of browsers' preflights (`OPTIONS`) are
left out, which come without a token and are public nearly everywhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, permutations
from typing import Any, Final, NamedTuple, get_args

from authz_server.config.authorizers import AuthorizerModel
from authz_server.config.schema import Method
from authz_server.core.routes import ANY, HttpMethod, Segment, parse

MAX_FOUND: Final = 1_000  # of each kind in one api: the next ones would say nothing new
STEPS: Final = 100_000
STEPS_PER_ROUTE: Final = 50  # on average; ordinary routes take ten to forty, a microsecond or two each

_PREFLIGHT: Final = "OPTIONS"
_METHODS: Final = tuple(method for method in get_args(HttpMethod) if method != _PREFLIGHT)
_MOST_COMPARED: Final = 64
_PUBLIC, _UNSCOPED, _SCOPED = 1, 2, 4  # kinds of methods, as bits


Methods = Mapping[Any, Method]  # by name


class Leak(NamedTuple):
    """Methods that a guarded resource lacks, and that another resource answers for less.

    Args:
        template: of the guarded resource.
        guarded: a method of it that asks for more.
        methods: those that it lacks.
        path: one that both templates match, with parameters for values.
        other: the template that answers.
        by: the method of it that does, perhaps `ANY`.
        asks: what that asks for.
    """

    template: str
    guarded: str
    methods: tuple[str, ...]
    path: str
    other: str
    by: str
    asks: Method


class Exemption(NamedTuple):
    """A public method below a protected `{proxy+}`.

    Args:
        template: of the public method.
        method: perhaps `ANY`.
        asks: what it asks for.
        other: the greedy template that would answer without it.
        by: the method of it that would.
    """

    template: str
    method: str
    asks: Method
    other: str
    by: str


@dataclass(slots=True, eq=False)
class _Node:
    """One level of the templates; of a template that ends here, its methods."""

    literals: "dict[str, _Node]" = field(default_factory=dict)
    parameter: "_Node | None" = None
    greedy: "_Node | None" = None
    template: str = ""
    methods: Methods = field(default_factory=dict)
    kinds: int = 0  # of the methods here and below

    def by(self, method: str) -> str:
        """Say which of the methods here answers *method*; "" for none."""
        return method if method in self.methods else ANY if ANY in self.methods else ""


class Guards:
    """The routes of one api, to be searched.

    Args:
        routes: template: method: what it asks for.
        authorizers: by name.
    """

    def __init__(self, routes: Mapping[str, Methods], authorizers: Mapping[str, AuthorizerModel]) -> None:
        self._authorizers = authorizers
        self._root = _Node()
        self._nodes = [self._add(parse(template), template, methods) for template, methods in routes.items()]
        self._steps = 0

    def leaks(self) -> Iterator[Leak]:
        """Find where the methods that a guarded resource lacks lead to a route that asks for less.

        Returns:
            Each pair of resources once, `MAX_FOUND` at most. It takes time in proportion to the routes: where very many templates match
            the same paths, not all pairs are looked at.
        """
        return islice(self._leaks(), MAX_FOUND)

    def _are_alike(self) -> bool:
        """Whether no method asks for less than any other, so that there is nothing to search for."""
        asked = {
            (each.authorizer, each.authorization_scopes): each
            for node, _ in self._nodes
            for name, each in node.methods.items()
            if name != _PREFLIGHT
        }
        return len(asked) <= _MOST_COMPARED and not any(self._asks_less(*pair) for pair in permutations(asked.values(), 2))

    def _leaks(self) -> Iterator[Leak]:
        if self._are_alike():
            return
        self._steps = STEPS + STEPS_PER_ROUTE * len(self._nodes)
        for node, segments in self._nodes:
            guarded = [method for method, asked in node.methods.items() if asked.authorizer is not None]
            if not guarded or ANY in node.methods or not self._is_rivalled(segments):
                continue
            missing = [method for method in _METHODS if method not in node.methods]
            if missing:
                less = max(map(self._less, map(node.methods.__getitem__, guarded)))
                for other, path in self._others(self._root, segments, less, ()):
                    yield from self._between(node, guarded, missing, other, path)

    def exemptions(self) -> Iterator[Exemption]:
        """Find public methods for which a protected `{proxy+}` would answer, were they not there.

        Returns:
            Each once, `MAX_FOUND` at most.
        """
        return islice(self._exemptions(), MAX_FOUND)

    def _exemptions(self) -> Iterator[Exemption]:
        self._steps = STEPS + STEPS_PER_ROUTE * len(self._nodes)
        for node, segments in self._nodes:
            for method, asked in node.methods.items():
                if asked.authorizer is None and self._is_rivalled(segments):
                    other, by = self._without(node, segments, method)
                    if other is not None and other.template.endswith("+}") and other.methods[by].authorizer is not None:
                        yield Exemption(node.template, method, asked, other.template, by)

    def _add(self, segments: tuple[Segment, ...], template: str, methods: Methods) -> tuple[_Node, tuple[Segment, ...]]:
        kinds = 0
        for method, asked in methods.items():
            if method != _PREFLIGHT:
                kinds |= _PUBLIC if asked.authorizer is None else _SCOPED if asked.authorization_scopes else _UNSCOPED
        node = self._root
        node.kinds |= kinds
        for segment in segments:
            node = _child(node, segment)
            node.kinds |= kinds
        node.template, node.methods = template, methods
        return node, segments

    def _is_rivalled(self, segments: tuple[Segment, ...]) -> bool:
        """Whether any less specific template begins like this one, which is quick to see."""
        node = self._root
        for segment in segments:
            if segment.greedy:
                break
            if node.greedy is not None or (node.parameter is not None and not segment.parameter):
                return True
            node = _child(node, segment)
        return False

    def _less(self, asked: Method) -> int:
        """Say of which kinds a method must be that asks for less than *asked*."""
        if asked.authorization_scopes:
            return _PUBLIC | _UNSCOPED | _SCOPED
        return _PUBLIC | _UNSCOPED if len(self._authorizers) > 1 else _PUBLIC

    def _others(
        self, node: _Node, segments: tuple[Segment, ...], kinds: int, path: tuple[str, ...], *, own: bool = True
    ) -> Iterator[tuple[_Node, str]]:
        """List the less specific templates that match some path of a template, the best first, with such a path.

        Args:
            node: where the search is.
            segments: of the template.
            kinds: of methods that are looked for.
            path: the way to the node, in segments.
            own: whether the node is on the template's own way.
        """
        self._steps -= 1
        if self._steps < 0 or not node.kinds & kinds:
            return
        rest = segments[len(path) :]
        if not rest:
            if not own and node.template:
                yield node, "/" + "/".join(path)
            return
        if rest[0].greedy and not own:
            yield from self._below(node, kinds, path)
            return
        for child, text, is_own in _ways(node, rest[0], own=own):
            yield from self._others(child, segments, kinds, (*path, text), own=is_own)
        if node.greedy is not None and not rest[0].greedy:
            yield node.greedy, "/" + "/".join([*path, *(segment.text for segment in rest)])

    def _below(self, node: _Node, kinds: int, path: tuple[str, ...]) -> Iterator[tuple[_Node, str]]:
        """List all templates below a node, for a greedy one that matches whatever they do."""
        ways = [*node.literals.items(), *((name, child) for name, child in (("{name}", node.parameter), ("{name}", node.greedy)) if child)]
        for text, child in ways:
            self._steps -= 1
            if self._steps >= 0 and child.kinds & kinds:
                if child.template:
                    yield child, "/" + "/".join([*path, text])
                yield from self._below(child, kinds, (*path, text))

    def _between(self, node: _Node, guarded: list[str], missing: list[str], other: _Node, path: str) -> Iterator[Leak]:
        """Say which of the missing methods *other* answers for less, and by which of its own."""
        segments = tuple(path[1:].split("/"))
        answered: dict[tuple[str, str], list[str]] = {}
        for method in missing:
            by = other.by(method)
            more = next((own for own in guarded if by and self._asks_less(other.methods[by], node.methods[own])), "")
            if more and self._answer(segments, method) is other and self._answer(segments, more) is node:
                answered.setdefault((by, more), []).append(method)
        for (by, more), methods in answered.items():
            yield Leak(node.template, more, tuple(methods), path, other.template, by, other.methods[by])

    def _without(self, node: _Node, segments: tuple[Segment, ...], method: str) -> tuple[_Node | None, str]:
        """Say what would answer a method of a resource if the resource were not there."""
        path = tuple(segment.text for segment in segments)
        for asked in _METHODS if method == ANY else (method,) if method in _METHODS else ():
            other = self._answer(path, asked, node) if node.by(asked) == method else None
            if other is not None:
                return other, other.by(asked)
        return None, ""

    def _answer(self, path: tuple[str, ...], method: str, without: _Node | None = None) -> _Node | None:
        """Find the resource that answers a method of a path."""

        def search(node: _Node, depth: int) -> _Node | None:
            self._steps -= 1
            if self._steps < 0:
                return None
            if depth == len(path):
                return node if node is not without and node.by(method) else None
            found = None
            for child in (node.literals.get(path[depth]), node.parameter):
                if found is None and child is not None:
                    found = search(child, depth + 1)
            greedy = node.greedy
            return found or (greedy if greedy is not None and greedy is not without and greedy.by(method) else None)

        return search(self._root, 0)

    def _asks_less(self, one: Method, other: Method) -> bool:
        """Whether *one* takes what *other* takes and more: no token, any ID token in place of a scope, more scopes, or more authorizers' tokens."""
        if one.authorizer is None or other.authorizer is None:
            return one.authorizer is None and other.authorizer is not None
        scopes, others = set(one.authorization_scopes), set(other.authorization_scopes)
        fewer = bool(others) and (not scopes or scopes > others)
        if one.authorizer == other.authorizer:
            return fewer
        mine, theirs = self._authorizers[one.authorizer], self._authorizers[other.authorizer]
        return mine.takes_all_of(theirs) and (fewer or (scopes == others and not theirs.takes_all_of(mine)))


def _ways(node: _Node, segment: Segment, *, own: bool) -> Iterator[tuple[_Node, str, bool]]:
    """List where a segment of a template may lead, the best first: child, text of the segment, whether it is the template's own way."""
    if not segment.parameter and segment.text in node.literals:
        yield node.literals[segment.text], segment.text, own
    if segment.parameter and not own:
        yield from ((child, text, False) for text, child in node.literals.items())
    if node.parameter is not None and not segment.greedy:
        yield node.parameter, segment.text, own and segment.parameter


def _child(node: _Node, segment: Segment) -> _Node:
    if not segment.parameter:
        if segment.text not in node.literals:
            node.literals[segment.text] = _Node()
        return node.literals[segment.text]
    if segment.greedy:
        node.greedy = node.greedy or _Node()
        return node.greedy
    node.parameter = node.parameter or _Node()
    return node.parameter
