"""What else a server does while it answers: reloads, key refreshes and floods of unknown keys, at half of the load it can take.

.venv/bin/python load_tests/disturbances.py
"""

import argparse
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from statistics import median

import h2load
import targets
from document import PERFORMANCE, replace_block
from machine import cores, description
from measurement import FIRST_RATE
from processes import end_children_on_sigterm, pinned
from report import row
from targets import OVER_GRPC, Running
from traffic import Load, Traffic
from workload import Workload, check_request

REPETITIONS = 3
SECONDS = 6.0
CONNECTIONS, STREAMS = 32, 16
EVERY_SECONDS = 1.0
BESIDE = 10  # one check in so many comes from a second load generator, in each run alike: it takes time from the first one
GOAL = 1.5
QUIET = "quiet"
RELOADS = "the configuration is loaded again each second"
FETCHES = "keys are fetched as often as unknown ones may ask"
STRANGERS = "a tenth of the checks names an unknown key"
MEANWHILE = (RELOADS, FETCHES, STRANGERS)

Disturbance = Callable[[Running], AbstractContextManager[object]]


def traffic(running: Running, load: Load, seconds: float, disturbance: AbstractContextManager[object]) -> Traffic:
    """Ask at a fixed rate while something else goes on.

    Raises:
        TrafficError: when a call failed.
    """
    running.source(OVER_GRPC[0], 1.0, 2_000)
    with disturbance:
        return running.source(load, seconds, load.rate)


@contextmanager
def signals(running: Running, number: Signals | None) -> Iterator[None]:
    """Send a signal again and again."""
    ended = threading.Event()

    def send() -> None:
        while number is not None and not ended.wait(EVERY_SECONDS):
            running.processes["server"].send(number)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def calls(running: Running, request: bytes, rate: float, seconds: float, folder: Path) -> Iterator[None]:
    """Make calls beside those that are measured, with answers that do not matter."""
    assert isinstance(running.source, h2load.Calls)  # noqa: S101 - a gRPC port is asked by h2load
    body = folder / f"beside.{rate:.0f}.body"
    body.write_bytes(h2load.FRAME_HEADER.pack(0, len(request)) + request)
    seconds += 1
    connections = max(1, min(64, round(rate * seconds / h2load.MAX_CALLS + 1)))
    number = round(rate * seconds)
    command = ["h2load", f"-n{number}", f"-c{connections}", "-m16", f"--rps={rate / connections}", f"-d{body}"]
    command += ["-Hcontent-type: application/grpc", "-Hte: trailers", running.source.url]
    with subprocess.Popen(pinned(command, running.source.core), stdout=subprocess.DEVNULL) as beside:
        try:
            yield
        finally:
            beside.terminate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbed:
    """How a door answered while something else went on.

    Args:
        door: which.
        rate: of calls, per second; half of what one core answered.
        took: the runs, by what went on.
    """

    door: str
    rate: float
    took: Mapping[str, Sequence[Traffic]]

    def ratios(self) -> Mapping[str, float]:
        """Compare each p99 with that of the quiet one."""
        quiet = _p99(self.took[QUIET])
        return {name: _p99(some) / quiet for name, some in self.took.items() if name != QUIET}

    def markdown(self) -> str:
        """Write the table."""
        quiet, runs = _p99(self.took[QUIET]), len(self.took[QUIET])
        text = f"{self.door}: {round(self.rate):,} checks per second, half of what one core answered; medians of {runs} runs."
        lines = [text, "", row(("meanwhile", "p50 µs", "p99 µs", "longest µs", f"p99 of the quiet one (goal: {GOAL})"))]
        lines.append(row(("---", *["--:"] * 4)))
        for name, some in self.took.items():
            p50, p99, longest = (median(values) for values in zip(*((one.p50, one.p99, one.longest) for one in some), strict=True))
            lines.append(row((name, f"{p50:,.0f}", f"{p99:,.0f}", f"{longest:,.0f}", f"{p99 / quiet:.2f}")))
        return "\n".join(lines) + "\n"


def measure(stage: targets.Stage, door: str, repetitions: int, seconds: float) -> Disturbed:
    """Ask a door at half the rate that it can answer, with each disturbance in turns.

    Raises:
        StartError: when the server does not start.
        TrafficError: when a call failed.
        WrongAnswerError: when an answer is not as it must be.
    """
    work, folder, target = stage.work, stage.folder, targets.direct(targets.HIT[door])
    stranger = check_request(work.headers(_unknown_key(work)))
    with target.start(stage) as running:
        rate = FIRST_RATE
        for _ in range(3):  # the first tells how many calls the others should make
            rate = running.source(OVER_GRPC[0], seconds / 3, rate).rate
        rate /= 2
    load = Load(connections=CONNECTIONS, streams=STREAMS, rate=rate * (1 - 1 / BESIDE))
    happen: Mapping[str, tuple[bytes, Disturbance]] = {
        QUIET: (work.request, lambda _: nullcontext()),
        RELOADS: (work.request, lambda running: signals(running, Signals.SIGHUP)),
        FETCHES: (work.request, lambda running: calls(running, stranger, 1, seconds, folder)),
        STRANGERS: (stranger, lambda _: nullcontext()),
    }
    took: dict[str, list[Traffic]] = {name: [] for name in happen}
    for _ in range(repetitions):
        for name, (beside, disturbance) in happen.items():
            with target.start(stage) as running, calls(running, beside, rate / BESIDE, seconds, folder):
                took[name].append(traffic(running, load, seconds, disturbance(running)))
            print(f"{door}, {name}: p99 {took[name][-1].p99:.0f} µs", file=sys.stderr, flush=True)
    return Disturbed(door=door, rate=rate, took=took)


def main() -> None:
    """Measure both doors."""
    end_children_on_sigterm()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--document", action="store_true", help="rewrite the tables in docs/performance.md, too")
    arguments = parser.parse_args()
    texts = [description()]
    with tempfile.TemporaryDirectory(prefix="authz-disturbances-") as folder, Workload(Path(folder)) as work:
        stage = targets.Stage(work=work, cores=cores(), folder=Path(folder))
        texts += (measure(stage, door, arguments.repetitions, SECONDS).markdown() for door in targets.DOORS)
    text = "\n\n".join(texts)
    print(text)
    if arguments.document:
        replace_block(PERFORMANCE, "disturbances", text)


def _p99(some: Sequence[Traffic]) -> float:
    return median(one.p99 for one in some)


def _unknown_key(work: Workload) -> str:
    """Sign a token with a key that the pool does not publish."""
    return work.pool.id_key.sign(work.claims, header={"alg": "RS256", "kid": "unknown"})


if __name__ == "__main__":
    main()
