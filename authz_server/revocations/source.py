"""Where a list of revocations comes from, as those see it who use one."""

from typing import Final, Protocol

MAX_ENTRIES: Final = 200_000


class RevocationsError(Exception):
    """A list that can not be read or written; the message names the place and the next step."""


class Observer(Protocol):
    """Whoever wants to know how it goes."""

    def ended(self, outcome: str, detail: str) -> None:
        """Take note of a look at the list.

        Args:
            outcome: `ok` or `failed`.
            detail: sentences for the log.
        """
        ...

    def unreadable(self, detail: str) -> None:
        """Take note of an entry that refuses nothing, since it can not be read."""
        ...

    def lost(self, detail: str) -> None:
        """Take note of entries that are gone although nobody took them back; they stay refused."""
        ...


class Source(Protocol):
    """A list that is kept up to date."""

    def age(self) -> float:
        """Seconds since the list was known to be whole; infinity when it never was."""
        ...

    def kept(self) -> int:
        """How many entries are refused that the list has lost."""
        ...
