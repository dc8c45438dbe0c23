"""Variables in scalars: `${NAME}` of the environment, `${stageVariables.name}` of an api's stage, `$${` for a literal `${`."""

import re
from collections.abc import Mapping
from typing import Final

from authz_server.config.problems import did_you_mean, one_of, show

_VARIABLE: Final = re.compile(r"\$\$\{|\$\{(?:([A-Z_][A-Z0-9_]*)\}|(stageVariables\.[A-Za-z0-9_]+)\}|([^}]*\}?))")
_STAGE_VARIABLE: Final = re.compile(r"\$\{stageVariables\.([A-Za-z0-9_]+)\}")


class Substituted(str):
    """A text that a variable of the environment is part of: it may stand for a number or a boolean."""

    __slots__ = ()


def substitute(text: str, environment: Mapping[str, str], *, staged: bool) -> tuple[str, list[str]]:
    """Replace the variables of the environment, once: what they hold is not looked into.

    Args:
        text: a scalar.
        environment: value by name.
        staged: whether stage variables may stand here; they are kept.

    Returns:
        The text without variables of the environment, `Substituted` if it had any, and what is wrong with the variables it has.
    """
    wrong: list[str] = []

    def value(found: re.Match[str]) -> str:
        name, stage_variable, other = found.groups()
        if name is not None:
            value = environment.get(name, "")
            if name not in environment:
                wrong.append(f"environment variable {name!r} is not set{did_you_mean(name, environment)}")
            elif not _is_utf8(value):
                wrong.append(f"environment variable {name!r} does not hold UTF-8")
            return value
        if stage_variable is not None and not staged:
            wrong.append(f"{found[0]!r} is out of place, stage variables are for provider_arns only")
        if other is not None:
            wrong.append(f"{show(found[0])} is no variable, expected ${{NAME}} of A-Z, 0-9 and _; a literal ${{ is written $${{")
        return found[0] if stage_variable else "${"

    replaced = _VARIABLE.sub(value, text)
    return Substituted(replaced) if any(found[1] for found in _VARIABLE.finditer(text)) else replaced, wrong


def named(text: str) -> frozenset[str]:
    """List the variables of the environment that *text*, a whole configuration, refers to."""
    return frozenset(found[1] for found in _VARIABLE.finditer(text) if found[1])


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # octets that are no UTF-8 arrive as halves of surrogate pairs
        return False
    return True


def has_stage_variables(text: str) -> bool:
    """Tell whether *text* waits for the stage variables of an api."""
    return _STAGE_VARIABLE.search(text) is not None


def fill(text: str, stage_variables: Mapping[str, str]) -> str:
    """Replace the stage variables, as API Gateway does in a deployed stage.

    Args:
        text: such as `arn:…:userpool/${stageVariables.Pool}`.
        stage_variables: of the api, value by name.

    Returns:
        The text without stage variables.

    Raises:
        ValueError: for one that the api does not have.

    Source: API Gateway guide, "Integrate a REST API with an Amazon Cognito user pool".
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in stage_variables:
            raise ValueError(f"stage variable {found[1]!r} is not defined{one_of(found[1], stage_variables)}")
        return stage_variables[found[1]]

    return _STAGE_VARIABLE.sub(value, text)
