"""A mixture: calls of many users, few of whom ask often; what a cache meets, where one request again and again is a hit each time."""

import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from processes import pinned
from traffic import Load, Traffic, TrafficError, percentile

USERS = 20_000
CACHE_MIB = 4  # about a third of what as many verdicts take
EXPONENT = 1.0  # Zipf's law: the user in place n asks 1/n times as often as the first
PREFIX_SIZE = 5  # of a gRPC message: not compressed, and its length
CALLER = Path(__file__).with_name("caller.py")


def write(file: Path, requests: Iterable[bytes]) -> None:
    """Write requests as gRPC messages, one behind the other."""
    with file.open("wb") as output:
        output.writelines(framed(request) for request in requests)


def framed(request: bytes) -> bytes:
    """Write a gRPC message that is not compressed."""
    return bytes(1) + len(request).to_bytes(4) + request


def messages(octets: bytes) -> list[bytes]:
    """Cut a file of gRPC messages; each keeps its prefix."""
    found, place = list[bytes](), 0
    while place < len(octets):
        end = place + PREFIX_SIZE + int.from_bytes(octets[place + 1 : place + PREFIX_SIZE])
        found.append(octets[place:end])
        place = end
    return found


def order(count: int, seed: str) -> Iterator[int]:
    """Draw users by Zipf's law for ever, the same ones for the same seed.

    Args:
        count: of users.
        seed: of the run.
    """
    drawn = random.Random(seed)  # noqa: S311 - chooses a load
    weights: Sequence[float] = list(itertools.accumulate((place + 1) ** -EXPONENT for place in range(count)))
    while True:
        yield from drawn.choices(range(count), cum_weights=weights, k=1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """A source of gRPC calls of many users, made by `caller.py`.

    Args:
        port: of the server.
        path: of the method.
        requests: file of gRPC messages, see `write`.
        reply_size: octets of the message that must come back for each.
        core: where the load generator runs.
    """

    port: int
    path: str
    requests: Path
    reply_size: int
    core: int
    _runs: Iterator[int] = field(default_factory=itertools.count)

    def __call__(self, load: Load, seconds: float, rate: float) -> Traffic:
        """Make as many calls as fit into *seconds* at *rate*, of other users in each run.

        Raises:
            TrafficError: when a call failed.
        """
        calls = max(4 * load.connections * load.streams, round(seconds * rate))
        command = [sys.executable, str(CALLER), str(self.port), str(self.requests), f"--path={self.path}", f"--calls={calls}"]
        command += [f"--connections={load.connections}", f"--streams={load.streams}"]
        command += [f"--seed={next(self._runs)}", f"--reply-size={self.reply_size}"]
        run = subprocess.run(pinned(command, self.core), capture_output=True, text=True, timeout=60 + 10 * seconds, check=False)
        if run.returncode:
            raise TrafficError(f"{CALLER.name}: {run.stderr[-1000:]}")
        return read(run.stdout)


def read(output: str) -> Traffic:
    """Read what `caller.py` printed."""
    result = json.loads(output)
    took = sorted(result["took"])
    p50, p90, p99, longest = (percentile(took, share) for share in (0.5, 0.9, 0.99, 1))
    return Traffic(requests=len(took), rate=len(took) / result["seconds"], p50=p50, p90=p90, p99=p99, longest=longest)
