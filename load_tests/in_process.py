"""A check in this process: configured, keyed and asked as the server does it, without a door."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import yaml

from authz_server.config import compile_gateway, load
from authz_server.core.gateway import Gateway
from authz_server.core.observation import Observer
from authz_server.engine.engine import Engine
from authz_server.keys.fetch import Fetcher
from authz_server.keys.refresher import GOOD, KeyRefresher
from authz_server.keys.store import KeyStore, PoolKeys
from authz_server.observe.metrics import Metrics
from authz_server.server.check import Check, CheckResponses

PATIENCE_SECONDS = 30.0


class Generation:
    """A configuration in force, with its keys.

    Args:
        configuration: as in the file.
        folder: for the file.
    """

    def __init__(self, configuration: dict[str, Any], folder: Path) -> None:
        file = folder / "in_process.yaml"
        file.write_text(yaml.dump(configuration, Dumper=yaml.CSafeDumper))
        self._parts = ExitStack()
        refresher = KeyRefresher(Fetcher(), time.monotonic, lambda: 0.0, self)
        self._parts.callback(refresher.close)
        store = KeyStore(time.monotonic, refresher)
        self.gateway: Gateway = compile_gateway(load(file, {}), store.keys)
        end = time.monotonic() + PATIENCE_SECONDS
        while not store.attempted() and time.monotonic() < end:
            time.sleep(0.01)

    def fetch_ended(self, keys: PoolKeys, outcome: str, detail: str) -> None:
        """Take note of a fetch, see `keys.refresher.Observer`."""
        if outcome not in GOOD:
            raise RuntimeError(f"keys of {keys.pool.id}: {outcome}: {detail}")

    def engine(self, cache_mib: int = 64, observers: Iterable[Observer] = ()) -> Engine[bytes]:
        """Make an engine that decides with it, as `serve` does."""
        writer = CheckResponses(lambda: str(uuid4()))
        engine = Engine(writer, cache_mib * 1_048_576, now=time.time, timer=time.perf_counter, counts=Metrics("0"), observers=observers)
        engine.swap(self.gateway)
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._parts.close()


def check_of(engine: Engine[bytes]) -> Check:
    """Make a check of an engine."""
    return Check(engine, time.perf_counter)


def per_call(call: Callable[[Any], object], arguments: Sequence[Any], seconds: float = 0.5, repetitions: int = 7) -> float:
    """Find what a call costs: the best of several loops, since whatever else runs can only add.

    Args:
        call: asked with each argument in turn.
        arguments: what it is asked.
        seconds: that all loops take together, roughly.
        repetitions: how many loops.

    Returns:
        Microseconds of processor time.
    """
    rounds, took = 1, 0.0
    while took < seconds / repetitions / 2:  # the first rounds warm up, and tell how many are enough
        took = _loop(call, arguments, rounds)
        rounds = rounds * 2 if took < seconds / repetitions / 2 else rounds
    return min(_loop(call, arguments, rounds) for _ in range(repetitions)) / rounds / len(arguments) * 1e6


def _loop(call: Callable[[Any], object], arguments: Sequence[Any], rounds: int) -> float:
    began = time.thread_time()
    for _ in range(rounds):
        for argument in arguments:
            call(argument)
    return time.thread_time() - began
