"""Guard the cost of a check: `make bench-guard` fails when it has clearly grown; `--update` writes down what it is now.

What is compared cancels the machine's speed: a cached hit is measured in no-ops of the same door, and what a miss costs over the no-op
in RSA verifications, all of them in turns within the same minute. A measurement that fails is made once more before it counts.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import machine
import targets
from in_process import per_call
from processes import end_children_on_sigterm
from targets import OVER_GRPC, Running, Server
from traffic import Traffic
from workload import Workload

from authz_server.core import tokens

FILE = Path(__file__).with_name("guard.json")
REPETITIONS = 7
SECONDS = 0.6
WARM_UP_SECONDS = 0.4
MARGIN = 1.4  # of the ratio on file; when the work of a hit doubles, the asyncio door's ratio grows by more than a half

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
        verification = Verification(stage)
        rounds = []
        for _ in range(REPETITIONS):
            costs = {name: _cost(each, rates[name]) for name, each in running.items()}
            rounds.append(ratios(costs, verification.cost()))
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def ratios(costs: Mapping[str, float], verification: float) -> Ratios:
    """Divide one repetition's costs so that the machine's speed cancels.

    Args:
        costs: microseconds of processor time for each check, by server.
        verification: of one RSA signature.
    """
    found = {}
    for door in targets.DOORS:
        floor = costs[f"{door}, no-op"]
        found[f"{door}, hit: of the no-op"] = costs[f"{door}, hit"] / floor
        found[f"{door}, miss: RSA verifications over the no-op"] = (costs[f"{door}, miss"] - floor) / verification
    return found


def too_high(measured: Ratios, committed: Ratios) -> list[str]:
    """List what has clearly grown."""
    return [name for name, value in measured.items() if value > committed[name] * MARGIN]


def table(measured: Ratios, committed: Ratios) -> str:
    """Write it for people."""
    lines = [f"{'':52}{'on file':>9}{'limit':>9}{'measured':>10}"]
    lines += [f"{name:52}{committed[name]:9.2f}{committed[name] * MARGIN:9.2f}{value:10.2f}" for name, value in measured.items()]
    return "\n".join(lines)


class Verification:
    """One RSA verification, the part of a miss that is not ours.

    Args:
        stage: whose token is verified, on the servers' core.
    """

    def __init__(self, stage: targets.Stage) -> None:
        key = stage.work.pool.id_key
        self._core = stage.cores.server
        self._token = tokens.parse(stage.work.token)
        self._key = tokens.Key(kid=key.kid, rsa=key.public)

    def cost(self) -> float:
        """Measure it: microseconds of processor time."""
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self._core})
        try:
            return per_call(lambda token: tokens.verify(token, self._key), [self._token], seconds=0.1)
        finally:
            os.sched_setaffinity(0, allowed)


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
