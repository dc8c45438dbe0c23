"""The decision log: one line per check, without token, signature, path or claim values."""

import json
import logging
import select
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple, TextIO

from authz_server.core.decisions import Allow, Deny
from authz_server.observe.logs import bug

MAX_WAITING: Final = 100_000
CLOSE_SECONDS: Final = 5.0
FLUSH_SECONDS: Final = 0.02  # short, so that writing what has gathered does not hold up checks
_logger: Final = logging.getLogger(__name__)
_quoted: Final = json.encoder.encode_basestring_ascii
_MAX_METHOD, _MAX_HOST = 16, 255


class Entry(NamedTuple):
    """One check and its answer.

    Args:
        time: Unix time of the answer.
        seconds: how long it took.
        method: as sent, see `brief`.
        host: as sent, see `brief`.
        request_id: the UUID that the answer or the request carries, or "".
        decision: the answer.
    """

    time: float
    seconds: float
    method: str
    host: str
    request_id: str
    decision: Allow | Deny


Line = Callable[[Entry], str]


def fields(entry: Entry) -> Mapping[str, Any]:
    """List what may be told about a check. The path is not: its variables and query may identify a person.

    Args:
        entry: the check.

    Returns:
        JSON members by name; claims only where the api names them in `log_claims`.
    """
    decision = entry.decision
    told: dict[str, Any] = {
        "time": _when(int(entry.time * 1000)),
        "decision": decision.decision,
        "api": decision.api,
        "route": decision.route,
        "method": entry.method,
        "host": entry.host,
        "request_id": entry.request_id,
        "duration_ms": round(entry.seconds * 1000, 3),
    }
    if isinstance(decision, Deny):
        told |= {"reason": decision.reason.label, "status": decision.reason.value.status}
    elif decision.logged:
        told["claims"] = dict(decision.logged)
    return told


def as_json(entry: Entry) -> str:
    """Write an entry as one JSON object: `fields`, without a dictionary in between, since each check is written."""
    time, seconds, method, host, request_id, decision = entry
    if isinstance(decision, Deny):
        rest = f',"reason":"{decision.reason.label}","status":{decision.reason.value.status}'
    else:
        rest = f',"claims":{json.dumps(dict(decision.logged), separators=(",", ":"))}' if decision.logged else ""
    return (
        f'{{"time":"{_when(int(time * 1000))}",{_answer(decision.decision, decision.api, decision.route)},"method":{_quoted(method)},'
        f'"host":{_quoted(host)},"request_id":{_quoted(request_id)},"duration_ms":{seconds * 1000:.3f}{rest}}}'
    )


@lru_cache(maxsize=1024)
def _answer(decision: str, api: str, route: str) -> str:
    return f'"decision":"{decision}","api":{_quoted(api)},"route":{_quoted(route)}'


def brief(method: str, host: str) -> tuple[str, str]:
    """Cut short what a client chose, before it waits for its turn; a user and password in front of a host go (RFC 9110 section 4.2.4)."""
    return method[:_MAX_METHOD], host.rpartition("@")[2][:_MAX_HOST]


@lru_cache(maxsize=4)
def _when(thousandth: int) -> str:
    return datetime.fromtimestamp(thousandth / 1000, UTC).isoformat(timespec="milliseconds")


def as_text(entry: Entry) -> str:
    """Write an entry for a person at a terminal; whatever a client chose is quoted."""
    told = fields(entry)
    why = f"{told['status']} {told['reason']}" if "status" in told else json.dumps(told.get("claims", ""))[1:-1]
    place = f"{told['api'] or '-'} {told['route'] or '-'}"
    asked = json.dumps(f"{told['method']} {told['host']}")
    return f"{told['time'][11:23]} {told['decision']:<11} {place}  {asked}  {told['duration_ms']} ms  {why}".rstrip()


def writes(lines: Iterable[str]) -> Iterator[list[str]]:
    """Group lines into writes that a pipe takes whole, so that lines of several workers never mix.

    Args:
        lines: each with its end.

    Yields:
        Lines of `PIPE_BUF` octets together at most, or one that is longer.

    Source:
        pipe(7), "PIPE_BUF".
    """
    together: list[str] = []
    left = select.PIPE_BUF
    for line in lines:
        size = len(line) if line.isascii() else len(line.encode(errors="surrogatepass"))
        if together and size > left:
            yield together
            together, left = [], select.PIPE_BUF
        together.append(line)
        left -= size
    if together:
        yield together


class DecisionLog:
    """Write entries from a thread of its own, so that a slow reader of the log never holds up a check.

    Args:
        stream: where lines go.
        line: how an entry becomes a line.
        dropped: told how many lines were lost when the stream could not take them, or because of a bug.
    """

    def __init__(self, stream: TextIO, line: Line, dropped: Callable[[int], None]) -> None:
        self._stream = stream
        self._line = line
        self._dropped = dropped
        self._waiting: deque[Entry] = deque()
        self._told = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decision log", daemon=True)
        self._thread.start()

    def __call__(self, entry: Entry) -> None:
        """Take an entry; never blocks."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(entry)
        else:
            self._dropped(1)

    def close(self) -> None:
        """Write what is left and end the thread, unless nobody reads."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)  # a reader that is stuck does not keep the process from ending

    def _run(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        entries = [self._waiting.popleft() for _ in range(len(self._waiting))]
        for together in writes(self._lines(entries)):
            try:
                self._stream.write("".join(together))
                self._stream.flush()
            except (OSError, ValueError):  # a closed pipe or stream
                self._dropped(len(together))

    def _lines(self, entries: Iterable[Entry]) -> Iterator[str]:
        for entry in entries:
            try:
                line = self._line(entry) + "\n"
            except Exception as error:  # noqa: BLE001 - a bug must not end the thread that writes all the others
                self._dropped(1)
                self._tell(error)
            else:
                yield line

    def _tell(self, error: Exception) -> None:
        """Say once where the bug is, without the values that were at hand."""
        if not self._told:
            self._told = True
            bug(_logger, error, "while writing the decision log")
