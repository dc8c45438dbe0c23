"""A file of revocations: one in each line, and comments after `#`."""

import errno
import fcntl
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from authz_server import files
from authz_server.core.revocations import Revocation, Revocations
from authz_server.revocations.source import MAX_ENTRIES, Observer, RevocationsError
from authz_server.revocations.text import parse, show

MAX_SIZE: Final = 32 * 1_048_576
_TOLD: Final = 10  # mistakes; nobody reads more
_ANY: Final = "surrogateescape"  # comments may be of any encoding, and stay as they are


class UnreadError(RevocationsError):
    """A file that can not be read at this moment; what stands in it may be good."""


class FileList:
    """The list of a file; whoever watches the file says when to read it again.

    Args:
        path: of the file.
        revocations: kept up to date.
        observer: told how it goes.
        clock: monotonic seconds.

    Raises:
        RevocationsError: when the file can not be read, or has mistakes.
    """

    def __init__(self, path: Path, revocations: Revocations, observer: Observer, clock: Callable[[], float]) -> None:
        self._path = path
        self._revocations = revocations
        self._observer = observer
        self._clock = clock
        self._bad_since: float | None = None
        self._since_look: Callable[[], float] = lambda: 0.0
        self._lock = threading.Lock()  # from the reading to the end: else an old content that takes long takes the place of a new one
        self._load()

    def reload(self) -> bool:
        """Read the file again; what is known stays when it is bad.

        Returns:
            Whether it could not be read, which may pass without a change of the file.
        """
        with self._lock:
            try:
                self._load()
            except RevocationsError as error:
                self._bad_since = self._clock() if self._bad_since is None else self._bad_since
                self._observer.ended("failed", f"{error}\n{self._path} is bad; what was refused before stays refused")
                return isinstance(error, UnreadError)
            return False

    def counts(self, since_look: Callable[[], float]) -> None:
        """Count the seconds since the file was last looked at, too: a look that does not end says nothing."""
        self._since_look = since_look

    def age(self) -> float:
        """Seconds for which the file has been bad, or since a look at it ended, whichever is more."""
        return max(self._since_look(), 0.0 if self._bad_since is None else self._clock() - self._bad_since)

    def kept(self) -> int:
        """None: a file that is good says what is refused, and one that is bad is not taken."""
        return 0

    def _load(self) -> None:
        self._revocations.replace(read(self._path))
        self._bad_since = None
        self._observer.ended("ok", "")


def read(path: Path) -> list[Revocation]:
    """Read a file of revocations.

    Args:
        path: of the file.

    Returns:
        All of them, also those whose time is over.

    Raises:
        RevocationsError: with each mistake: a list that is half right would let tokens pass that somebody wants refused.
    """
    return _parsed(path, _lines(path))


def _lines(path: Path) -> list[str]:
    try:
        octets = files.read(path, MAX_SIZE)
    except files.UnusableFileError as error:
        more = "; take out what is over, or use Redis" if error.errno == errno.EFBIG else ""
        raise RevocationsError(f"{path}: cannot be read ({error.strerror}){more}") from error
    except OSError as error:
        raise UnreadError(f"{path}: cannot be read ({error.strerror}); a file without lines refuses nothing") from error
    text = octets.decode("utf-8", _ANY)
    return text.removesuffix("\n").split("\n") if text else []


def _parsed(path: Path, lines: list[str]) -> list[Revocation]:
    found: list[Revocation] = []
    mistakes: list[str] = []
    for number, line in enumerate(lines, 1):
        text = _entry(line)
        if text and len(mistakes) < _TOLD:
            try:
                found.append(parse(text))
            except ValueError as error:
                mistakes.append(f"{path}:{number}: {error}")
    if len(found) > MAX_ENTRIES:
        mistakes.append(f"{path}: more than {MAX_ENTRIES} entries; take out what is over")
    if mistakes:
        raise RevocationsError("\n".join(mistakes))
    return found


def add(path: Path, revocation: Revocation, now: float) -> None:
    """Add a revocation to a file, which is made if it is not there; entries whose time is over go.

    Args:
        path: of the file.
        revocation: what is refused from now on.
        now: seconds since 1970.

    Raises:
        RevocationsError: when the file has mistakes or can not be written; it is as it was.
    """
    _change(path, now, lambda entry: entry != revocation, [show(revocation)])


def remove(path: Path, revocation: Revocation, now: float) -> bool:
    """Take every entry with the kind and value of a revocation out of a file; see `add`.

    Returns:
        Whether there was any.
    """

    def stays(entry: Revocation) -> bool:
        return (entry.kind, entry.value) != (revocation.kind, revocation.value)

    return path.exists() and not all(map(stays, _change(path, now, stays, [])))


def _change(path: Path, now: float, stays: Callable[[Revocation], bool], more: list[str]) -> list[Revocation]:
    """Write a file again with the entries that stay and are not over, and with more; give all that there were."""
    try:
        with _locked(path.parent):
            lines = _lines(path) if path.exists() else []
            entries = _parsed(path, lines)  # nobody can say what a line with a mistake means
            kept = [line for line in lines if not (text := _entry(line)) or ((entry := parse(text)).until > now and stays(entry))]
            _replace(path, "".join(f"{line}\n" for line in [*kept, *more]))
            return entries
    except OSError as error:
        raise RevocationsError(f"{path}: cannot be written ({error.strerror})") from error


def _entry(line: str) -> str:
    return line.partition("#")[0].strip()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let nobody else change files here meanwhile who also asks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Put a file in place whole: a reader sees the old one or the new one."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    target = path.resolve()  # a link stays one
    descriptor, temporary = tempfile.mkstemp(prefix=".revocations-", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            os.fchmod(descriptor, mode)
            opened.write(text.encode("utf-8", _ANY))
            opened.flush()
            os.fsync(descriptor)
        Path(temporary).replace(target)
    except OSError:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
