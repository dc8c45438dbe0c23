"""Regular expressions of a configuration, in linear time."""

from typing import Final

import re2  # type: ignore[import-untyped]

from authz_server.core.authorizers import Expression

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False  # the library would write to stderr what the problem says already

_PREFIX: Final = 64  # characters by which it is judged what an expression can match

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


def can_match(text: str, characters: str) -> bool:
    """Tell whether an expression may match the whole of some text of certain characters.

    Args:
        text: the expression.
        characters: in order; the text has one at least.

    Returns:
        False where it can not, as far as the first characters of what it matches tell.
    """
    low, high = re2.compile(rf"\A(?:{text})\z", _OPTIONS).possiblematchrange(_PREFIX)
    first = _first_from(low.decode(errors="replace"), characters)
    return first is not None and first.encode() <= high


def _first_from(low: str, characters: str) -> str | None:
    """Find the first text of *characters*, in the order of their codes, that is not before *low*."""
    good = next((index for index, character in enumerate(low) if character not in characters), len(low))
    if good == len(low):
        return low or characters[0]
    for index in range(good, -1, -1):
        later = [character for character in characters if character > low[index]]
        if later:
            return low[:index] + later[0]
    return None
