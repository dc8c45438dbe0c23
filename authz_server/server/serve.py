"""Put the parts together and run until a signal ends it."""

import gc
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal, TextIO
from uuid import uuid4

from authz_server import __version__
from authz_server.core.revocations import Revocations
from authz_server.core.user_pools import UserPool
from authz_server.engine.engine import Engine
from authz_server.engine.generations import Generations
from authz_server.engine.revocation_observer import RevocationObserver
from authz_server.engine.revoked import Place, following
from authz_server.engine.verdicts import Verdicts
from authz_server.engine.watch import FileWatch
from authz_server.keys.clock import ageing_clock
from authz_server.keys.fetch import Fetcher
from authz_server.keys.life_cycle import Kept
from authz_server.keys.refresher import KeyRefresher
from authz_server.keys.state_directory import StateDirectory
from authz_server.keys.store import KeyStore
from authz_server.observe.decision_log import DecisionLog
from authz_server.observe.entry import Line, entry_of
from authz_server.observe.metrics import Metrics
from authz_server.observe.samples import RevocationsSample, VerdictsSample
from authz_server.server.admin import Admin
from authz_server.server.certificates import Certificates
from authz_server.server.check import Check, CheckResponses
from authz_server.server.cpus import pinned
from authz_server.server.errand import Errand
from authz_server.server.events import Event
from authz_server.server.in_force import in_force
from authz_server.server.key_observer import KeyObserver, samples
from authz_server.server.link import Upward, write_outcome
from authz_server.server.loader import BESIDE_CHECKS, parts
from authz_server.server.readiness import Readiness
from authz_server.server.settings import Settings
from authz_server.server.signals import Signals, before_loading
from authz_server.server.state import probe
from authz_server.transport.door import Door, ListenError
from authz_server.transport.guard import AllowList, Guard
from authz_server.transport.tls import TlsFiles

_logger: Final = logging.getLogger(__name__)

Clock = Callable[[], float]
Happening = Event | Literal["changed", "rotate"]

ENDS: Final[frozenset[Happening]] = frozenset({"drain", "stop"})
LOADS: Final[frozenset[Happening]] = frozenset({"changed", "reload"})
TIMER: Final = time.perf_counter
LAST_WORDS_SECONDS: Final = 0.5  # the reader of the log may be stuck
FULL_COLLECTION_AFTER: Final = 1_000  # collections of the middle generation; Python's own is 10


def serve(settings: Settings, signals: Signals, stream: TextIO, line: Line | None) -> None:
    """Serve checks until SIGTERM or SIGINT.

    Args:
        settings: how.
        signals: of this process.
        stream: where the decision log goes.
        line: how it writes its lines, or None for no decision log.

    Raises:
        ConfigurationError: when the first configuration is bad.
        ListenError: when an address is taken.
        StateDirectoryError: when no keys can be kept in `state_dir`.
        TlsError: when the first certificate, its key or the client CA is bad.
        RevocationsError: when the file of revocations is bad, or Redis can not be asked.
    """
    events: SimpleQueue[Happening] = SimpleQueue()
    collect_rarely()
    with ExitStack() as stack:
        metrics = Metrics(__version__)
        supervisor = None if settings.supervisor is None else Upward(settings.supervisor)
        certificates = _certificates(settings.tls, metrics)
        clock = ageing_clock()
        fetcher = Fetcher()
        observer = KeyObserver(metrics, fetcher)
        store = _store(settings, metrics, fetcher, observer, clock, stack)
        engine = _engine(settings, metrics, _log(stream, line, metrics, stack))
        revoked = RevocationObserver(metrics)
        revocations = _revocations(settings.revocations, metrics, revoked, stack)
        generations = Generations(
            settings.config,
            lambda: parts(settings.config, os.environ, BESIDE_CHECKS if generations.number else 0, _warning(settings)),
            store=store,
            revocations=revocations,
            swap=engine.swap,
            outcome=lambda number, good: _loaded(number, metrics, store, observer, supervisor, good=good),
        )
        signals.hand_to(lambda event: _before_serving(event, events))
        generations.load()
        with _threads_of_door(settings):
            door = _door(settings, Check(engine, TIMER), _guard(settings, certificates, metrics))
        readiness = Readiness(
            store,
            lambda ready: _tell(door, ready=ready),
            revocations,
            lambda: _lines(observer.lines(store.all(), clock()), revocations, revoked),
        )
        if settings.admin is not None:
            stack.callback(_admin(settings.admin, readiness, metrics).close)
        for address in settings.listen:
            door.listen(address)
        _watch(settings, events, metrics, stack)
        signals.hand_to(events.put)
        with _threads_of_door(settings):
            door.start()
        observer.changed = revoked.changed = readiness.update
        readiness.update()  # not before: who hears that it is ready asks at once
        gc.freeze()  # what lives as long as the process need not be searched for garbage, by the few full collections that there are
        if settings.worker == 0:
            _logger.info("in force: %s", in_force(settings))
        _logger.info("authz-server %s listens on %s%s", __version__, ", ".join(settings.listen), _how(settings))
        if supervisor is not None:
            _attach(supervisor, events, readiness, metrics)
        configuration = Errand("configuration", generations.reload)
        certificate = None if certificates is None else Errand("certificate", certificates.reload)
        if _until_end(events, configuration, certificate, store.renew) == "drain":
            readiness.drain()
            _logger.info("draining: not serving for %g s, then finishing what is in flight", settings.drain_seconds)
            _pause(events, settings.drain_seconds)
        door.stop(settings.grace_seconds)
        _logger.info("stopped")


def _before_serving(event: Event, events: SimpleQueue[Happening]) -> None:
    """Handle an event while the server loads.

    A reload waits until it serves, since the file may have been read already. An end is immediate, since nothing is in flight.
    """
    if event == "reload":
        events.put(event)
        return
    words = threading.Thread(target=_logger.info, args=("stopped before it served",), daemon=True)
    words.start()
    words.join(LAST_WORDS_SECONDS)
    before_loading(event)


def collect_rarely() -> None:
    """Put off full garbage collections, which keep all checks waiting while they look at every verdict and route.

    They find next to nothing: generations and verdicts go when nobody refers to them any more, and young cycles are collected as ever.
    """
    youngest, middle, _ = gc.get_threshold()
    gc.set_threshold(youngest, middle, FULL_COLLECTION_AFTER)


def _store(settings: Settings, metrics: Metrics, fetcher: Fetcher, observer: KeyObserver, clock: Clock, stack: ExitStack) -> KeyStore:
    kept: Callable[[UserPool], Kept | None] | None = None
    if settings.state_dir is not None:
        checks_parents = settings.checks_state_dir_parents
        probe(settings.state_dir, checks_parents=checks_parents)
        state = observer.state = StateDirectory(settings.state_dir, time.time, observer.state_told, checks_parents=checks_parents)
        stack.callback(state.close)
        kept = state.read
    refresher = KeyRefresher(fetcher, clock, lambda: random.uniform(-1, 1), observer)  # noqa: S311 - spreads load
    stack.callback(refresher.close)
    store = KeyStore(clock, refresher, kept)
    metrics.show_keys(lambda: samples(store.all(), clock()))
    return store


def _revocations(place: Place | None, metrics: Metrics, observer: RevocationObserver, stack: ExitStack) -> Revocations | None:
    if place is None:
        return None
    revocations = Revocations(known=False)
    source = stack.enter_context(following(place, revocations, observer))
    metrics.show_revocations(lambda: RevocationsSample(len(revocations), source.age(), source.kept(), known=revocations.known))
    return revocations


def _log(stream: TextIO, line: Line | None, metrics: Metrics, stack: ExitStack) -> DecisionLog | None:
    if line is None:
        return None
    log = DecisionLog(stream, line, metrics.log_dropped)
    stack.callback(log.close)
    return log


def _engine(settings: Settings, metrics: Metrics, log: DecisionLog | None) -> Engine[bytes]:
    observers = () if log is None else (lambda observation: log(entry_of(observation)),)
    writer = CheckResponses(lambda: str(uuid4()))
    engine = Engine(writer, settings.cache_bytes, now=time.time, timer=TIMER, counts=metrics, observers=observers)
    metrics.show_verdicts(lambda: [_size("allow", engine.generation.allowed), _size("deny", engine.generation.denied)])
    return engine


def _warning(settings: Settings) -> Callable[[str], None]:
    """Give what logs a warning about the configuration, which all workers load."""
    return (lambda line: _logger.warning("%s", line)) if settings.worker == 0 else lambda _: None


def _loaded(number: int, metrics: Metrics, store: KeyStore, observer: KeyObserver, supervisor: Upward | None, *, good: bool) -> None:
    """Show the running generation, and see whether its pools have keys."""
    metrics.reloaded(number, time.time(), good=good)
    if supervisor is not None:
        supervisor.tell(write_outcome(number, good=good))
    observer.loaded([keys.pool for keys in store.all()])
    observer.changed()


def _admin(address: str, readiness: Readiness, metrics: Metrics) -> Admin:
    admin = Admin(address, ready=lambda: readiness.report().text(), metrics=metrics.text)
    _logger.info("admin port on %s", address)
    return admin


def _certificates(files: TlsFiles | None, metrics: Metrics) -> Certificates | None:
    if files is None:
        return None
    certificates = Certificates(files, time.time)
    metrics.show_certificate(certificates.sample)
    return certificates


def _guard(settings: Settings, certificates: Certificates | None, metrics: Metrics) -> Guard:
    guard = Guard(
        credentials=None if certificates is None else certificates.current,
        clients=AllowList(settings.clients) if settings.clients else None,
        socket=settings.unix_sockets,
    )
    if settings.transport != "grpcio":  # which says nothing of such clients
        metrics.show_wrong_protocols(lambda: guard.wrong.counts)
    return guard


def _how(settings: Settings) -> str:
    if settings.tls is None:
        return ""
    return " with TLS" if settings.tls.client_ca is None else " with mutual TLS"


def _door(settings: Settings, check: Check, guard: Guard) -> Door:
    """Make the door; each brings libraries that the other does not need."""
    if settings.transport == "grpcio":
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else whoever fails to shake hands writes to our log, and not in JSON
        from authz_server.transport import grpcio  # noqa: PLC0415 - as said

        return grpcio.GrpcioDoor(check, guard=guard, max_checks=settings.max_checks or grpcio.MAX_CHECKS)
    try:
        from authz_server.transport import event_loop  # noqa: PLC0415 - as said
    except ModuleNotFoundError as error:
        raise ListenError(f"--transport asyncio needs {error.name}: pip install 'authz-server[fast]'") from error
    return event_loop.EventLoopDoor(check, guard=guard, max_checks=settings.max_checks or event_loop.MAX_CHECKS)


def _threads_of_door(settings: Settings) -> AbstractContextManager[None]:
    """Keep the threads that grpcio starts to one CPU; the other door has a single one."""
    return nullcontext() if settings.cpu is None or settings.transport != "grpcio" else pinned(settings.cpu)


def _lines(pools: Iterable[str], revocations: Revocations | None, revoked: RevocationObserver) -> Iterator[str]:
    """Say how each user pool and list is."""
    yield from pools
    if revocations is not None:
        yield revoked.line(entries=len(revocations), known=revocations.known)


def _tell(door: Door, *, ready: bool) -> None:
    _logger.info("ready" if ready else "not ready")
    door.serving(ready=ready)


def _size(decision: str, verdicts: Verdicts[Any]) -> VerdictsSample:
    return VerdictsSample(decision, len(verdicts), verdicts.size, verdicts.evictions)


def _watch(settings: Settings, events: SimpleQueue[Happening], metrics: Metrics, stack: ExitStack) -> None:
    """Hear of changes of the configuration and of the certificate."""
    watches = {"configuration": FileWatch([settings.config], lambda: events.put("changed"))}
    if settings.tls is not None:
        watches["certificate"] = FileWatch(settings.tls.paths, lambda: events.put("rotate"))
    for watch in watches.values():
        stack.callback(watch.close)
    metrics.show_watches(lambda: {name: watch.age() for name, watch in watches.items()})


def _attach(supervisor: Upward, events: SimpleQueue[Happening], readiness: Readiness, metrics: Metrics) -> None:
    """Answer the supervisor, and drain when it is gone: a worker left alone would hold its port against the next start."""
    supervisor.attach(
        {
            "ready": lambda: readiness.report().text(),
            "metrics": metrics.text,
            "reload": lambda: events.put("reload"),
        },
        gone=lambda: events.put("drain"),
    )


def _until_end(
    events: SimpleQueue[Happening], configuration: Errand, certificate: Errand | None, renew_keys: Callable[[], None]
) -> Happening:
    """Handle events until one asks for the end, which waits for nothing that is being loaded.

    A person who says "reload" means keys too; a file that has changed says nothing about them.
    """
    while not (come := _come(events)) & ENDS:
        if certificate is not None:
            certificate.ask()
        if "reload" in come:
            renew_keys()
        if come & LOADS:
            configuration.ask()
    return "stop" if "stop" in come else "drain"


def _come(events: SimpleQueue[Happening]) -> set[Happening]:
    """Wait for an event, and take all that have come."""
    come = {events.get()}
    with suppress(Empty):
        while True:
            come.add(events.get_nowait())
    return come


def _pause(events: SimpleQueue[Happening], seconds: float) -> None:
    """Wait, unless SIGINT says not to; a reload no longer matters, and SIGTERM may come to a worker from two sides."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            if events.get(timeout=left) == "stop":
                return
        except Empty:
            return
