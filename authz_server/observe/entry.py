"""An entry of the decision log: one check and its answer, and the two forms in which it is written."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from authz_server.core.decisions import Allow, Deny
from authz_server.core.observation import Observation
from authz_server.core.reasons import Reason
from authz_server.observe import correlation

_quoted: Final = json.encoder.encode_basestring_ascii
_compact: Final = json.JSONEncoder(separators=(",", ":")).encode
_MAX_METHOD, _MAX_HOST = 16, 255
_BARE: Final = re.compile(r"[A-Za-z0-9_./:%\[\]-]+")
_ROUTE_WIDTH, _ASKED_WIDTH = 30, 24  # columns of the text; what is longer moves the rest of its line alone
_IDS: Final = ("request_id", "x_request_id", "trace_id")
_COLOURS: Final = {"allow": "32", "deny": "33", "unavailable": "31", "dim": "2"}  # ECMA-48 section 8.3.117


class Entry(NamedTuple):
    """One check and its answer.

    Args:
        time: Unix time of the answer.
        seconds: how long it took.
        method: as sent, see `brief`.
        host: as sent, see `brief`.
        request_id: the UUID that the answer or the request carries, or "".
        decision: the answer.
        sent_id: the request id as it came, or "".
        trace_id: of the trace that the request belongs to, or "".
    """

    time: float
    seconds: float
    method: str
    host: str
    request_id: str
    decision: Allow | Deny
    sent_id: str = ""
    trace_id: str = ""


def _answered(decision: Allow | Deny) -> str:
    why = f" {decision.response.status} {decision.reason.label}" if isinstance(decision, Deny) else ""
    return decision.decision + why


_ANSWER_WIDTH: Final = max(len(_answered(Deny(reason=reason))) for reason in Reason) + len(" 99.999 ms")

Line = Callable[[Entry], str]
Paint = Callable[[str, str], str]


def brief(method: str, host: str) -> tuple[str, str]:
    """Cut short what a client chose, before it waits for its turn; a user and password in front of a host go (RFC 9110 section 4.2.4)."""
    return method[:_MAX_METHOD], host.rpartition("@")[2][:_MAX_HOST]


def entry_of(observation: Observation) -> Entry:
    """Take out of an observation what its line needs."""
    time, seconds, request, decision, request_id, _ = observation
    headers = request.headers
    method, host = brief(request.method, request.host)
    own = request_id or correlation.request_id(headers)
    return Entry(time, seconds, method, host, own, decision, correlation.sent_id(headers), correlation.trace_id(headers))


def fields(entry: Entry) -> Mapping[str, Any]:
    """List what the log may say about a check. The path is left out: its variables and query may identify a person.

    Args:
        entry: the check.

    Returns:
        JSON members by name; claims only where the api names them in `log_claims`.
    """
    decision = entry.decision
    return {
        "time": _when(int(entry.time * 1000)),
        "decision": decision.decision,
        "api": decision.api,
        "route": decision.route,
        "method": entry.method,
        "host": entry.host,
        "request_id": entry.request_id,
        "duration_ms": round(entry.seconds * 1000, 3),
        **_more(entry),
    }


def _more(entry: Entry) -> dict[str, Any]:
    """List the members that only some entries have."""
    decision = entry.decision
    members: dict[str, Any] = {}
    if isinstance(decision, Deny):
        members = {"reason": decision.reason.label, "status": decision.response.status}
        if decision.details:
            members["details"] = dict(decision.details)
    else:
        if decision.logged:
            members["claims"] = dict(decision.logged)
        if decision.dropped:
            members["dropped_headers"] = list(decision.dropped)
    if entry.sent_id not in {"", entry.request_id}:
        members["x_request_id"] = entry.sent_id
    if entry.trace_id:
        members["trace_id"] = entry.trace_id
    return members


def as_json(entry: Entry) -> str:
    """Write an entry as one JSON object: `fields`, without a dictionary in between where it can be, since each check is written."""
    time, seconds, method, host, request_id, decision, sent_id, trace_id = entry
    if isinstance(decision, Allow) and not (decision.logged or decision.dropped or trace_id) and sent_id in {"", request_id}:
        rest = "}"
    else:
        rest = "," + _compact(_more(entry))[1:]
    return (
        f'{{"time":"{_when(int(time * 1000))}",{_answer(decision.decision, decision.api, decision.route)},"method":{_quoted(method)},'
        f'"host":{_quoted(host)},"request_id":{_quoted(request_id)},"duration_ms":{seconds * 1000:.3f}{rest}'
    )


@lru_cache(maxsize=1024)
def _answer(decision: str, api: str, route: str) -> str:
    return f'"decision":"{decision}","api":{_quoted(api)},"route":{_quoted(route)}'


@lru_cache(maxsize=4)
def _when(thousandth: int) -> str:
    return datetime.fromtimestamp(thousandth / 1000, UTC).isoformat(timespec="milliseconds")


def as_text(entry: Entry, paint: Paint = lambda _, text: text) -> str:
    """Write an entry for a person: columns for the answer, how long it took, the route and what was asked, then everything else.

    Args:
        entry: the check; whatever a client chose, and whatever has a space in it, is quoted.
        paint: given `allow`, `deny`, `unavailable` or `dim`, and a text, makes that text look so.

    Returns:
        The line, without its end.
    """
    members = fields(entry)
    answer = _answered(entry.decision)
    took = f"{members['duration_ms']:.3f} ms"
    pairs = {**members.get("details", {}), **members.get("claims", {})}
    if "dropped_headers" in members:
        pairs["dropped_headers"] = ",".join(members["dropped_headers"])
    ids = {name: members[name] for name in _IDS if members.get(name) and "reason" in members}  # to find a denial elsewhere
    columns = (
        paint("dim", f"{members['time'][11:23]}Z"),
        f"{paint(members['decision'], answer)}{' ' * max(1, _ANSWER_WIDTH - len(answer) - len(took))}{took}",
        f"{members['api'] or '-'} {members['route'] or '-'}".ljust(_ROUTE_WIDTH),
        paint("dim", f"{_bare(entry.method)} {_bare(entry.host)}".ljust(_ASKED_WIDTH if pairs or ids else 0)),
        _pairs(pairs),
        paint("dim", _pairs(ids)) if ids else "",
    )
    return "  ".join(column for column in columns if column)


def as_coloured_text(entry: Entry) -> str:
    """Write an entry as `as_text` does, in colours of a terminal."""
    return as_text(entry, lambda style, text: f"\x1b[{_COLOURS[style]}m{text}\x1b[0m")


def _pairs(pairs: Mapping[str, str]) -> str:
    return " ".join(f"{_bare(name)}={_bare(value)}" for name, value in pairs.items())


def _bare(text: str) -> str:
    return text if _BARE.fullmatch(text) else json.dumps(text)
