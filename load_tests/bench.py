"""Measure our server beside others: `make bench`, or see load_tests/README.md.

Everything runs on the loopback interface and ends with this program.
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import charts
import goals
import machine
import targets
from correctness import WrongAnswerError
from document import PERFORMANCE, replace_block
from measurement import Lengths, measure
from processes import end_children_on_sigterm
from report import Report
from traffic import TrafficError
from workload import Workload

from authz_server.demo.process import StartError

SMOKE = Lengths(warm_up=0.5, run=1.0)


def main() -> int:
    """Measure what the arguments ask for, and print the report."""
    arguments = _arguments()
    end_children_on_sigterm()
    try:
        machine.require_tools()
        cores = machine.cores()
    except machine.MissingError as error:
        print(error, file=sys.stderr)
        return 2
    chosen = _chosen(arguments)
    repetitions = 1 if arguments.smoke else arguments.repetitions
    lengths = SMOKE if arguments.smoke else Lengths(warm_up=arguments.seconds / 3, run=arguments.seconds)
    report = Report(machine.description(), _method(repetitions, lengths), {target.name: target.floor for target in chosen})
    with tempfile.TemporaryDirectory(prefix="authz-bench-") as folder, Workload(Path(folder)) as work:
        _run(chosen, report, repetitions, lengths, targets.Stage(work=work, cores=cores, folder=Path(folder)))
    text = report.markdown() + goals.markdown(report)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + charts.markdown(report, arguments.out))
    if arguments.document:
        replace_block(PERFORMANCE, "bench", text)
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
    except (StartError, TrafficError, WrongAnswerError) as error:
        report.fail(target.name, str(error))


def _chosen(arguments: argparse.Namespace) -> list[targets.Target]:
    added = [_server(text, judges=True) for text in arguments.target] + [_server(text, judges=False) for text in arguments.noop]
    everything = targets.built_in() + [make(server) for make in (targets.direct, targets.behind_envoy) for server in added]
    return [target for target in everything if _named(target.name, arguments.only)]


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


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="once, briefly: shows that everything works, the figures mean little")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S", help="length of one run; default: 4")
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="only targets with this word in their name")
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
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the report there, too, with pictures beside it (wants matplotlib)")
    parser.add_argument("--document", action="store_true", help="rewrite the table in docs/performance.md, too")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
