"""Reading: the YAML of a file becomes a source, with every problem that the text has."""

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from authz_server.config import variables
from authz_server.config.documents import LOADER, Document
from authz_server.config.problems import ConfigurationError, Problem
from authz_server.config.scalars import resolve
from authz_server.config.source import HOLE, Entries, Items, Source, size

MAX_DEPTH: Final = 32
MAX_ALIASED: Final = 1_000_000

_STAGED: Final = "provider_arns"  # the one key whose values may hold stage variables
_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_OPEN: Final = object()


def compose(document: Document, environment: Mapping[str, str]) -> Source:
    """Read YAML.

    Args:
        document: its text.
        environment: value by name, for `${NAME}`.

    Returns:
        Its data, with what is wrong about single values.

    Raises:
        ConfigurationError: when it can not be read to its end.
    """
    forbidden = _FORBIDDEN.search(document.text)
    if forbidden:
        lines = document.text[: forbidden.start()].split("\n")
        place = len(lines), len(lines[-1]) + 1
        raise document.error(f"the file holds the character {forbidden[0]!r}, which YAML does not allow", place)
    return _Composer(document, environment).compose()


class _Composer:
    """Builds the data of one file out of the parser's events, so that nothing is constructed, tagged or expanded."""

    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment
        self._events: Iterator[Any] = iter(())
        self._problems: list[Problem] = []
        self._anchors: dict[str, Any] = {}
        self._aliased = 0

    def compose(self) -> Source:
        self._events = yaml.parse(self._document.text, Loader=LOADER)
        try:
            data = self._root()
        except yaml.MarkedYAMLError as error:
            raise self._syntax_error(error) from None
        return Source(file=self._document.file, data=data, problems=tuple(self._problems))

    def _place(self, event: Any) -> tuple[int, int]:
        return self._at(event.start_mark)

    def _at(self, mark: Any) -> tuple[int, int]:
        """Find the line and column of the file that a place of the text is, from 1."""
        return mark.line + self._document.line + 1, mark.column + self._document.column + 1

    def _syntax_error(self, error: yaml.MarkedYAMLError) -> ConfigurationError:
        mark = cast("Any", error.problem_mark)  # never None, whatever its type says
        what = ", ".join(part for part in (error.context, error.problem) if part)
        text = "".join(self._document.text.split("\n")[mark.line : mark.line + 1])
        hint = "; a value with `${` must be quoted inside { } and [ ]" if "${" in text else ""
        line, column = self._at(mark)
        problem = Problem(file=self._document.file, line=line, column=column, message=f"this is not YAML: {what}{hint}")
        return ConfigurationError([*self._problems, problem])

    def _report(self, event: Event, message: str) -> None:
        line, column = self._place(event)
        self._problems.append(Problem(file=self._document.file, line=line, column=column, message=message))

    def _give_up(self, event: Event, message: str) -> ConfigurationError:
        self._report(event, message)
        return ConfigurationError(self._problems)

    def _root(self) -> Any:
        data: Any = HOLE
        documents = 0
        for event in self._events:
            if isinstance(event, NodeEvent):
                data = self._node(event, "", 0)
            elif isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._give_up(event, "a second document begins here, expected one")
        if not documents:
            self._problems.append(
                Problem(file=self._document.file, line=1, column=1, message="the file is empty, expected `version: 1` and more")
            )
        return data

    def _node(self, event: Any, key: str, depth: int) -> Any:
        """Build a value; *key* is that of the nearest mapping around it."""
        if isinstance(event, AliasEvent):
            return self._alias(event)
        if depth > MAX_DEPTH:
            raise self._give_up(event, f"values are nested more than {MAX_DEPTH} deep here")
        if event.tag is not None:
            self._report(event, f"tag {event.tag!r} is not supported, leave it out")
        if event.anchor is not None:
            self._anchors[event.anchor] = _OPEN
        if isinstance(event, ScalarEvent):
            value = self._scalar(event, staged=key == _STAGED)
        elif isinstance(event, SequenceStartEvent):
            value = self._sequence(key, depth)
        else:
            value = self._mapping(depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        return value

    def _alias(self, event: Any) -> Any:
        value = self._anchors.get(event.anchor, HOLE)
        if event.anchor not in self._anchors:
            self._report(event, f"alias *{event.anchor} has no anchor before it")
        elif value is _OPEN:
            self._report(event, f"alias *{event.anchor} stands inside its own anchor")
            return HOLE
        self._aliased += size(value)
        if self._aliased > MAX_ALIASED:
            raise self._give_up(event, f"aliases stand for more than {MAX_ALIASED:,} values up to here")
        return value

    def _scalar(self, event: ScalarEvent, *, staged: bool) -> Any:
        if "${" in event.value:
            text, wrong = variables.substitute(event.value, self._environment, staged=staged)
            for message in wrong:
                self._report(event, message)
            return HOLE if wrong else text
        if event.tag is not None:
            return HOLE
        if not event.implicit[0]:
            return event.value
        value = resolve(event.value)
        if value is None:
            self._report(event, "the value is empty; write one, or leave the key out")
            return HOLE
        return value

    def _sequence(self, key: str, depth: int) -> Items:
        items = Items()
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.put(self._node(event, key, depth + 1), self._place(event))
        return items

    def _mapping(self, depth: int) -> Entries:
        entries = Entries()
        merges: list[tuple[Any, Event]] = []
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event, depth)
            following = next(self._events)
            value = self._node(following, key or "", depth + 1)
            if key == "<<" and event.implicit[0]:
                merges.append((value, following))
            elif key is not None and key in entries:
                first, *_ = entries.places[list(entries).index(key)]
                self._report(event, f"key {key!r} stands twice, first on line {first}")
            elif key is not None:
                entries.put(key, value, self._place(event), self._place(following))
        for value, following in merges:
            self._merge(entries, value, following)
        return entries

    def _key(self, event: Any, depth: int) -> str | None:
        if isinstance(event, ScalarEvent) and event.tag is None and event.anchor is None:
            if not event.implicit[0] or isinstance(resolve(event.value), str):
                return sys.intern(event.value)
            self._report(event, f"key {event.value} is not text; quote it")
        else:
            self._report(event, "a key must be plain or quoted text, without tag, anchor or alias")
        if isinstance(event, CollectionStartEvent):
            self._node(event, "", depth + 1)
        return None

    def _merge(self, entries: Entries, value: Any, event: Event) -> None:
        """Take over the entries of the mappings behind `<<`; a mapping's own entries win, then those of the first that has the key."""
        for mapping in value if isinstance(value, Items) else [value]:
            if isinstance(mapping, Entries):
                entries.merge(mapping)
            elif mapping is not HOLE:
                self._report(event, "<< takes an alias of a mapping, or a list of such aliases")
