"""A list of revocations in Redis or Valkey: a sorted set of all that is refused, and a stream that tells of what is new.

What is refused stays so until its time is over or the stream says that it is taken back. A set that has lost entries, as after a failover to
an older copy, takes nothing back.
"""

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import redis

from authz_server.core.revocations import Revocation, Revocations
from authz_server.revocations.server import Server
from authz_server.revocations.source import MAX_ENTRIES, Observer, RevocationsError
from authz_server.revocations.text import parse, write
from authz_server.trust import distrust

KEY: Final = "authz:revocations"  # a sorted set: entries without `until`, which is their score
STREAM: Final = "authz:revocations:new"  # a stream: `entry`, `undo` with a name, or something else when the set alone says what is refused
MAX_STREAM: Final = 10_000
RESYNC_SECONDS: Final = 60.0  # after which all of the set is read again, whatever the stream told: what is over is let go
BLOCK_SECONDS: Final = 1.0  # for which news is waited for, or a quarter of the age that is allowed: each answer is a contact
WATCH_SECONDS: Final = 1.0
EXCHANGE_SECONDS: Final = 30.0  # for a whole command and its answer, however steadily octets come
MAX_PAUSE_SECONDS: Final = 5.0
SKEW_SECONDS: Final = 60.0  # for which what is over stays in the set: whoever's clock is behind would take it for lost
MAX_TOLD: Final = 100  # entries that can not be read
MAX_NEWS: Final = 1_000  # events at one time
WHAT_TO_DO: Final = "write them again for servers that start now, or take them back"
NO_EVENT: Final = b"0-0"
AFTER_ALL: Final = b"+"

Events = Sequence[tuple[bytes, Mapping[bytes, bytes]]]  # their ids and fields
Entries = dict[Revocation, float]  # as in the set: without `until`, which is the value


class SharedList:
    """Follow the list in a thread of its own, and keep what is known while Redis is away.

    Args:
        server: holds the list.
        revocations: kept up to date.
        observer: told how it goes.
        max_age: seconds after the last good contact from which nothing is said about tokens; infinity for never.
        now: seconds since 1970.
        clock: monotonic seconds.
        spread: random number from 0 to 1.
    """

    def __init__(
        self,
        server: Server,
        revocations: Revocations,
        observer: Observer,
        *,
        max_age: float,
        now: Callable[[], float],
        clock: Callable[[], float],
        spread: Callable[[], float],
    ) -> None:
        self._client: Any = server.client
        self._name = server.name
        self._revocations = revocations
        self._observer = observer
        self._max_age = max_age
        self._block = max(1, int(min(BLOCK_SECONDS, max_age / 4) * 1000))  # milliseconds; 0 would be for ever
        self._now = now
        self._clock = clock
        self._spread = spread
        self._last = AFTER_ALL  # event up to which the stream is known
        self._highest = _order(NO_EVENT)  # of any event that was ever read
        self._known: Entries = {}
        self._kept: Entries = {}  # those of them that Redis has lost
        self._unreadable: set[bytes] = set()  # that were told
        self.contact = -math.inf
        self._stop = threading.Event()
        self._asked = math.inf  # when the exchange with Redis began that is going on
        if max_age < math.inf:
            revocations.expires(self._is_fresh)
        self._threads = [
            threading.Thread(target=run, name=name, daemon=True)
            for name, run in (("revocations", self._run), ("age of revocations", self._watch))
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop following; an answer that is waited for at this moment is not awaited."""
        self._stop.set()

    def age(self) -> float:
        """Seconds since the list was known to be whole; infinity when it never was."""
        return self._clock() - self.contact

    def kept(self) -> int:
        """How many entries are refused that Redis has lost."""
        return len(self._kept)

    def _is_fresh(self) -> bool:
        return self.age() <= self._max_age

    def _watch(self) -> None:
        """End an exchange that takes too long, and have readiness looked at when the list becomes too old without a failure."""
        is_old = False
        while not self._stop.wait(WATCH_SECONDS):
            if self._clock() - self._asked > EXCHANGE_SECONDS:
                self._asked = math.inf
                self._client.connection_pool.disconnect()  # shuts the socket, so that the thread that reads from it wakes up
            was_old, is_old = is_old, self.contact > -math.inf and not self._is_fresh()
            if is_old and not was_old:
                self._observer.ended("failed", f"{self._name}: no answer for longer than --revocations-max-age")

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        self._asked = self._clock()
        try:
            yield
        finally:
            self._asked = math.inf

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._read_all()
                failures = 0
                self._follow()
            except Exception as error:  # noqa: BLE001 - whatever it is, the list must be followed again
                failures += 1
                self._failed(error)
                self._stop.wait(min(MAX_PAUSE_SECONDS, 0.1 * 2 ** min(failures, 10)) * (0.5 + self._spread() / 2))
        self._client.close()

    def _read_all(self) -> None:
        """Read the whole set at one moment, and what the stream has told before it; what is written after it comes by the stream."""
        with self._exchange(), self._client.pipeline() as pipe:
            now = _earlier(self._client, self._now())
            pipe.xrange(STREAM, self._last, count=MAX_STREAM)
            pipe.xrevrange(STREAM, count=1)
            pipe.zrangebyscore(KEY, now, "+inf", start=0, num=MAX_ENTRIES + 1, withscores=True)
            events, newest, members = pipe.execute()
        listed = self._entries(members)
        kept = self._stays(events, listed, now)
        if max(len(members), len(listed) + len(kept)) > MAX_ENTRIES:
            raise RevocationsError(f"{KEY} has more than {MAX_ENTRIES} entries that are not over")
        if kept.keys() - self._kept.keys():
            self._observer.lost(f"{self._name} has lost entries, {len(kept)} of which stay refused here; {WHAT_TO_DO}")
        self._kept, self._known = kept, listed | kept
        self._revocations.replace(_timed(self._known))
        self._read_up_to(_head(newest))

    def _stays(self, events: Events, listed: Entries, now: float) -> Entries:
        """Choose what stays refused although the set does not list it: whatever nobody has taken back since it was known."""
        follows = _head(events) == self._last  # else nobody can say what the set has lost
        told = events[1:] if follows else [event for event in events if _order(event[0]) > self._highest]
        again = follows and any(fields.keys().isdisjoint((b"entry", b"undo")) for _, fields in told)
        undone = {fields.get(b"undo") for _, fields in told}
        return {
            entry: until
            for entry, until in (self._kept if again else self._known).items()
            if until > max(now, listed.get(entry, -math.inf)) and _name(entry).encode() not in undone
        }

    def _follow(self) -> None:
        """Add what the stream tells of, until it takes something back, is another one, or it is time to read the whole set again."""
        until = self._clock() + RESYNC_SECONDS
        while not self._stop.is_set() and self._clock() < until:
            with self._exchange():
                self._client.xread({STREAM: self._last}, count=1, block=self._block)
                events = self._client.xrange(STREAM, self._last, count=MAX_NEWS)
            news = events[1:]
            readable = _head(events) == self._last and all(b"entry" in fields for _, fields in news)
            if not readable or len(self._known) + len(news) > MAX_ENTRIES:
                return
            if news:
                self._add(self._entries((fields[b"entry"], math.inf) for _, fields in news))
            self._read_up_to(events[-1][0] if events else NO_EVENT)

    def _add(self, entries: Entries) -> None:
        self._revocations.add(_timed(entries))
        for entry, until in entries.items():
            self._known[entry] = max(until, self._known.get(entry, -math.inf))

    def _entries(self, members: Iterable[tuple[bytes, float]]) -> Entries:
        """Read entries; one that can not be read refuses nothing, and the first few are told."""
        found: Entries = {}
        for member, score in members:
            try:
                entry = parse(member.decode("ascii"))
            except ValueError as error:
                if member not in self._unreadable and len(self._unreadable) < MAX_TOLD:
                    self._unreadable.add(member)
                    self._observer.unreadable(f"an entry in {self._name} can not be read and refuses nothing: {_why(error)}")
            else:
                timeless = entry._replace(until=math.inf)
                found[timeless] = max(min(entry.until, score), found.get(timeless, -math.inf))
        return found

    def _read_up_to(self, event: bytes) -> None:
        self._last, self._highest = event, max(self._highest, _order(event))
        self.contact = self._clock()
        self._observer.ended("ok", "")

    def _failed(self, error: Exception) -> None:
        what = str(error) if isinstance(error, RevocationsError) else _kind(error)
        self._observer.ended("failed", f"{self._name}: {what}")


def add(server: Server, revocation: Revocation, now: float) -> None:
    """Add a revocation for every server that follows the list, and let go of those whose time is over.

    Raises:
        RevocationsError: when Redis does not take it.
    """
    entry = write(revocation._replace(until=math.inf))
    with _told(), server.client.pipeline() as pipe:
        pipe.zremrangebyscore(KEY, "-inf", _earlier(server.client, now) - SKEW_SECONDS)
        pipe.zadd(KEY, {entry: revocation.until}, gt=True)
        pipe.xadd(STREAM, {"entry": write(revocation)}, maxlen=MAX_STREAM)
        pipe.execute()


def read(server: Server) -> list[Revocation]:
    """Read all revocations, also those whose time is over; what can not be read refuses nothing, and is left out.

    Raises:
        RevocationsError: when Redis does not give them.
    """
    client: Any = server.client
    with _told():
        members = client.zrange(KEY, 0, -1, withscores=True)
    found = []
    for member, score in members:
        with suppress(ValueError):
            entry = parse(member.decode("ascii"))
            found.append(entry._replace(until=min(entry.until, score)))
    return found


def remove(server: Server, revocation: Revocation) -> bool:
    """Take every entry with the kind and value of a revocation away; see `add`.

    Returns:
        Whether there was any. Servers that refuse one which Redis has lost take it back in any case.
    """
    client: Any = server.client
    with _told():
        members = [member for member in client.zrange(KEY, 0, -1) if _is_about(member, revocation)]
        with client.pipeline() as pipe:
            if members:
                pipe.zrem(KEY, *members)
            pipe.xadd(STREAM, {"undo": _name(revocation)}, maxlen=MAX_STREAM)
            pipe.execute()
    return bool(members)


def _earlier(client: Any, now: float) -> float:
    """Say what time it is at least: one clock that has gone ahead, here or at Redis, ends nothing for good."""
    seconds, microseconds = client.time()
    return min(now, float(seconds + microseconds / 1e6))


def _head(events: Events) -> bytes:
    return events[0][0] if events else NO_EVENT


def _order(event: bytes) -> tuple[int, ...]:
    """Say when an event was written, by the clock of Redis."""
    return tuple(map(int, event.split(b"-")))


def _timed(entries: Entries) -> Iterator[Revocation]:
    return (entry._replace(until=until) for entry, until in entries.items())


def _name(revocation: Revocation) -> str:
    return f"{revocation.kind}={revocation.value}"


def _is_about(member: bytes, revocation: Revocation) -> bool:
    try:
        entry = parse(member.decode("ascii"))
    except ValueError:
        return False
    return (entry.kind, entry.value) == (revocation.kind, revocation.value)


def _why(error: ValueError) -> str:
    return "it is not ASCII" if isinstance(error, UnicodeDecodeError) else str(error)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise RevocationsError(f"Redis did not take it ({_kind(error)}); is it there, and may this user write?") from error


def _kind(error: Exception) -> str:
    """Name an error without its text, which may hold what was sent; but say why a certificate was not believed."""
    why = distrust(error)
    return f"{type(error).__name__}: certificate verify failed: {why}" if why else type(error).__name__
