"""The supervisor: starts workers, starts them again when they end, ends them together, and speaks for them on one admin port."""

import logging
import math
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, as_completed, wait
from contextlib import ExitStack
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from signal import SIGINT, SIGKILL, SIGTERM
from signal import Signals as Signal
from socket import socketpair
from typing import Final, NamedTuple

from authz_server.observe.totals import SupervisorMetrics, add
from authz_server.server.admin import Admin
from authz_server.server.events import Event
from authz_server.server.link import Link, read_outcome
from authz_server.server.report import READY, Report
from authz_server.server.signals import Signals
from authz_server.server.workers import pause

ANSWER_SECONDS: Final = 0.8  # for a worker to answer the admin port, whose callers wait a second

_logger: Final = logging.getLogger(__name__)


class WorkerError(Exception):
    """Workers that did not come up, or had to be killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """How workers are run.

    Args:
        workers: how many.
        command: starts a worker when `--worker` and its number are added.
        admin: address of the admin port, or None.
        end_seconds: how long a worker may take to drain and end.
    """

    workers: int
    command: tuple[str, ...]
    admin: str | None
    end_seconds: float


class Worker:
    """A worker process, with the link to it as its standard input.

    Args:
        number: which one.
        command: starts it.
        put: told when it listens, when it has loaded a configuration, and when it has ended.

    Raises:
        OSError: when the system has no room for a process.
    """

    def __init__(self, number: int, command: tuple[str, ...], put: "Callable[[Listens | Loaded | Ended], None]") -> None:
        self.number = number
        self.began = time.monotonic()
        self._put = put
        end, theirs = socketpair()
        with theirs, ExitStack() as opening:
            opening.push(end)
            # A session of its own: Ctrl-C at a terminal reaches the supervisor, which ends its workers in order.
            self._child = subprocess.Popen(  # noqa: S603 - the command is ours
                [*command, "--worker", str(number)], stdin=theirs.fileno(), start_new_session=True
            )
            opening.pop_all()
        self.link = Link(end, lambda news: put(Loaded(self, *read_outcome(news))))
        self.link.ask("ready").add_done_callback(lambda answer: put(Listens(self)) if answer.result() else None)
        threading.Thread(target=self._run, name=f"worker {number}", daemon=True).start()
        _logger.info("worker %d is process %d", number, self._child.pid)

    def send(self, signal: Signal) -> None:
        """Send a signal, if it still runs."""
        self._child.send_signal(signal)

    def _run(self) -> None:
        self.link.run()
        self._put(Ended(self, self._child.wait()))


class Listens(NamedTuple):
    """A worker answers."""

    worker: Worker


class Loaded(NamedTuple):
    """A worker has loaded a configuration, or refused one and keeps the generation that it has."""

    worker: Worker
    generation: int
    good: bool


class Ended(NamedTuple):
    """A worker has ended; a negative status is the signal that did it."""

    worker: Worker
    status: int


class State(NamedTuple):
    """What the admin port tells; replaced whole, so that no scrape counts a worker twice, or not at all.

    Args:
        listening: workers that answer.
        ended: what workers that have ended had counted, as metrics: a sum must not go back.
    """

    listening: tuple[Worker, ...] = ()
    ended: bytes = b""


class Supervisor:
    """Run workers until a signal ends them.

    Args:
        settings: how.
    """

    def __init__(self, settings: Supervision) -> None:
        self._settings = settings
        self._metrics = SupervisorMetrics(settings.workers)
        self._workers: dict[int, Worker] = {}
        self._pauses: dict[int, float] = {}
        self._due: dict[int, float] = {}
        self._state = State()
        self._started = False
        self._ending = False
        self.events: SimpleQueue[Event | Listens | Loaded | Ended] = SimpleQueue()

    def report(self) -> Report:
        """Say whether traffic may come, and why: each worker has listened, and one at least is ready now."""
        if self._ending:
            return Report(ready=False, lines=("draining",))
        asked = {worker.number: worker.link.ask("ready") for worker in self._state.listening}
        is_ready = _any_ready(asked.values())
        lines: list[str] = []
        for number in range(self._settings.workers):
            if number not in asked:
                lines.append(f"worker {number}: does not listen yet")
            elif asked[number].done():
                lines.extend(f"worker {number}: {line}" for line in asked[number].result().decode().splitlines())
            elif not is_ready:
                lines.append(f"worker {number}: does not answer")
        return Report(self._started and is_ready, tuple(lines))

    def metrics(self) -> bytes:
        """Write the metrics of all workers; one that does not answer keeps its last counts and shows nothing else."""
        asked = {worker: worker.link.ask("metrics") for worker in self._state.listening}
        wait(asked.values(), ANSWER_SECONDS)
        state = self._state
        shown = {str(worker.number): worker.link.metrics for worker, answer in asked.items() if answer.done() and answer.result()}
        return self._metrics.text([state.ended, *(worker.link.metrics for worker in state.listening)], shown)

    def run(self) -> None:
        """Start workers, keep them running, and end them.

        Raises:
            WorkerError: when one does not come up at the start, or has to be killed at the end.
        """
        self._start(0)  # alone, so that what is wrong with the configuration is told once
        while True:
            match self._next(min(self._due.values(), default=math.inf)):
                case None:
                    self._restart()
                case "reload":
                    for worker in self._workers.values():
                        worker.link.ask("reload")
                case Listens(worker):
                    self._listens(worker)
                case Loaded() as event:
                    self._loaded(event)
                case Ended() as event:
                    self._ended(event)
                case "drain" | "stop" as event:
                    self._end(event)
                    return

    def _next(self, until: float) -> Event | Listens | Loaded | Ended | None:
        """Wait for what happens next; None when nothing has by a moment."""
        try:
            return self.events.get(timeout=None if until == math.inf else max(0.0, until - time.monotonic()))
        except Empty:
            return None

    def _start(self, number: int) -> None:
        try:
            self._workers[number] = Worker(number, self._settings.command, self.events.put)
        except OSError as error:
            _logger.error("worker %d: %s", number, error.strerror)
            self._failed(number, up=0.0)

    def _restart(self) -> None:
        """Start the workers whose pause is over."""
        now = time.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            del self._due[number]
            self._metrics.restarted(number)
            self._start(number)

    def _listens(self, worker: Worker) -> None:
        self._tell(State((*self._state.listening, worker), self._state.ended))
        if not self._started:
            if worker.number == 0:
                for number in range(1, self._settings.workers):
                    self._start(number)
            self._started = len(self._state.listening) == self._settings.workers

    def _loaded(self, event: Loaded) -> None:
        """Say whether a worker took a reload; how its first load ended shows in whether it listens."""
        if not event.good:
            _logger.error("worker %d did not take the reload, generation %d stays in force there", event.worker.number, event.generation)
        elif event.generation > 1:
            _logger.info("worker %d took the reload, generation %d is in force there", event.worker.number, event.generation)

    def _ended(self, event: Ended) -> None:
        worker = event.worker
        self._forget(worker)
        _logger.error("worker %d has ended with status %d", worker.number, event.status)
        self._failed(worker.number, up=time.monotonic() - worker.began)

    def _failed(self, number: int, *, up: float) -> None:
        """Plan to start a worker again; at the start of all, give up instead."""
        if not self._started:
            self._end("stop")
            raise WorkerError(f"worker {number} did not come up")
        self._pauses[number] = pause(self._pauses.get(number, 0.0), up)
        self._due[number] = time.monotonic() + self._pauses[number]
        _logger.info("worker %d is started again in %g s", number, self._pauses[number])

    def _forget(self, worker: Worker) -> None:
        """Take a worker that has ended off the list, and its counts into the books."""
        del self._workers[worker.number]
        listening = tuple(other for other in self._state.listening if other is not worker)
        self._tell(State(listening, add([self._state.ended, worker.link.metrics])))

    def _tell(self, state: State) -> None:
        self._state = state
        self._metrics.listening(len(state.listening))

    def _end(self, how: Event) -> None:
        """End all workers: drain them or stop them at once, and kill them when they take too long or a second signal comes."""
        self._ending = True
        for worker in self._workers.values():
            stop = SIGINT if worker in self._state.listening else SIGKILL  # one that starts has nothing to finish
            worker.send(SIGTERM if how == "drain" else stop)
        until = time.monotonic() + self._settings.end_seconds
        while self._workers:
            match self._next(until):
                case Ended(worker):
                    self._forget(worker)
                case None | "drain" | "stop":
                    _logger.error("killing workers %s", ", ".join(map(str, self._workers)))
                    for worker in self._workers.values():
                        worker.send(SIGKILL)
                    until = math.inf
        if until == math.inf:
            raise WorkerError("workers had to be killed")
        _logger.info("all workers have ended")


def _any_ready(answers: Iterable[Future[bytes]]) -> bool:
    """Wait until a worker says that it is ready, or all have answered, or took too long."""
    try:
        return any(answer.result().startswith(READY) for answer in as_completed(answers, ANSWER_SECONDS))
    except TimeoutError:
        return False


def supervise(settings: Supervision, signals: Signals) -> None:
    """Run workers until SIGTERM or SIGINT.

    Args:
        settings: how.
        signals: of this process.

    Raises:
        ListenError: when the address of the admin port is taken.
        WorkerError: when workers do not come up, or have to be killed.
    """
    supervisor = Supervisor(settings)
    with ExitStack() as stack:
        if settings.admin is not None:
            stack.callback(Admin(settings.admin, ready=lambda: supervisor.report().text(), metrics=supervisor.metrics).close)
            _logger.info("admin port on %s", settings.admin)
        signals.hand_to(supervisor.events.put)
        supervisor.run()
