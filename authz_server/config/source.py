"""Sources: a configuration file as plain data that knows where each part stands."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final

from authz_server.config.problems import Problem


class Hole:
    """Stands in the data for a value that could not be read; its problem is told already."""


HOLE: Final = Hole()


class Places:
    """Where the parts of one mapping or list stand, in order: 16 octets each, since a file may have a million of them."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers = array("I")

    def append(self, key: tuple[int, int], value: tuple[int, int]) -> None:
        """Add the line and column of a key and of its value, from 1."""
        self._numbers.extend((*key, *value))

    def __getitem__(self, index: int) -> tuple[int, int, int, int]:
        line, column, value_line, value_column = self._numbers[4 * index : 4 * index + 4]
        return line, column, value_line, value_column


class Entries(dict[str, Any]):
    """A mapping of a source.

    `size` counts the scalars, mappings and lists that it holds, aliases expanded.
    """

    __slots__ = ("places", "size")

    def __init__(self) -> None:
        super().__init__()
        self.places = Places()
        self.size = 1

    def put(self, key: str, value: Any, key_place: tuple[int, int], value_place: tuple[int, int]) -> None:
        """Add an entry."""
        self[key] = value
        self.places.append(key_place, value_place)
        self.size += size(value)

    def merge(self, other: "Entries") -> None:
        """Add the entries of *other* whose keys are not here yet; they keep their places."""
        for index, (key, value) in enumerate(other.items()):
            if key not in self:
                line, column, value_line, value_column = other.places[index]
                self.put(key, value, (line, column), (value_line, value_column))


class Items(list[Any]):
    """A list of a source, with `size` as above."""

    __slots__ = ("places", "size")

    def __init__(self) -> None:
        super().__init__()
        self.places = Places()
        self.size = 1

    def put(self, value: Any, place: tuple[int, int]) -> None:
        """Add an item."""
        self.append(value)
        self.places.append(place, place)
        self.size += size(value)


def entries(value: Any) -> "Entries":
    """Take *value* as a mapping; an empty one if it is none."""
    return value if isinstance(value, Entries) else Entries()


def size(value: Any) -> int:
    """Count the scalars, mappings and lists that *value* is made of, aliases expanded."""
    return value.size if isinstance(value, Entries | Items) else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that was read.

    Args:
        file: as it was named.
        data: `Entries`, `Items`, scalars and holes.
        problems: what was wrong with the text; the data has a hole or lacks an entry for each.
    """

    file: str
    data: Any
    problems: tuple[Problem, ...] = ()
    _orders: dict[int, dict[Any, int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def at_key(self, path: Iterable[str | int], message: str) -> Problem:
        """Place a problem at a key.

        Args:
            path: keys and indices from the top; parts that the file lacks are passed over.
            message: what is wrong.

        Returns:
            The problem.
        """
        line, column, _, _ = self._find(path)
        return Problem(file=self.file, line=line, column=column, message=message)

    def at_value(self, path: Iterable[str | int], message: str) -> Problem:
        """Place a problem at a value; otherwise like `at_key`."""
        _, _, line, column = self._find(path)
        return Problem(file=self.file, line=line, column=column, message=message)

    def path(self, location: Iterable[str | int], *, lacks: bool = False) -> tuple[str | int, ...]:
        """Reduce a location to what the file has: the schema also names which kind of value it took something for.

        Args:
            location: from the top, as the schema tells it.
            lacks: whether its last part is a key that the file lacks.

        Returns:
            Keys and indices from the top.
        """
        data, path, rest = self.data, [], list(location)
        last = [rest.pop()] if lacks else []
        for part in rest:
            if part in self._order(data):
                path.append(part)
                data = data[part]
        return (*path, *last)

    def at(self, path: Iterable[str | int]) -> Any:
        """Give the value at a path that the file has."""
        return reduce(lambda data, part: data[part], path, self.data)

    def _find(self, path: Iterable[str | int]) -> tuple[int, int, int, int]:
        data, place = self.data, (1, 1, 1, 1)
        for part in path:
            index = self._order(data).get(part)
            if index is not None:
                place, data = data.places[index], data[part]
        return place

    def _order(self, data: Any) -> dict[Any, int]:
        """Number the parts of a mapping or list; kept, since a large file can have many problems."""
        if id(data) not in self._orders:
            parts = data if isinstance(data, Entries) else range(len(data)) if isinstance(data, Items) else ()
            self._orders[id(data)] = {part: index for index, part in enumerate(parts)}
        return self._orders[id(data)]
