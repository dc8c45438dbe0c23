"""Problems: what is wrong with a configuration, and where."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

MAX_LISTED: Final = 100

_MAX_CHOICES: Final = 12
_MAX_COMPARED: Final = 1_000
_MAX_SHOWN: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """One mistake, ordered by where it stands.

    Args:
        file: as it was named.
        line: from 1.
        column: from 1, in characters.
        message: what is wrong, what was expected, and what may have been meant.
    """

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ConfigurationWarning(Problem):
    """Something in a valid configuration that is probably a mistake.

    Args:
        name: what `ignore_warnings` calls it.
        where: the part in which it can be ignored, such as `in authorizer 'users'`; the top is another.
    """

    name: str
    where: str

    @property
    def remedy(self) -> str:
        """How to say that it is intended."""
        return f"if this is intended: `ignore_warnings: [{self.name}]` {self.where}"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message} ({self.remedy})"


class ConfigurationError(Exception):
    """Refuse a configuration, with every problem it has.

    Args:
        problems: at least one, in any order; the same problem is told once.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(listed(self.problems))


def listed(problems: Sequence[Problem]) -> list[str]:
    """Write problems one to a line, `MAX_LISTED` at most and how many more there are."""
    lines = [str(problem) for problem in problems[:MAX_LISTED]]
    left = len(problems) - len(lines)
    return [*lines, f"… and {left} more"] if left else lines


def closest(word: str, choices: Iterable[str]) -> str | None:
    """Guess what a misspelt *word* stands for.

    Args:
        word: as written.
        choices: what it could be; only the first 1,000 are looked at.

    Returns:
        One of the choices, or None when nothing is close.
    """
    folded = {choice.casefold(): choice for choice, _ in zip(choices, range(_MAX_COMPARED), strict=False)}
    close = get_close_matches(word.casefold(), folded, n=1)
    return folded[close[0]] if close else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Say what a misspelt *word* may stand for, as `closest` guesses.

    Returns:
        A clause for the end of a message, or "" when nothing is close.
    """
    guess = closest(word, choices)
    return "" if guess is None else f"; did you mean {guess!r}?"


def one_of(word: str, choices: Iterable[str]) -> str:
    """Say what was expected in place of *word*.

    Args:
        word: as written.
        choices: every word that would be right.

    Returns:
        A clause for the end of a message, with at most 12 of the choices.
    """
    names = list(choices)
    if not names:
        return ", there are none"
    more = ", …" if len(names) > _MAX_CHOICES else ""
    expected = f", expected {'one of ' if len(names) > 1 else ''}{', '.join(names[:_MAX_CHOICES])}{more}"
    return expected + did_you_mean(word, names)


def show(value: Any, longest: int = _MAX_SHOWN) -> str:
    """Name a value of a file in a message.

    Args:
        value: text, a number, a boolean, a list or a mapping.
        longest: characters of a text that are shown.

    Returns:
        The value, shortened, or its kind.
    """
    if isinstance(value, str):
        return repr(value if len(value) <= longest else value[:longest] + "…")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    return "a mapping" if isinstance(value, dict) else "a list"
