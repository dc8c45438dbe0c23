"""What else a server does while it answers: reloads, key refreshes and floods of unknown keys, at half of the load it can take.

.venv/bin/python load_tests/disturbances.py
"""

import argparse
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from signal import Signals
from statistics import median

import h2load
import targets
from document import PERFORMANCE, replace_block
from machine import cores, description
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
def calls(running: Running, request: bytes, rate: float, folder: Path) -> Iterator[None]:
    """Make calls beside those that are measured, with answers that do not matter."""
    assert isinstance(running.source, h2load.Calls)  # noqa: S101 - a gRPC port is asked by h2load
    body = folder / f"beside.{rate:.0f}.body"
    body.write_bytes(h2load.FRAME_HEADER.pack(0, len(request)) + request)
    seconds = SECONDS + 1
    connections = max(1, min(64, round(rate * seconds / h2load.MAX_CALLS + 1)))
    number = round(rate * seconds)
    command = ["h2load", f"-n{number}", f"-c{connections}", "-m16", f"--rps={rate / connections}", f"-d{body}"]
    command += ["-Hcontent-type: application/grpc", "-Hte: trailers", running.source.url]
    with subprocess.Popen(pinned(command, running.source.core), stdout=subprocess.DEVNULL) as beside:
        try:
            yield
        finally:
            beside.terminate()


def main() -> None:
    """Measure the asyncio door, in turns."""
    end_children_on_sigterm()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--document", action="store_true", help="rewrite the table in docs/performance.md, too")
    arguments = parser.parse_args()
    repetitions = arguments.repetitions
    with tempfile.TemporaryDirectory(prefix="authz-disturbances-") as temporary, Workload(Path(temporary)) as work:
        folder = Path(temporary)
        stage = targets.Stage(work=work, cores=cores(), folder=folder)
        stranger = check_request(work.headers(_unknown_key(work)))
        with targets.direct(targets.HIT["asyncio"]).start(stage) as running:
            rate = [running.source(OVER_GRPC[0], 2.0, 10_000).rate for _ in range(3)][-1] / 2
        load = Load(connections=CONNECTIONS, streams=STREAMS, rate=rate * (1 - 1 / BESIDE))
        happen: Mapping[str, tuple[bytes, Disturbance]] = {
            "quiet": (work.request, lambda _: nullcontext()),
            "the configuration is loaded again each second": (work.request, lambda running: signals(running, Signals.SIGHUP)),
            "keys are fetched as often as unknown ones may ask": (work.request, lambda running: calls(running, stranger, 1, folder)),
            "a tenth of the checks names an unknown key": (stranger, lambda _: nullcontext()),
        }
        took: dict[str, list[Traffic]] = {name: [] for name in happen}
        for _ in range(repetitions):
            for name, (beside, disturbance) in happen.items():
                direct = targets.direct(targets.HIT["asyncio"])
                with direct.start(stage) as running, calls(running, beside, rate / BESIDE, folder):
                    took[name].append(traffic(running, load, SECONDS, disturbance(running)))
                print(f"{name}: p99 {took[name][-1].p99:.0f} µs", file=sys.stderr, flush=True)
    head = f"{description()}\n\n{round(rate):,} checks per second, half of what one core answered; medians of {repetitions} runs."
    text = f"{head}\n\n{markdown(took)}"
    print(text)
    if arguments.document:
        replace_block(PERFORMANCE, "disturbances", text)


def markdown(took: Mapping[str, list[Traffic]]) -> str:
    """Write the table."""
    quiet = median(one.p99 for one in took["quiet"])
    lines = [row(("meanwhile", "p50 µs", "p99 µs", "longest µs", f"p99 of the quiet one (goal: {GOAL})")), row(("---", *["--:"] * 4))]
    for name, some in took.items():
        p50, p99, longest = (median(values) for values in zip(*((one.p50, one.p99, one.longest) for one in some), strict=True))
        lines.append(row((name, f"{p50:,.0f}", f"{p99:,.0f}", f"{longest:,.0f}", f"{p99 / quiet:.2f}")))
    return "\n".join(lines)


def _unknown_key(work: Workload) -> str:
    """Sign a token with a key that the pool does not publish."""
    return work.pool.id_key.sign(work.claims, header={"alg": "RS256", "kid": "unknown"})


if __name__ == "__main__":
    main()
