"""Memory: what a server takes for the tokens that it has seen."""

import re
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import caller
import correctness
import targets
import yaml
from mixture import framed
from names import Names
from report import row
from traffic import TrafficError
from workload import Workload, check_request

from authz_server.demo.process import free_port

CONNECTIONS, STREAMS = 8, 16
WARM_UP_CALLS = 20_000
ROOMY_MIB = 512  # keeps that many answers with all claims, too; the usual cache keeps fewer
KINDS: Mapping[str, tuple[dict[str, Any], dict[str, str]]] = {
    "off": ({}, {}),
    "all": ({"dynamic_metadata": "all"}, {"AUTHZ_CACHE_MIB": str(ROOMY_MIB)}),
}
_KEPT = re.compile(r'^authz_verdicts\{decision="allow"\} ([\d.e+]+)$', re.MULTILINE)


class Grown(NamedTuple):
    """What tokens took.

    Args:
        metadata: which dynamic metadata the answers have.
        rest: resident MiB before, when the server had answered calls with one token.
        memory: the same afterwards.
        known: how many verdicts it keeps.
    """

    metadata: str
    rest: float
    memory: float
    known: int

    @property
    def more(self) -> float:
        """MiB that came on top."""
        return self.memory - self.rest


def measure(stage: targets.Stage, count: int) -> list[Grown]:
    """Ask the asyncio door with so many different tokens, without dynamic metadata and with all of it.

    Raises:
        StartError: when the server does not start.
        CallError: when a call failed.
        TrafficError: when it does not keep a verdict about each token.
        WrongAnswerError: when an answer is not as it must be.
    """
    return [_grown(stage, count, metadata) for metadata in KINDS]


def markdown(some: Iterable[Grown]) -> str:
    """Write the table."""
    head = ("dynamic metadata", "tokens known", "MiB before", "MiB after", "more")
    lines = [row(head), row(("---", *["--:"] * 4))]
    lines += (row((one.metadata, f"{one.known:,}", f"{one.rest:.1f}", f"{one.memory:.1f}", f"{one.more:.1f}")) for one in some)
    return "\n".join(lines) + "\n"


def _grown(stage: targets.Stage, count: int, metadata: str) -> Grown:
    settings, variables = KINDS[metadata]
    port, admin = free_port(), free_port()
    server = targets.ours("asyncio", f"dynamic metadata {metadata}", AUTHZ_ADMIN=str(admin), **variables)
    with TemporaryDirectory(dir=stage.folder) as folder, Workload(Path(folder)) as work:
        written = yaml.safe_load(work.config.read_text())
        written["apis"]["shop"] |= settings
        work.config.write_text(yaml.safe_dump(written))
        names = Names(work.pool, lambda token: check_request(work.headers(token)), count)
        with server.process(port, replace(stage, work=work)) as process:
            correctness.reply_over_grpc(port, work, judges=True)
            _ask(port, repeat(work.request, WARM_UP_CALLS))
            rest = process.usage().memory
            _ask(port, map(names.request, range(count)))
            memory, known = process.usage().memory, kept(_metrics(admin))
    if known < count:
        raise TrafficError(f"{server.name}: {known:,} verdicts about {count:,} tokens are kept")
    return Grown(metadata, rest / 2**20, memory / 2**20, known)


def _ask(port: int, requests: Iterable[bytes]) -> None:
    """Make a call of each, on new connections again and again, since one takes so many calls only."""
    left = map(framed, requests)
    while some := list(islice(left, CONNECTIONS * caller.MAX_CALLS)):
        caller.run(port, correctness.METHOD, [iter(some[first::CONNECTIONS]) for first in range(CONNECTIONS)], STREAMS)


def _metrics(admin: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def kept(metrics: str) -> int:
    """Read how many verdicts about good tokens a server keeps."""
    found = _KEPT.search(metrics)
    return round(float(found[1])) if found else 0
