"""Resource templates, and the index that finds the best one for a path and a method."""

import re
from collections.abc import Callable, Mapping
from typing import Final, Generic, Literal, NamedTuple, TypeVar, get_args

T = TypeVar("T")
Found = TypeVar("Found")

HttpMethod = Literal["GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "DELETE"]  # those of API Gateway
METHODS: Final = frozenset(get_args(HttpMethod))
ANY: Final = "ANY"  # stands for those of them that a resource does not name

MAX_SEGMENTS: Final = 64
_LITERAL: Final = re.compile(r"[A-Za-z0-9_\-.,:~]+")
_PARAMETER: Final = re.compile(r"\{([A-Za-z0-9_\-.:]+)(\+?)\}")


class Segment(NamedTuple):
    """One segment of a template.

    Args:
        text: as written.
        parameter: whether it stands for any one segment.
        greedy: whether it stands for one or more segments.
    """

    text: str
    parameter: bool
    greedy: bool


def parse(template: str) -> tuple[Segment, ...]:
    """Read a resource template.

    Args:
        template: such as `/pets/{petId}` or `/files/{proxy+}`; `/` is the root.

    Returns:
        Its segments, none for the root.

    Raises:
        ValueError: with what API Gateway would refuse about it.

    Source: API Gateway guide, "Known issues" (resource names) and "Set up a proxy integration with a proxy resource".
    """
    if not template.startswith("/"):
        raise ValueError(f"resource {template!r} does not start with `/`")
    if template == "/":
        return ()
    if template.endswith("/") and "//" not in template:
        raise ValueError(f"resource {template!r} ends with a slash; API Gateway deploys it as {template[:-1]!r}, write that")
    texts = template[1:].split("/")
    if len(texts) > MAX_SEGMENTS:
        raise ValueError(f"resource has {len(texts)} segments, the limit is {MAX_SEGMENTS}")
    segments = tuple(_segment(text, template) for text in texts)
    if any(segment.greedy for segment in segments[:-1]):
        raise ValueError(f"resource {template!r}: a greedy parameter must be the last segment")
    return segments


def _segment(text: str, template: str) -> Segment:
    parameter = _PARAMETER.fullmatch(text)
    if parameter:
        return Segment(text, parameter=True, greedy=bool(parameter[2]))
    if not text:
        raise ValueError(f"resource {template!r} has an empty segment (a doubled slash)")
    if text in {".", ".."}:
        raise ValueError(f"resource {template!r}: a dot segment can never match")
    if "{" in text or "}" in text:
        raise ValueError(f"resource {template!r}: a parameter must be a whole segment, `{{name}}` or `{{name+}}`, not {text!r}")
    if not _LITERAL.fullmatch(text):
        raise ValueError(f"resource {template!r}: a segment holds letters, digits and _ - . , : ~ only, not {text!r}")
    return Segment(text, parameter=False, greedy=False)


class _Node(Generic[T]):
    """One level of the index: what may follow the segments that led here."""

    __slots__ = ("greedy", "literals", "methods", "parameter", "sibling")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.parameter: _Node[T] | None = None
        self.greedy: _Node[T] | None = None
        self.sibling = ""  # the one parameter that this level may have, as written
        self.methods: Mapping[str, T] | None = None


class Routes(Generic[T]):
    """The resources of one api: a path and a method lead to the best template that matches the one and declares the other.

    A lookup costs the depth of the path, not the number of templates.
    """

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, template: str, methods: Mapping[str, T]) -> None:
        """Add a resource; done once, while a generation is compiled.

        Args:
            template: the resource, see `parse`.
            methods: what each method, or `ANY`, leads to.

        Raises:
            ValueError: for a bad template, one that is there already, or a second parameter at one level.
        """
        node = self._root
        for segment in parse(template):
            node = self._child(node, segment, template)
        if node.methods is not None:
            raise ValueError(f"resource {template!r} stands twice")
        node.methods = methods

    @staticmethod
    def _child(node: _Node[T], segment: Segment, template: str) -> _Node[T]:
        if not segment.parameter:
            return node.literals.setdefault(segment.text, _Node())
        if node.sibling not in {"", segment.text}:
            raise ValueError(
                f"resource {template!r}: {segment.text} collides with its sibling {node.sibling}; a level can have one parameter"
            )
        node.sibling = segment.text
        if segment.greedy:
            node.greedy = node.greedy or _Node()
            return node.greedy
        node.parameter = node.parameter or _Node()
        return node.parameter

    def find(self, segments: list[str], method: str) -> T | None:
        """Find what the best template that matches the whole path and declares the method leads to.

        Args:
            segments: the path behind the base path, as `paths.split` cuts it. One slash at its end is not looked at.
            method: one of `METHODS`; a template declares it by name, or by `ANY`.

        Returns:
            What was added for it, or None. Segment by segment a literal beats `{name}`, which beats `{name+}`; a template without the
            method does not compete.

        Source: live REST APIs, measured twice (ministackorg/ministack PR 1423, floci-io/floci PR 3399); the slash: end-to-end tests of
            aws-powertools/powertools-lambda-python (#1552, #1609).
        """
        return _find(self._root, segments, lambda methods: methods.get(method, methods.get(ANY)))

    def matches(self, segments: list[str]) -> bool:
        """Tell whether any template that declares a method matches the whole path.

        Args:
            segments: as for `find`.
        """
        return _find(self._root, segments, lambda methods: True if methods else None) is not None


def _find(node: _Node[T], segments: list[str], pick: Callable[[Mapping[str, T]], Found | None]) -> Found | None:
    """Find what *pick* takes of the best template that matches and of which it takes anything."""
    if segments and not segments[-1]:
        segments = segments[:-1]
    for depth, segment in enumerate(segments):
        following = node.literals.get(segment)
        if following is None:
            if node.parameter is None:
                return _picked(node.greedy, pick)
            following = node.parameter
        elif node.sibling:  # the literal may lead nowhere, and the parameter somewhere
            return _search(node, segments, depth, pick)
        node = following
    return _picked(node, pick)


def _search(node: _Node[T], segments: list[str], depth: int, pick: Callable[[Mapping[str, T]], Found | None]) -> Found | None:
    if depth == len(segments):
        return _picked(node, pick)
    following = node.literals.get(segments[depth])
    found = _search(following, segments, depth + 1, pick) if following is not None else None
    if found is None and node.parameter is not None:
        found = _search(node.parameter, segments, depth + 1, pick)
    return found if found is not None else _picked(node.greedy, pick)


def _picked(node: _Node[T] | None, pick: Callable[[Mapping[str, T]], Found | None]) -> Found | None:
    return None if node is None or node.methods is None else pick(node.methods)
