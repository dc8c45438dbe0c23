"""Documents: the text of a configuration, where it came from, and what may stand around or in place of it."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, DocumentStartEvent, MappingStartEvent, ScalarEvent

from authz_server import files
from authz_server.config.problems import ConfigurationError, Problem

MAX_SIZE: Final = 64 * 1024 * 1024
STANDARD_INPUT: Final = "<stdin>"
LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # libyaml where PyYAML has it: ten times faster

_LEVELS: Final = 2  # `data` and its entries
_DEEPEST: Final = 32
_MOST_EVENTS: Final = 1_000_000
_FEW_EVENTS: Final = 10_000  # before which a document says what it is

_OPEN_API: Final = "an OpenAPI document; write its security schemes as `authorizers` and its paths as `routes`"
_FOREIGN: Final = {
    "openapi": _OPEN_API,
    "swagger": _OPEN_API,
    "AWSTemplateFormatVersion": "a CloudFormation template",
    "Resources": "a CloudFormation template",
    "static_resources": "a configuration of Envoy",
    "kind": "a Kubernetes object; `validate` looks into a ConfigMap, a server needs the file that it holds",
}

Outline = dict[tuple[str, ...], Any]  # events of scalars, by the keys that lead to them


class Document(NamedTuple):
    """The text of a configuration.

    Args:
        file: as it is named in problems.
        text: YAML.
        path: of the file; others that it names are found beside it.
        line: lines of the file before the text.
        column: characters of each line before the text.
    """

    file: str
    text: str
    path: Path
    line: int = 0
    column: int = 0

    def error(self, message: str, place: tuple[int, int] = (1, 1)) -> ConfigurationError:
        """Make the error for something that is wrong with the whole document."""
        line, column = place
        return ConfigurationError([Problem(file=self.file, line=self.line + line, column=self.column + column, message=message)])


def from_file(path: Path) -> Document:
    """Read a file.

    Args:
        path: of a regular file of at most 64 MiB of UTF-8.

    Returns:
        The document.

    Raises:
        ConfigurationError: when it cannot be read to its end.
    """
    try:
        return from_bytes(files.read(path, MAX_SIZE), str(path), path)
    except OSError as error:
        raise Document(str(path), "", path).error(f"the file can not be read: {error.strerror}") from None


def from_bytes(content: bytes, file: str = STANDARD_INPUT, path: Path | None = None) -> Document:
    """Read what a file, or standard input, holds; see `from_file`."""
    document = Document(file, "", Path(file) if path is None else path)
    if len(content) > MAX_SIZE:
        raise document.error(f"the file is larger than {MAX_SIZE // 2**20} MiB")
    try:
        return document._replace(text=content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        lines = error.object[: error.start].decode().split("\n")
        raise document.error("the file is not UTF-8", (len(lines), len(lines[-1]) + 1)) from None


def unwrap(document: Document) -> Document:
    """Look into Kubernetes ConfigMaps.

    Args:
        document: perhaps with ConfigMaps, among other objects.

    Returns:
        The configuration in them, or the document itself if it has none.

    Raises:
        ConfigurationError: when there is none, or more than one, that can be meant.
    """
    outlines = _outlines(document.text) if "ConfigMap" in document.text else []
    maps = [outline for outline in outlines if _value(outline, "kind") == "ConfigMap"]
    if not maps:
        return document
    members = [(path[1], event) for outline in maps for path, event in outline.items() if event and len(path) > 1 and path[0] == "data"]
    likely = [(name, event) for name, event in members if f"\n{event.value}".find("\nversion:") >= 0]
    if len(likely) != 1:
        names = ", ".join(name for name, _ in likely or members) or "none"
        raise document.error(
            f"this is a Kubernetes ConfigMap, expected one entry of `data` with a configuration (`version: 1`), found {names}"
        )
    return _member(document, *likely[0])


def foreign(document: Document, keys: Any = None) -> ConfigurationError | None:
    """Recognise a document that is no configuration at all.

    Args:
        document: what was given.
        keys: at its top, if they are known.

    Returns:
        The error that names it, or None.
    """
    if keys is None:
        keys = {path[0] for outline in _outlines(document.text, _FEW_EVENTS) for path in outline if path}
    if "version" in keys:
        return None
    what = next((what for key, what in _FOREIGN.items() if key in keys), None)
    return None if what is None else document.error(f"expected a configuration of authz-server (`version: 1`), this is {what}")


def _value(outline: Outline, *path: str) -> str:
    event = outline.get(path)
    return "" if event is None else str(event.value)


def _member(document: Document, name: str, event: Any) -> Document:
    """Take an entry of a ConfigMap; one that is written as it is (`|`) keeps the places that it has in the file."""
    if event.style != "|":
        return document._replace(file=f"{document.file}[{name}]", text=event.value)
    first = event.start_mark.line + 1
    lines = document.text.split("\n")[first:]
    indents = (
        len(line) - len(line.lstrip(" ")) - (len(own) - len(own.lstrip(" ")))
        for line, own in zip(lines, event.value.split("\n"), strict=False)
        if own.strip()
    )
    return document._replace(text=event.value, line=document.line + first, column=next(indents, 0))


def _outlines(text: str, most: int = _MOST_EVENTS) -> list[Outline]:
    """List the scalars near the top of each document of a YAML stream, as far as it can be read and is not nested too deep."""
    outlines: list[Outline] = []
    around: list[_Around] = []
    try:
        for event in islice(yaml.parse(text, Loader=LOADER), most):
            if isinstance(event, DocumentStartEvent):
                outlines.append({})
            elif isinstance(event, CollectionEndEvent):
                closed = around.pop()
                _expect(around, "" if closed.is_key else None)
            elif isinstance(event, ScalarEvent | AliasEvent | CollectionStartEvent):
                _take(event, outlines[-1], around)
            if len(around) > _DEEPEST:
                break
    except yaml.YAMLError:
        pass
    return outlines


@dataclass(slots=True)
class _Around:
    """A collection that is open.

    Args:
        is_mapping: whether it is one.
        is_key: of the mapping around it.
        key: whose value comes next, or None where a key does.
    """

    is_mapping: bool
    is_key: bool
    key: str | None = None


def _take(event: Any, outline: Outline, around: list[_Around]) -> None:
    is_key = bool(around) and around[-1].is_mapping and around[-1].key is None
    if isinstance(event, ScalarEvent) and not is_key and len(around) <= _LEVELS:
        outline[tuple(each.key or "" for each in around)] = event
    if isinstance(event, CollectionStartEvent):
        if not is_key and len(around) <= _LEVELS:
            outline.setdefault(tuple(each.key or "" for each in around), None)
        around.append(_Around(isinstance(event, MappingStartEvent), is_key))
    else:
        _expect(around, getattr(event, "value", "") if is_key else None)


def _expect(around: list[_Around], key: str | None) -> None:
    """Expect the value of *key* next in the mapping that is open, or a key."""
    if around:
        around[-1].key = key
