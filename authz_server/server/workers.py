"""Workers: where each one listens, and when one that ended is started again."""

from typing import Final

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 60.0  # a worker that ran as long had no trouble starting

_LAST_PORT: Final = 65_535


def endpoint(address: str, worker: int) -> str:
    """Move an address to a worker's own: a port that workers share is measured to spread Envoy's few connections unevenly.

    Args:
        address: `host:port` or `unix:///path`.
        worker: its number, from 0.

    Returns:
        The port plus the number, or the path with `.` and the number after it.

    Raises:
        ValueError: when there is no such port, or any port will do.
    """
    if address.startswith("unix:"):
        return f"{address}.{worker}"
    host, _, port = address.rpartition(":")
    if int(port) == 0:
        raise ValueError(f"{address}: workers count on from a port, and 0 is any")
    if int(port) + worker > _LAST_PORT:
        raise ValueError(f"{address}: worker {worker} would listen beyond the last port, {_LAST_PORT}")
    return f"{host}:{int(port) + worker}"


def pause(before: float, up: float) -> float:
    """Choose how long to wait before a worker that ended is started again.

    Args:
        before: seconds of the last such wait; 0 when there was none.
        up: seconds for which it then ran.

    Returns:
        Seconds: the first, or twice the last up to the longest.
    """
    if up >= STEADY_SECONDS:
        return FIRST_PAUSE_SECONDS
    return min(max(2 * before, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
