"""Regular expressions of a configuration, in linear time."""

from typing import Final

import re2  # type: ignore[import-untyped]

from authz_server.core.authorizers import Expression

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False  # the library would write to stderr what the problem says already

_LACKING: Final = ("invalid perl operator", "invalid escape sequence: \\", "bad repetition operator")


def expression(text: str) -> Expression:
    """Compile a regular expression.

    Args:
        text: in RE2's syntax.

    Returns:
        The compiled expression.

    Raises:
        ValueError: with what is wrong about it.

    Source: RE2 syntax reference; API Gateway matches `identityValidationExpression` against the whole `aud`.
    """
    try:
        compiled: Expression = re2.compile(text, _OPTIONS)
    except re2.error as error:
        wrong = error.args[0].decode()
        raise ValueError(f"{text!r} is no regular expression of RE2 ({wrong}){_why(wrong)}") from None
    return compiled


def _why(wrong: str) -> str:
    if not wrong.startswith(_LACKING):
        return ""
    return "; look-around, back-references and possessive repetition are not supported, so that matching takes linear time"
