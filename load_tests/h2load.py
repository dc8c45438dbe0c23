"""h2load: gRPC calls over HTTP/2, straight at a server's port."""

import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from processes import pinned
from traffic import Load, Traffic, TrafficError, percentile

FRAME_HEADER = struct.Struct(">BI")  # gRPC: not compressed, and the length
MAX_CALLS = 3_400  # on one connection: the asyncio door says GOAWAY after 3,500, and h2load opens no other connection

_FINISHED = re.compile(r"finished in ([\d.]+)(us|ms|s|m|h), ")
_SUCCEEDED = re.compile(r"(\d+) total, .* (\d+) succeeded")
_DATA = re.compile(r"\((\d+)\) data")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """A source of one gRPC call, made again and again.

    h2load sees HTTP statuses only, and every gRPC answer has status 200. So the size of all answers together is compared with
    that of the right one, which a real gRPC client has seen before.

    Args:
        url: of the method.
        request: the message.
        reply_size: octets of the message that must come back.
        core: where the load generator runs.
        folder: for its files.
    """

    url: str
    request: bytes
    reply_size: int
    core: int
    folder: Path

    def __call__(self, load: Load, seconds: float, rate: float) -> Traffic:
        """Make as many calls as fit into *seconds* at *rate*: a number is exact, where a time would cut off the last ones.

        All servers are asked in short runs alike, each with new connections.

        Raises:
            TrafficError: when a call failed.
        """
        left = requests = max(4 * load.connections * load.streams, round(seconds * rate))
        busy, took = 0.0, list[int]()
        while left:
            calls = min(left, load.connections * MAX_CALLS)
            busy += self._run(load, calls, seconds, took)
            left -= calls
        took.sort()
        p50, p90, p99, longest = (percentile(took, share) for share in (0.5, 0.9, 0.99, 1))
        return Traffic(requests=requests, rate=requests / busy, p50=p50, p90=p90, p99=p99, longest=longest)

    def _run(self, load: Load, calls: int, seconds: float, took: list[int]) -> float:
        """Make some calls on new connections; add how long each took.

        Returns:
            How long all of them took together.
        """
        body, log = self.folder / "h2load.body", self.folder / "h2load.log"
        body.write_bytes(FRAME_HEADER.pack(0, len(self.request)) + self.request)
        log.unlink(missing_ok=True)
        clients = min(load.connections, calls)
        command = ["h2load", f"-n{calls}", f"-c{clients}", f"-m{load.streams}", f"-d{body}", f"--log-file={log}"]
        if load.rate:
            command.append(f"--rps={load.rate / clients}")
        command += ["-Hcontent-type: application/grpc", "-Hte: trailers", self.url]
        run = subprocess.run(pinned(command, self.core), capture_output=True, text=True, timeout=60 + 10 * seconds, check=False)
        busy = finished(run.stdout + run.stderr, calls, self.reply_size)
        took += (int(line.split("\t")[2]) for line in log.read_text().splitlines())
        return busy


def finished(output: str, calls: int, reply_size: int) -> float:
    """Read what h2load printed.

    Args:
        output: of one run.
        calls: that must have succeeded.
        reply_size: octets of each answer.

    Returns:
        How long it took, in seconds.

    Raises:
        TrafficError: when a call failed, or was answered with something else.
    """
    end, succeeded, data = _FINISHED.search(output), _SUCCEEDED.search(output), _DATA.search(output)
    if not end or not succeeded or not data or int(succeeded[2]) != calls:
        raise TrafficError(f"h2load: not every call succeeded:\n{output[-1000:]}")
    expected = calls * (FRAME_HEADER.size + reply_size)
    if int(data[1]) != expected:
        raise TrafficError(f"h2load: answers of {data[1]} octets, where {calls} right ones have {expected}")
    return float(end[1]) * _SECONDS[end[2]]
