"""Child processes that are waited for, logged to a file, and ended together with their parent."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from signal import Signals
from types import TracebackType
from typing import Final, Self

FIRST_PORT, LAST_PORT = 10_240, 32_000
STRIDE: Final = 16  # processes that run side by side have different remainders
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0

Environment = Mapping[str, str | None]

_turns: Final = count(secrets.randbelow(LAST_PORT))  # each number is drawn once


class StartError(Exception):
    """A part of the demo did not start; the message says why, or holds the end of its log."""


def free_port() -> int:
    """Find a TCP port of the loopback interface that is free at this moment, below those that the system gives to clients.

    Each call returns another port, even if nothing listens on the first one yet; other processes mostly get different ones, too.
    """
    for turn in _turns:
        port = FIRST_PORT + (turn * STRIDE + os.getpid() % STRIDE) % (LAST_PORT - FIRST_PORT)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def accepts(port: int) -> bool:
    """Whether something listens on a TCP port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A running child process.

    Args:
        command: program and arguments.
        log: file that takes what it prints; None sends it where this process prints.
        environment: added to this process's; None takes a variable away.
        name: for people; that of the program otherwise.

    Raises:
        StartError: when it cannot be started.
    """

    def __init__(
        self, command: Sequence[str], *, log: Path | None, environment: Environment | None = None, name: str | None = None
    ) -> None:
        self._log = log
        self.name = name or Path(command[0]).name
        with nullcontext() if log is None else log.open("ab") as output:
            try:
                # A session of its own: Ctrl-C at a terminal reaches the parent, which ends its children in order.
                self._child = subprocess.Popen(  # noqa: S603 - the command is ours
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={name: value for name, value in {**os.environ, **(environment or {})}.items() if value is not None},
                    start_new_session=True,
                )
            except OSError as error:
                raise StartError(f"cannot start {command[0]}: {error.strerror}") from error

    @property
    def log(self) -> Path:
        """The file that takes what it prints."""
        if self._log is None:
            raise ValueError(f"{self.name} has no log of its own")
        return self._log

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._child.pid

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._child.poll() is None

    def wait_until(self, ready: Callable[[], bool], seconds: float = START_SECONDS, ended: Callable[[], bool] = lambda: False) -> Self:
        """Wait until it is ready.

        Args:
            ready: asked again and again.
            seconds: after which it has failed.
            ended: polled as well; true gives the start up.

        Returns:
            The process.

        Raises:
            StartError: when it ends, takes longer or is given up; it has been stopped then.
        """
        until = time.monotonic() + seconds
        while not ready():
            if ended() or not self.running() or time.monotonic() > until:
                self.stop()
                raise StartError(f"{self.name} did not start{self._last_words()}")
            time.sleep(0.05)
        return self

    def _last_words(self) -> str:
        if self._log is None:
            return ", for the reason above"
        return f"; the end of its log:\n{self._log.read_text(errors='replace')[-2000:]}"

    def send(self, number: Signals) -> None:
        """Send a signal, if it still runs."""
        if self.running():
            self._child.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end.

        Returns:
            Its exit status.

        Raises:
            subprocess.TimeoutExpired: when it takes longer.
        """
        return self._child.wait(seconds)

    def stop(self, number: Signals = Signals.SIGTERM) -> int:
        """End it: ask first, then insist.

        Returns:
            Its exit status.
        """
        self.send(number)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()


def authz_server(*arguments: str, log: Path | None, environment: Environment | None = None) -> Process:
    """Start this package's own command.

    Args:
        arguments: such as `serve --config FILE`.
        log: file that takes what it prints; None sends it where this process prints.
        environment: added to this process's; None takes a variable away.

    Returns:
        The process.
    """
    return Process([sys.executable, "-P", "-m", "authz_server", *arguments], log=log, environment=environment, name="authz-server")
