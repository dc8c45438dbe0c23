"""Guard the cost of a check: `make bench-guard` fails when it has clearly grown; `--update` writes down what it is now.

What a hit or a miss costs over the no-op of its door is compared with other checks that were asked in turns with it within the same
minute: a hit with that no-op, and a miss with a hit at the asyncio door. So the machine's speed cancels, and most of what other programs
do to its caches, which slows Python more than it slows an RSA verification in a loop. A measurement that fails is made once more before
it counts.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import machine
import targets
from processes import end_children_on_sigterm
from targets import OVER_GRPC, Running, Server
from traffic import Traffic
from workload import Workload

FILE = Path(__file__).with_name("guard.json")
REPETITIONS = 7
SECONDS = 0.6
WARM_UP_SECONDS = 0.4
MARGIN = 1.4  # of the ratio on file; work that doubles passes it
NOISE = 0.25  # on top of it: a busy machine tells two no-ops of one door apart by so much of one, which for grpcio is four times a hit's own work

Ratios = Mapping[str, float]


def main() -> int:
    """Measure and judge."""
    end_children_on_sigterm()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--update", action="store_true", help=f"write the ratios to {FILE.name}")
    update = parser.parse_args().update
    try:
        machine.require_tools(("h2load", "taskset"))
        cores = machine.cores()
    except machine.MissingError as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="authz-guard-") as folder, Workload(Path(folder)) as work:
        stage = targets.Stage(work=work, cores=cores, folder=Path(folder))
        measured = measure(stage)
        if update:
            FILE.write_text(json.dumps({name: round(value, 2) for name, value in measured.items()}, indent=2) + "\n")
        committed: Ratios = json.loads(FILE.read_text())
        if too_high(measured, committed):
            print(table(measured, committed) + "\nonce more …", flush=True)
            measured = {name: min(value, measured[name]) for name, value in measure(stage).items()}
    print(table(measured, committed))
    grown = too_high(measured, committed)
    if grown:
        print(f"\ncosts clearly more than {FILE.name} says: {', '.join(grown)}", file=sys.stderr)
    return 1 if grown else 0


def measure(stage: targets.Stage) -> Ratios:
    """Ask all servers in turns."""
    with ExitStack() as stack:
        running = {server.name: stack.enter_context(targets.direct(server).start(stage)) for server in _servers()}
        rates = {name: _warm_up(each) for name, each in running.items()}
        rounds = []
        for _ in range(REPETITIONS):
            costs = {name: _cost(each, rates[name]) for name, each in running.items()}
            rounds.append(ratios(costs))
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def ratios(costs: Mapping[str, float]) -> Ratios:
    """Divide one repetition's costs so that the machine's speed cancels.

    Args:
        costs: microseconds of processor time for each check, by server.
    """
    found = {}
    for door in targets.DOORS:
        floor = costs[f"{door}, no-op"]
        found[f"{door}, hit: over the no-op, in no-ops"] = (costs[f"{door}, hit"] - floor) / floor
        found[f"{door}, miss: over the no-op, in asyncio hits"] = (costs[f"{door}, miss"] - floor) / costs["asyncio, hit"]
    return found


def limit(committed: float) -> float:
    """Find how large a ratio may be."""
    return committed * MARGIN + NOISE


def too_high(measured: Ratios, committed: Ratios) -> list[str]:
    """List what has clearly grown."""
    return [name for name, value in measured.items() if value > limit(committed[name])]


def table(measured: Ratios, committed: Ratios) -> str:
    """Write it for people."""
    lines = [f"{'':52}{'on file':>9}{'limit':>9}{'measured':>10}"]
    lines += [f"{name:52}{committed[name]:9.2f}{limit(committed[name]):9.2f}{value:10.2f}" for name, value in measured.items()]
    return "\n".join(lines)


def _servers() -> list[Server]:
    by_mode = [mode[door] for door in targets.DOORS for mode in (targets.NOOP, targets.HIT, targets.MISS)]
    return [_slowed(server) for server in by_mode]


def _slowed(server: Server) -> Server:
    """Start it by way of `slowed_server.py`, which leaves it as it is unless told otherwise."""
    command = " ".join(server.command).replace("-m authz_server", str(targets.HERE / "slowed_server.py"))
    return replace(server, command=command.split(" "))


def _warm_up(running: Running) -> float:
    rate = 500.0
    for seconds in (WARM_UP_SECONDS / 4, WARM_UP_SECONDS, WARM_UP_SECONDS):
        rate = _ask(running, rate, seconds).rate
    return rate


def _ask(running: Running, rate: float, seconds: float) -> Traffic:
    return running.source(OVER_GRPC[0], seconds, rate)


def _cost(running: Running, rate: float) -> float:
    server = running.processes["server"]
    before = server.usage().cpu
    traffic = _ask(running, rate, SECONDS)
    return (server.usage().cpu - before) / traffic.requests * 1e6


if __name__ == "__main__":
    raise SystemExit(main())
