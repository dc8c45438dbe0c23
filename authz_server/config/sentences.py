"""Sentences: what the schema finds wrong, said in the words of the configuration format."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from authz_server.config.problems import Problem, one_of, show
from authz_server.config.schema import Api, Authorizer, Configuration, Keys, Method, UserPool
from authz_server.config.source import HOLE, Entries, Source

Location = tuple[str | int, ...]

KEY: Final = "[key]"  # how pydantic says that it speaks of a key and not of its value
_MODELS: Final[Mapping[tuple[str, int], type[BaseModel]]] = {
    ("authorizers", 3): Authorizer,
    ("apis", 3): Api,
    ("apis", 6): Method,
    ("user_pools", 3): UserPool,
    ("keys", 2): Keys,
}


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


def problem(source: Source, error: ErrorDetails) -> Problem | None:
    """Turn an error of the schema into a problem of the file.

    Args:
        source: the file.
        error: as pydantic tells it.

    Returns:
        The problem, or None when it is told already.
    """
    if _is_told(error):
        return None
    location, message = error["loc"], _SENTENCES.get(error["type"], _other)(error)
    of_key = error["type"] in {"extra_forbidden", "missing"} or location[-1:] == (KEY,)
    of_entry = error["type"] == "value_error" and isinstance(error["input"], Entries)
    return source.at_key(location, message) if of_key or of_entry else source.at_value(location, message)


def _is_told(error: ErrorDetails) -> bool:
    hole = error["input"] is HOLE and error["type"] != "extra_forbidden"
    if error["type"] == "missing":
        return any(_our_name(key, error["loc"]) == error["loc"][-1] for key in error["input"])
    return hole or (error["type"] == "too_short" and bool(error["input"]))  # pydantic does not count items that are wrong


def _unknown_key(error: ErrorDetails) -> str:
    key = str(error["loc"][-1])
    name = _our_name(key, error["loc"])
    return f"unknown key {key!r}{one_of(key, _fields(error['loc']))}" if name is None else f"write `{name}` here, not {key!r}"


def _our_name(key: str, location: Location) -> str | None:
    """Find the key that another format writes as *key*, such as `providerARNs` for `provider_arns`."""
    fields = _fields(location)
    folded = re.sub(r"[\W_]", "", key).lower()
    names = {name.replace("_", ""): name for name in fields}
    name = names.get(folded) or _FOREIGN_KEYS.get(folded)
    return name if name in fields else None


def _missing(error: ErrorDetails) -> str:
    key = str(error["loc"][-1])
    example = next(iter(_fields(error["loc"])[key].examples or ()))
    return f"key {key!r} is missing, expected for example `{key}: {json.dumps(example)}`"


def _fields(location: Location) -> Mapping[str, FieldInfo]:
    """Find the fields of the model that the last part of *location* should belong to."""
    return _MODELS.get((str(location[0]), len(location)), Configuration).model_fields


def _wrong_value(error: ErrorDetails) -> str:
    return str(error["ctx"]["error"])


def _wrong_word(error: ErrorDetails) -> str:
    choices = re.findall(r"\w+", error["ctx"]["expected"].replace(" or ", " "))
    word = error["input"]
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
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "value_error": _wrong_value,
    "literal_error": _wrong_word,
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
