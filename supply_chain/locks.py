"""Locks: what they name."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)(?: ; (.*?))?((?: \\\n +--hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)
_ELSEWHERE = re.compile(r"(?:.* and )?sys_platform == '(?:emscripten|win32)'")  # where this server does not run: never installed
_HASH = re.compile(r"sha256:([0-9a-f]{64})")


class Pin(NamedTuple):
    """One version of a package.

    Args:
        name: as the index writes it.
        version: of the package.
    """

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def read(lock: Path) -> dict[Pin, list[str]]:
    """Read a lock.

    Args:
        lock: its file.

    Returns:
        What it names for POSIX systems, with the SHA-256 of each file that is good for it.

    Raises:
        ValueError: when a line is neither a pin nor a hash: what is passed over is not checked.
    """
    text = lock.read_text()
    rest = _PIN.sub("", text).strip()
    if rest or not text:
        raise ValueError(f"{lock} has a line that is neither a pin nor a hash: {rest.partition(chr(10))[0]!r}")
    return {Pin(found[1], found[2]): _HASH.findall(found[4]) for found in _PIN.finditer(text) if not _is_elsewhere(found[3])}


def _is_elsewhere(marker: str | None) -> bool:
    return marker is not None and " or " not in marker and _ELSEWHERE.fullmatch(marker) is not None


def pins(locks: Iterable[Path]) -> Iterator[Pin]:
    """Name what several locks hold, each pin once, in order."""
    yield from sorted({pin for lock in locks for pin in read(lock)})
