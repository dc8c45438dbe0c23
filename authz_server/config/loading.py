"""Loading: a file becomes a configuration, or an error that tells everything that is wrong with it."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from authz_server.config import references, sentences
from authz_server.config.authorizer_types import TYPES
from authz_server.config.documents import Document, foreign, from_file
from authz_server.config.loaded import Loaded
from authz_server.config.problems import ConfigurationError, Problem
from authz_server.config.reader import compose
from authz_server.config.schema import Configuration
from authz_server.config.sentences import Location
from authz_server.config.source import Source, entries
from authz_server.config.urls import check_url
from authz_server.config.warnings import warnings
from authz_server.core.user_pools import ANY_ENDPOINT, IGNORE_ENDPOINTS, SERVICE_ENDPOINT, configured_endpoint

_HINTS: Final = {ANY_ENDPOINT: f"; where it is not meant for Cognito, set {SERVICE_ENDPOINT}, or {IGNORE_ENDPOINTS} to true"}

_REQUIRED: Final = frozenset(name for each in TYPES for name, field in each.model_fields.items() if field.is_required())


def load(path: Path, environment: Mapping[str, str]) -> Loaded:
    """Load a configuration.

    Args:
        path: of its file.
        environment: value by name, for `${NAME}` and for the place of the Cognito service.

    Returns:
        The configuration: right in every part, and all parts fit together.

    Raises:
        ConfigurationError: with every problem of the file.

    Source: AWS SDKs and tools reference guide, "Service-specific endpoints".
    """
    return load_document(from_file(path), environment)


def load_document(document: Document, environment: Mapping[str, str]) -> Loaded:
    """Load a configuration that was read, see `load`."""
    path, source = document.path, _source(document, environment)
    configuration, errors = _validate(source)
    told = [sentences.problem(source, error) for error in errors]
    endpoint, untrusted = _endpoint(path, environment)
    loaded = Loaded(path=path, configuration=configuration, endpoint=endpoint)
    broken = {_part(sentences.path(source, error)) for error in errors}
    if not loaded.asks_the_service:  # the variable may be meant for others
        untrusted = []
    problems = [*source.problems, *(problem for problem in told if problem), *untrusted, *references.problems(source, loaded, broken)]
    if problems:
        raise ConfigurationError(problems)
    return replace(loaded, warnings=tuple(warnings(source, loaded)))


def _source(document: Document, environment: Mapping[str, str]) -> Source:
    """Read a document, or say what it is instead of a configuration."""
    try:
        source = compose(document, environment)
    except ConfigurationError as error:
        raise foreign(document) or error from None
    other = foreign(document, entries(source.data))
    if other is not None:
        raise other
    return source


def _endpoint(path: Path, environment: Mapping[str, str]) -> tuple[str, list[Problem]]:
    found = configured_endpoint(environment)
    if found is None:
        return "", []
    variable, url = found
    try:
        return check_url(url.rstrip("/"), allow_http=False), []
    except ValueError as error:
        message = f"environment variable {variable}: {error}{_HINTS.get(variable, '')}"
        return "", [Problem(file=str(path), line=1, column=1, message=message)]


def _validate(source: Source) -> tuple[Configuration, list[ErrorDetails]]:
    """Validate what is right in itself; the parts that are not are told and left out."""
    data, told, left_out = source.data, list[ErrorDetails](), set[Location]()
    while True:
        try:
            return Configuration.model_validate(data), told
        except ValidationError as error:
            errors = error.errors(include_url=False)
        told += errors
        parts = {_part(sentences.path(source, each)) for each in errors} - left_out
        if not parts:  # leaving out more would help no more
            return Configuration(version=1), told
        left_out |= parts
        rest = _without(data, parts)
        data = {**rest, "version": 1} if isinstance(rest, dict) else {"version": 1}


def _part(location: Location) -> Location:
    """Find the smallest part that can be left out so that the rest still says what it said."""
    if location[1:][-1:] == (sentences.KEY,):  # at the top it is a key that is spelt so
        location = location[:-1]
    match location:
        case ("apis", _, "routes", *_):
            return location[:5]
        case ("authorizers", _, field, *_) if field in _REQUIRED:
            return location[:2]
        case ("apis" | "authorizers", *_):
            return location[:3]
        case ("user_pools", *_):
            return location[:2]
    return location[:1]


def _without(data: Any, parts: AbstractSet[Location], path: Location = ()) -> Any:
    if not isinstance(data, dict):
        return data
    return {key: _without(value, parts, (*path, key)) for key, value in data.items() if (*path, key) not in parts}
