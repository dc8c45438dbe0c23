"""What was found lately, within a bound."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(dict[K, V], Generic[K, V]):
    """A dictionary of things that are cheap to find again. When it is full it begins anew: what is asked for now matters more than what was.

    Args:
        size: how many things it may hold.
    """

    __slots__ = ("_size",)

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def keep(self, key: K, value: V) -> None:
        """Keep a thing, and forget all others when there is no room."""
        if len(self) >= self._size:
            self.clear()
        self[key] = value
