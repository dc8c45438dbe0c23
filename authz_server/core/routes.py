"""Resource templates, and the index that finds the best one for a path."""

import re
from collections.abc import Mapping
from typing import Final, Generic, Literal, NamedTuple, TypeVar, get_args

T = TypeVar("T")

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
        raise ValueError(f"resource {template!r} has an empty segment (a trailing or doubled slash)")
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
    """The resources of one api: a path leads to the methods of the best template.

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

    def find(self, segments: list[str]) -> Mapping[str, T] | None:
        """Find the methods of the best template that matches the whole path.

        Args:
            segments: the path behind the base path, as `paths.split` cuts it.

        Returns:
            The template's methods, or None. Segment by segment a literal beats `{name}`, which beats `{name+}`.

        Source: API Gateway guide, "Set up a proxy integration with a proxy resource" (specific siblings win).
        """
        if not segments or segments == [""]:
            return self._root.methods
        if not segments[-1]:
            return None
        node = self._root
        for depth, segment in enumerate(segments):
            following = node.literals.get(segment)
            if following is None:
                if node.parameter is None:
                    return node.greedy.methods if node.greedy is not None else None
                following = node.parameter
            elif node.sibling:  # the literal may lead nowhere, and the parameter somewhere
                return _search(node, segments, depth)
            node = following
        return node.methods


def _search(node: _Node[T], segments: list[str], depth: int) -> Mapping[str, T] | None:
    if depth == len(segments):
        return node.methods
    following = node.literals.get(segments[depth])
    found = _search(following, segments, depth + 1) if following is not None else None
    if found is None and node.parameter is not None:
        found = _search(node.parameter, segments, depth + 1)
    if found is None and node.greedy is not None:
        found = node.greedy.methods
    return found
