"""Sentences: what the schema finds wrong, said in the words of the configuration format."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from authz_server.config.authorizer_types import type_names, type_of
from authz_server.config.problems import Problem, one_of, show
from authz_server.config.schema import Api, Configuration, Keys, Method, UserPool
from authz_server.config.source import HOLE, Entries, Source

Location = tuple[str | int, ...]
Fields = Mapping[str, FieldInfo]

KEY: Final = "[key]"  # how pydantic says that it speaks of a key and not of its value
# What API Gateway, its OpenAPI extensions, CloudFormation and SAM call a key, where more than capitals and `_` differ.
_FOREIGN_KEYS: Final[Mapping[str, str]] = {
    "providerarn": "provider_arns",
    "userpoolarn": "provider_arns",
    "userpoolarns": "provider_arns",
    "validationexpression": "identity_validation_expression",
    "reauthorizeevery": "authorizer_result_ttl_in_seconds",
    "authorizerid": "authorizer",
    "scopes": "authorization_scopes",
    "variables": "stage_variables",
    "domainname": "hosts",
    "paths": "routes",
}
_FOREIGN_WORDS: Final[Mapping[str, str]] = {"x-amazon-apigateway-any-method": "ANY", "*": "ANY"}


def path(source: Source, error: ErrorDetails) -> Location:
    """Find the part of the file that an error of the schema is about; the last part is `KEY` where it is a key."""
    location = error["loc"]
    is_key = location[-1:] == (KEY,)
    match location:
        case ("authorizers", name, _, *rest) if location[2] != KEY:  # between them is its type, and a key may have the same name
            location = ("authorizers", name, *rest)
    return source.path(location, lacks=is_key or error["type"] == "missing")


def problem(source: Source, error: ErrorDetails) -> Problem | None:
    """Turn an error of the schema into a problem of the file.

    Args:
        source: the file.
        error: as pydantic tells it.

    Returns:
        The problem, or None when it is told already.
    """
    location = path(source, error)
    if error["type"] in {"extra_forbidden", "missing"}:
        fields = _fields(source, location[:-1])
        message = _unknown_key(str(location[-1]), fields) if error["type"] == "extra_forbidden" else _missing(location, error, fields)
        return None if message is None else source.at_key(location, message)
    if _is_told(error):
        return None
    if location[2:] == ("type",) and error["type"] == "literal_error":  # of an authorizer
        message = _wrong_word(error["input"], type_names())
    else:
        message = _SENTENCES.get(error["type"], _other)(error)
    of_entry = error["type"] == "value_error" and isinstance(error["input"], Entries)
    return source.at_key(location, message) if of_entry or location[-1:] == (KEY,) else source.at_value(location, message)


def _is_told(error: ErrorDetails) -> bool:
    return error["input"] is HOLE or (error["type"] == "too_short" and bool(error["input"]))  # pydantic does not count items that are wrong


def _unknown_key(key: str, fields: Fields) -> str:
    name = _our_name(key, fields)
    choices = sorted(fields, key=lambda each: not fields[each].is_required())  # what is required comes first
    return f"unknown key {key!r}{one_of(key, choices)}" if name is None else f"write `{name}` here, not {key!r}"


def _our_name(key: str, fields: Fields) -> str | None:
    """Find the key that another format writes as *key*, such as `providerARNs` for `provider_arns`."""
    folded = re.sub(r"[\W_]", "", key).lower()
    names = {name.replace("_", ""): name for name in fields}
    name = names.get(folded) or _FOREIGN_KEYS.get(folded)
    return name if name in fields else None


def _missing(location: Location, error: ErrorDetails, fields: Fields) -> str | None:
    """Say which key is missing, unless another one is told to be its other spelling."""
    key = str(location[-1])
    if any(_our_name(each, fields) == key for each in error["input"]):
        return None
    example = next(iter(fields[key].examples or ()))
    return f"key {key!r} is missing, expected for example `{key}: {json.dumps(example)}`"


def _fields(source: Source, location: Location) -> Fields:
    """Find the fields of the model at *location*."""
    match location:
        case ("authorizers", _):
            model: type[BaseModel] = type_of(source.at(location))
        case ("apis", _):
            model = Api
        case ("apis", _, "routes", _, _):
            model = Method
        case ("user_pools", _):
            model = UserPool
        case ("keys",):
            model = Keys
        case _:
            model = Configuration
    return model.model_fields


def _wrong_value(error: ErrorDetails) -> str:
    return str(error["ctx"]["error"])


def _wrong_literal(error: ErrorDetails) -> str:
    return _wrong_word(error["input"], re.findall(r"\w+", error["ctx"]["expected"].replace(" or ", " ")))


def _wrong_word(word: Any, choices: list[str]) -> str:
    if isinstance(word, str) and _FOREIGN_WORDS.get(word) in choices:
        return f"write {_FOREIGN_WORDS[word]} here, not {word!r}"
    return f"{show(word)} is not possible here{one_of(word if isinstance(word, str) else '', choices)}"


def _wrong_text(error: ErrorDetails) -> str:
    value = error["input"]
    return f"expected text, not {show(value)}{'' if isinstance(value, dict | list) else '; quote it'}"


def _expected(what: str) -> Callable[[ErrorDetails], str]:
    return lambda error: f"expected {what}, not {show(error['input'])}"


def _too_short(_: ErrorDetails) -> str:
    return "the list is empty, expected at least one value"


def _too_long(error: ErrorDetails) -> str:
    return f"the list has {error['ctx']['actual_length']} values, expected at most {error['ctx']['max_length']}"


def _too_small(error: ErrorDetails) -> str:
    return f"{error['input']} is too small, expected at least {error['ctx']['ge']}"


def _too_large(error: ErrorDetails) -> str:
    return f"{error['input']} is too large, expected at most {error['ctx']['le']}"


def _other(error: ErrorDetails) -> str:
    return f"{error['msg']}, not {show(error['input'])}"


_SENTENCES: Final[Mapping[str, Callable[[ErrorDetails], str]]] = {
    "value_error": _wrong_value,
    "literal_error": _wrong_literal,
    "string_type": _wrong_text,
    "int_type": _expected("a whole number"),
    "bool_type": _expected("true or false"),
    "dict_type": _expected("a mapping"),
    "model_type": _expected("a mapping"),
    "tuple_type": _expected("a list"),
    "too_short": _too_short,
    "too_long": _too_long,
    "greater_than_equal": _too_small,
    "less_than_equal": _too_large,
}
