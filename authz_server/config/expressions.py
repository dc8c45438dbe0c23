"""Regular expressions of a configuration, in linear time."""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

_PREFIX: Final = 64  # characters by which it is judged what an expression can match

_LACKING: Final = ("invalid perl operator", "invalid escape sequence: \\", "bad repetition operator")


class _Library(NamedTuple):
    """What compiles an expression.

    Args:
        compile: does so.
        error: that it raises.
    """

    compile: Callable[[str], Any]
    error: type[Exception]


class CompiledExpression:
    """A compiled expression, which crosses to another process as its text.

    Args:
        text: of the expression.
        compiled: by the library.
    """

    __slots__ = ("fullmatch", "text")

    def __init__(self, text: str, compiled: Any) -> None:
        self.text = text
        self.fullmatch: Callable[[str], object] = compiled.fullmatch

    def __reduce__(self) -> tuple[Callable[[str], "CompiledExpression"], tuple[str]]:
        return expression, (self.text,)


@lru_cache(1_000)
def expression(text: str) -> CompiledExpression:
    """Compile a regular expression; the same text gives the same object.

    Args:
        text: in RE2's syntax.

    Returns:
        The compiled expression.

    Raises:
        ValueError: with what is wrong about it, or when google-re2 is not installed.

    Source: RE2 syntax reference; API Gateway matches `identityValidationExpression` against the whole `aud`.
    """
    library = _library()
    try:
        return CompiledExpression(text, library.compile(text))
    except library.error as error:
        wrong = error.args[0].decode()
        raise ValueError(f"{text!r} is no regular expression of RE2 ({wrong}){_why(wrong)}") from None


@cache
def _library() -> _Library:
    """Bring google-re2, which only a configuration with an expression needs: a new Python has no wheel of it for a while."""
    try:
        import re2  # type: ignore[import-untyped]  # noqa: PLC0415 - as said
    except ImportError as error:
        raise ValueError(
            f"an expression needs google-re2, which cannot be imported here ({error}); install it, with `pip install google-re2`, "
            "or use a Python that it has a wheel for"
        ) from None
    options = re2.Options()
    options.log_errors = False  # the library would write to stderr what the problem says already
    return _Library(lambda text: re2.compile(text, options), re2.error)


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
    library = _library()
    try:
        low, high = library.compile(rf"\A(?:{text})\z").possiblematchrange(_PREFIX)
    except library.error:  # it has no range, as where it matches single bytes
        return True
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
