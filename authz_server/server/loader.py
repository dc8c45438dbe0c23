"""Load a configuration in a child process, so that reading a large file takes neither time nor memory from checks."""

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from io import DEFAULT_BUFFER_SIZE
from pathlib import Path
from typing import IO, Final

from authz_server.config.parts import Part, WarningsPart
from authz_server.config.problems import ConfigurationError, Problem

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
    """Run the child and read what it sends."""
    command = [sys.executable, "-P", "-m", "authz_server.config", str(path)]  # -P: no code from where the server was started
    try:
        # A process group of its own: Ctrl-C at a terminal reaches the server, with which the child ends.
        child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, process_group=0)  # noqa: S603 - our own module
    except OSError as error:  # no memory, processes or files are left
        raise _problem(path, f"the loader could not be started ({error.strerror})") from error
    failure = None
    with child:
        if niceness:
            with contextlib.suppress(OSError):  # it has ended
                os.setpriority(os.PRIO_PROCESS, child.pid, niceness)
        assert child.stdout is not None  # noqa: S101 - told by the arguments
        while True:
            try:
                part = pickle.load(child.stdout)  # noqa: S301 - our own child wrote it
            except Exception as error:  # noqa: BLE001 - it has ended too early, or writes what another version of the package would read
                failure = error
                _read_out(child.stdout)
                break
            if isinstance(part, list):
                if part:
                    raise ConfigurationError(part)
                break
            yield part
    if child.returncode:
        raise _problem(path, f"the loader ended with status {child.returncode}")
    if failure is not None:
        reason = f"it could not be taken over from the loader ({type(failure).__name__})"
        raise _problem(path, f"{reason}; restart the server if its package was changed") from failure


def _read_out(stream: IO[bytes]) -> None:
    """Read what nobody wants, so that whoever writes it ends as it would have, and its status tells why."""
    while stream.read(DEFAULT_BUFFER_SIZE):
        pass


def _problem(path: Path, reason: str) -> ConfigurationError:
    """Tell what hinders the loader, which says nothing about the file."""
    return ConfigurationError([Problem(file=str(path), line=1, column=1, message=f"the configuration could not be loaded, {reason}")])
