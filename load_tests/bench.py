"""Measure our server beside others: `make bench`, or see load_tests/README.md.

Everything runs on the loopback interface and ends with this program.
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import charts
import goals
import machine
import mixture
import parts
import targets
from caller import CallError
from correctness import WrongAnswerError
from document import PERFORMANCE, README, replace_block
from measurement import Lengths, measure
from processes import end_children_on_sigterm
from report import Report
from summary import summary
from traffic import TrafficError
from workload import Workload

from authz_server.demo.process import StartError

SMOKE_USERS = 500
SMOKE = Lengths(warm_up=0.2, run=0.3)
FAILURES = (CallError, StartError, TrafficError, WrongAnswerError)


def main() -> int:
    """Measure what the arguments ask for, and print the report."""
    given = arguments()
    end_children_on_sigterm()
    try:
        machine.require_tools()
        cores = machine.cores()
    except machine.MissingError as error:
        print(error, file=sys.stderr)
        return 2
    wanted = [replace(target, loads=target.loads[:1]) if given.smoke else target for target in chosen(given)]
    repetitions = 1 if given.smoke else given.repetitions
    lengths = SMOKE if given.smoke else Lengths(warm_up=given.seconds / 3, run=given.seconds)
    report = Report(machine.description(), _method(repetitions, lengths), {target.name: target.floor for target in wanted})
    with tempfile.TemporaryDirectory(prefix="authz-bench-") as folder, Workload(Path(folder)) as work:
        stage = targets.Stage(work=work, cores=cores, folder=Path(folder), users=SMOKE_USERS if given.smoke else mixture.USERS)
        _run(wanted, report, repetitions, lengths, stage)
        beside = _parts(given, report, stage)
    text = report.markdown() + beside + goals.markdown(report)
    print(text)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text + charts.markdown(report, given.out))
    if given.document:
        replace_block(PERFORMANCE, "bench", text)
        replace_block(README, "fast", summary(text))
    return 1 if report.failures else 0


def _run(chosen: Sequence[targets.Target], report: Report, repetitions: int, lengths: Lengths, stage: targets.Stage) -> None:
    """Measure A B C, A B C, …: what disturbs the machine for a while then disturbs every target alike."""
    for repetition in range(repetitions):
        for target in chosen:
            if target.name not in report.failures:
                print(f"{repetition + 1}/{repetitions} {target.name} …", file=sys.stderr, flush=True)
                _measure(target, report, lengths, stage)


def _measure(target: targets.Target, report: Report, lengths: Lengths, stage: targets.Stage) -> None:
    try:
        with target.start(stage) as running:
            for load in target.loads:
                report.add(target.name, load, measure(running, load, lengths))
    except FAILURES as error:
        report.fail(target.name, str(error))


def _parts(given: argparse.Namespace, report: Report, stage: targets.Stage) -> str:
    """Measure what stands beside the table; take note of figures, and write the rest."""
    texts = []
    for name, part in parts.PARTS.items():
        if not _named(name, given.only):
            continue
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            found = part(stage, parts.SMOKE if given.smoke else parts.FULL)
        except FAILURES as error:
            report.fail(name, str(error))
        else:
            report.figures.update(found.figures)
            texts.append(f"\n{name}:\n\n{found.text}")
    return "".join(texts)


def chosen(given: argparse.Namespace) -> list[targets.Target]:
    """List the targets that were asked for, added ones at the end."""
    added = [_server(text, judges=True) for text in given.target] + [_server(text, judges=False) for text in given.noop]
    everything = targets.built_in() + [make(server) for make in (targets.direct, targets.behind_envoy) for server in added]
    return [target for target in everything if _named(target.name, given.only)]


def _server(text: str, *, judges: bool) -> targets.Server:
    name, equals, command = text.partition("=")
    if not equals:
        raise SystemExit(f"{text!r}: expected NAME='COMMAND {{port}}'")
    return targets.Server(name=name, command=shlex.split(command), judges=judges)


def _named(name: str, words: Iterable[str]) -> bool:
    return not words or any(word.lower() in name.lower() for word in words)


def _method(repetitions: int, lengths: Lengths) -> str:
    return (
        f"{repetitions} x {lengths.run:g} s after {lengths.warm_up:.1f} s to warm up, interleaved; median (least-greatest). "
        "Server and Envoy share one core, the load generator has another. "
        "`8x16` is 8 connections with 16 requests each; CPU is per request; "
        "a core's worth is what a core does per second when nothing else runs on it. "
        "The floor of a server is the no-op that answers the same way, by CPU; behind Envoy it is no authorization, by p50."
    )


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="once, briefly, one load each: shows that all works, the figures mean little")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--seconds", type=float, default=1.5, metavar="S", help="length of one run; default: 1.5")
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="only targets and parts with this word in their name")
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="NAME='COMMAND {port}'",
        help="one more server; {config}, {jwks} and {rules} are filled in, too",
    )
    parser.add_argument(
        "--noop", action="append", default=[], metavar="NAME='COMMAND {port}'", help="the same, of a server that allows all"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the report there, too, with pictures beside it")
    parser.add_argument("--document", action="store_true", help="rewrite the report in docs/performance.md and the table in README.md, too")
    return parser.parse_args(words)


if __name__ == "__main__":
    raise SystemExit(main())
