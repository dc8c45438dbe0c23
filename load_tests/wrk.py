"""wrk: HTTP/1.1 requests, at Envoy's listener."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from processes import pinned
from traffic import Load, Traffic, TrafficError

_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_REQUESTS = re.compile(r"(\d+) requests in")
_PERCENTILE = re.compile(r"^\s+(\d\d)%\s+([\d.]+)(us|ms|s)$", re.MULTILINE)
_LONGEST = re.compile(r"Latency\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)")
_BAD = re.compile(r"^\s*(Non-2xx or 3xx responses|Socket errors): .*$", re.MULTILINE)
_MICROSECONDS = {"us": 1.0, "ms": 1_000.0, "s": 1_000_000.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """A source of one HTTP request, made again and again.

    Args:
        url: what is asked for.
        headers: value by name.
        core: where the load generator runs.
    """

    url: str
    headers: Mapping[str, str]
    core: int

    def __call__(self, load: Load, seconds: float, _: float) -> Traffic:
        """Make requests for *seconds*, in whole seconds: wrk knows no others.

        Raises:
            TrafficError: when one of them failed.
        """
        length = max(1, round(seconds))
        command = ["wrk", "--latency", "-t1", f"-c{load.connections}", f"-d{length}s"]
        command += [f"-H{name}: {value}" for name, value in self.headers.items()]
        run = subprocess.run(pinned([*command, self.url], self.core), capture_output=True, text=True, timeout=60 + 2 * length, check=False)
        return read(run.stdout + run.stderr)


def read(output: str) -> Traffic:
    """Read what wrk printed.

    Raises:
        TrafficError: when a request failed.
    """
    rate, requests = _RATE.search(output), _REQUESTS.search(output)
    took = {int(share): float(value) * _MICROSECONDS[unit] for share, value, unit in _PERCENTILE.findall(output)}
    if bad := _BAD.search(output):
        raise TrafficError(f"wrk: {bad[0].strip()}")
    longest = _LONGEST.search(output)
    if not rate or not requests or not longest or not {50, 90, 99} <= took.keys():
        raise TrafficError(f"wrk: {output[-1000:]}")
    return Traffic(
        requests=int(requests[1]),
        rate=float(rate[1]),
        p50=took[50],
        p90=took[90],
        p99=took[99],
        longest=float(longest[1]) * _MICROSECONDS[longest[2]],
    )
