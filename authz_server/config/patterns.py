"""Patterns: what the texts of a configuration look like, in words that Python and JSON Schema (ECMA-262) read alike."""

import re
from collections.abc import Iterable
from typing import Any, Final

from pydantic import WithJsonSchema

from authz_server.core.routes import MAX_SEGMENTS
from authz_server.core.user_pools import SUFFIXES

VARIABLE: Final = r"(^|[^$])\$\{[A-Z_][A-Z0-9_]*\}"  # anywhere in a text
STAGE_VARIABLE: Final = r"\$\{stageVariables\.[A-Za-z0-9_]+\}"
CONTROL: Final = r"[\x00-\x1f\x7f-\x9f]"
_NO_VARIABLE: Final = r"(^|[^$])\$\{(?![A-Z_][A-Z0-9_]*\})"

IDENTITY_SOURCE: Final = r"method\.request\.header\.[A-Za-z0-9._-]+"
SCOPE: Final = r"[!#-\[\]-~]{1,256}"
HOST: Final = r"(\*\.)?([A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]+|\[[0-9A-Fa-f:.]+\]"
STAGE_VARIABLE_NAME: Final = r"[A-Za-z0-9_]+"
ARN: Final = (
    rf"arn:({'|'.join(SUFFIXES)}):cognito-idp:[a-z0-9-]+:[0-9]{{12}}:userpool/(?=[A-Za-z0-9_-]{{1,55}}$)[A-Za-z0-9_-]+_[0-9A-Za-z]+"
)

_LITERAL: Final = r"(?!\.\.?(/|$))[A-Za-z0-9_.,:~-]+"
_NAME: Final = r"[A-Za-z0-9_.:-]+"
_BOUNDED: Final = rf"(?=(/[^/]+){{1,{MAX_SEGMENTS}}}$)"
BASE_PATH: Final = rf"/?|{_BOUNDED}(/{_LITERAL})+"
TEMPLATE: Final = rf"/|{_BOUNDED}(/({_LITERAL}|\{{{_NAME}\}}))*/({_LITERAL}|\{{{_NAME}\+?\}})"

_PORT: Final = r":0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_REST: Final = rf"({_PORT})?([/?][!\"$-\[\]-~]*)?"
_BYTE: Final = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"


def any_case(word: str) -> str:
    """Match *word* in capitals and small letters: JSON Schema has no flag for that."""
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else re.escape(letter).replace(r"\-", "-") for letter in word)


def one_of(words: Iterable[str]) -> str:
    """Match any of *words*, in any case."""
    return f"({'|'.join(map(any_case, words))})"


_HTTP: Final = any_case("http")
LOOPBACK: Final = rf"({any_case('localhost')}|127(\.{_BYTE}){{3}}|\[::1\])"
URL: Final = rf"{_HTTP}[Ss]?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]){_REST}"
OPEN_URL: Final = rf"{_HTTP}://(?!{LOOPBACK}{_REST}$)"  # how a URL begins whose answer others may change


def text_schema(pattern: str = "", *, staged: bool = False) -> dict[str, Any]:
    """Describe a value that is text.

    Args:
        pattern: of the whole text, where it holds no variable.
        staged: whether stage variables may stand in it.

    Returns:
        A JSON Schema that refuses what `validate` refuses: control characters and `${` without a name, too.
    """
    unknown = _NO_VARIABLE.replace("(?!", r"(?!stageVariables\.[A-Za-z0-9_]+\}|") if staged else _NO_VARIABLE
    schema: dict[str, Any] = {"type": "string", "minLength": 1, "not": {"pattern": f"{CONTROL}|{unknown}"}}
    if pattern:
        del schema["minLength"]
        schema["pattern"] = "|".join([f"^({pattern})$", VARIABLE, *([STAGE_VARIABLE] if staged else [])])
    return schema


def text(pattern: str = "", *, staged: bool = False) -> WithJsonSchema:
    """Show editors what `text_schema` says."""
    return WithJsonSchema(text_schema(pattern, staged=staged))


def key(pattern: str = "") -> WithJsonSchema:
    """Show editors the pattern of a key, in which `${` means nothing; in a form that makes them refuse all others."""
    expected = {"pattern": f"^({pattern})$"} if pattern else {"minLength": 1}
    return WithJsonSchema({"type": "string", "allOf": [expected, {"not": {"pattern": CONTROL}}]})


def or_variable(schema: dict[str, Any]) -> WithJsonSchema:
    """Show editors a value that is no text, or a text whose variable stands for one."""
    return WithJsonSchema({"anyOf": [schema, {"type": "string", "pattern": VARIABLE, "not": {"pattern": _NO_VARIABLE}}]})


def words(*choices: str) -> WithJsonSchema:
    """Show editors the words that a value can be."""
    return or_variable({"type": "string", "enum": list(choices)})
