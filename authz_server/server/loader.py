"""Load a configuration in a child process, so that reading a large file takes neither time nor memory from checks."""

import os
import pickle
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from io import DEFAULT_BUFFER_SIZE, BufferedReader, RawIOBase
from pathlib import Path
from signal import SIGKILL
from typing import IO, Any, Final

from authz_server.config.parts import Part, WarningsPart
from authz_server.config.problems import ConfigurationError, Problem

LOAD_SECONDS: Final = 300.0  # for the largest file on a busy machine, and then for one that cannot be read to its end
END_SECONDS: Final = 1.0
BESIDE_CHECKS: Final = 15  # a niceness: on a single core, checks come first; a core that has no time at all left still gives it a thirtieth


def parts(path: Path, environment: Mapping[str, str], niceness: int = 0, warn: Callable[[str], None] = lambda _: None) -> Iterator[Part]:
    """Load a configuration.

    Args:
        path: of its file.
        environment: of the child; for the file's `${NAME}`.
        niceness: of the child; 0 is this process's own.
        warn: called with each warning, as a line.

    Yields:
        Its parts, once all of the file was found good.

    Raises:
        ConfigurationError: with every mistake, and nothing was yielded; or with what hinders the loader, perhaps after some parts.
    """
    for part in _sent(path, environment, niceness):
        if isinstance(part, WarningsPart):
            for line in part.lines:
                warn(line)
        else:
            yield part


def _sent(path: Path, environment: Mapping[str, str], niceness: int) -> Iterator[Part | WarningsPart]:
    """Run the child and read what it sends; whatever it does, it is gone or left alone when its time is over."""
    command = [sys.executable, "-P", "-m", "authz_server.config", str(path)]  # -P: no code from where the server was started
    try:
        # A process group of its own: Ctrl-C at a terminal reaches the server, with which the child ends.
        child = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, env=environment, process_group=0)  # noqa: S603 - our own module
    except OSError as error:  # no memory, processes or files are left
        raise _problem(path, f"the loader could not be started ({error.strerror})") from error
    assert child.stdout is not None  # noqa: S101 - told by the arguments
    until = time.monotonic() + LOAD_SECONDS
    stream: IO[bytes] = BufferedReader(_Timely(child.stdout.fileno(), until))
    failure: Exception | None = None
    try:
        if niceness:
            with suppress(OSError):  # it has ended
                os.setpriority(os.PRIO_PROCESS, child.pid, niceness)
        while True:
            try:
                part = pickle.load(stream)  # noqa: S301 - our own child wrote it
            except TimeoutError:
                raise _problem(path, f"the loader took longer than {LOAD_SECONDS:g} s; can the file be read?") from None
            except Exception as error:  # noqa: BLE001 - it has ended too early, or writes what another version of the package would read
                failure = error
                break
            if isinstance(part, list):
                if part:
                    raise ConfigurationError(part)
                break
            yield part
        status = _status(child, stream, until)
    finally:
        child.kill()
        child.stdout.close()
        with suppress(subprocess.TimeoutExpired):  # a process that waits for a disk cannot be killed, and is not waited for
            child.wait(END_SECONDS)
    if status:
        raise _problem(path, f"the loader ended with status {status}")
    if failure is not None:
        reason = f"it could not be taken over from the loader ({type(failure).__name__})"
        raise _problem(path, f"{reason}; restart the server if its package was changed") from failure


class _Timely(RawIOBase):
    """Read a pipe up to a moment.

    Args:
        descriptor: of the pipe.
        until: the moment, by the monotonic clock.
    """

    def __init__(self, descriptor: int, until: float) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._until = until
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there.

        Raises:
            TimeoutError: when nothing came up to the moment.
        """
        if not self._poll.poll(max(0.0, self._until - time.monotonic()) * 1_000):
            raise TimeoutError
        return os.readv(self._descriptor, [buffer])


def _status(child: subprocess.Popen[bytes], stream: IO[bytes], until: float) -> int:
    """Let the child end as it would, with its output read by nobody, and give the status that tells why it did.

    Returns:
        The status; that of a process which was killed when its time is over.
    """
    try:
        while stream.read(DEFAULT_BUFFER_SIZE):
            pass
        return child.wait(max(0.0, until - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        return -SIGKILL


def _problem(path: Path, reason: str) -> ConfigurationError:
    """Tell what hinders the loader, which says nothing about the file."""
    return ConfigurationError([Problem(file=str(path), line=1, column=1, message=f"the configuration could not be loaded, {reason}")])
