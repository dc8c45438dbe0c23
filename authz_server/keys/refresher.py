"""The background thread that fetches key sets when they are due or asked for."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

from authz_server.core.user_pools import UserPool
from authz_server.keys.fetch import Answer, Fetch, FetchError
from authz_server.keys.jwks import JwksError, KeySet, parse
from authz_server.keys.life_cycle import Good, Standing, failed, fetched
from authz_server.keys.store import PoolKeys
from authz_server.keys.turns import Turns

PLACES: Final[Mapping[Standing, int]] = {
    Standing.UNTRIED: 32,
    Standing.GOOD: 32,
    Standing.FAILED: 8,
}  # the dead ones only starve each other
LOOK_SECONDS: Final = 10.0  # between looks at the clock, which may have gone on while the loop's own stood still
THREADS: Final = 256  # for names and files; a name whose servers are silent takes one for many times as long as its fetch
MAX_SKIPPED: Final = 5  # that are named in the log
MAX_DETAIL: Final = 1_000  # characters; whoever publishes keys chooses their names
GOOD: Final = frozenset({"ok", "unchanged"})  # how a good fetch ends


class Observer(Protocol):
    """Whoever wants to know how fetches end."""

    def fetch_ended(self, keys: PoolKeys, outcome: str, detail: str) -> None:
        """Take note of a fetch.

        Args:
            keys: whose; its state is the new one.
            outcome: `ok`, `unchanged`, which is as good, or a short label of the failure.
            detail: sentence for the log.
        """
        ...


class KeyRefresher:
    """Run one task per user pool on an event loop in a thread of its own; checks never wait here.

    After `close` nothing is fetched any more: what is asked of it does nothing, except that whoever waits for keys is woken.

    Args:
        fetch: brings the bytes of a document.
        clock: monotonic seconds.
        spread: random number from -1 to 1.
        observer: told about each fetch.
    """

    def __init__(self, fetch: Fetch, clock: Callable[[], float], spread: Callable[[], float], observer: Observer) -> None:
        self._fetch = fetch
        self._clock = clock
        self._spread = spread
        self._observer = observer
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(THREADS, "keys"))
        self._turns = {standing: Turns(places) for standing, places in PLACES.items()}
        self._tasks: dict[PoolKeys, asyncio.Task[None]] = {}
        self._wanted: dict[PoolKeys, asyncio.Event] = {}
        self._again: set[PoolKeys] = set()  # whose fetch, if one is under way, began before what it is to learn
        self._is_closed = False
        self._lock = threading.Lock()  # what is handed to the loop before it closes is done, and what comes later is not handed to it
        self._looking = self._loop.create_task(self._look_at_the_clock())
        self._thread = threading.Thread(target=self._loop.run_forever, name="keys", daemon=True)
        self._thread.start()

    def watch(self, keys: PoolKeys) -> None:
        """Fetch these keys now and whenever they are due."""
        self._hand_on(partial(self._begin, keys))

    def unwatch(self, keys: PoolKeys) -> None:
        """Leave these keys alone."""
        self._hand_on(partial(self._end, keys))

    def ask(self, keys: PoolKeys) -> None:
        """Fetch these keys now, unless a fetch has ended meanwhile and nobody waits any more."""
        if not self._hand_on(partial(self._wake, keys)):
            keys.release()

    def renew(self, keys: PoolKeys) -> None:
        """Fetch these keys now, and once more if a fetch is under way: what it brings may be older than the wish."""
        self._hand_on(partial(self._renew, keys))

    def configure(self, keys: PoolKeys, pool: UserPool) -> None:
        """Keep these keys as their pool says from now on, and fetch them as it says; nobody else changes their state."""
        self._hand_on(partial(self._configure, keys, pool))

    def close(self) -> None:
        """Stop fetching and end the thread; a second time does nothing."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        asyncio.run_coroutine_threadsafe(self._cancel(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _hand_on(self, step: Callable[[], None]) -> bool:
        """Have the loop do something, unless it is closed; tell whether it will."""
        with self._lock:
            if not self._is_closed:
                self._loop.call_soon_threadsafe(step)
            return not self._is_closed

    def _begin(self, keys: PoolKeys) -> None:
        self._wanted[keys] = asyncio.Event()
        self._tasks[keys] = self._loop.create_task(self._keep_fresh(keys))

    def _end(self, keys: PoolKeys) -> None:
        self._wanted.pop(keys)
        self._again.discard(keys)
        self._tasks.pop(keys).cancel()
        keys.release()

    def _wake(self, keys: PoolKeys) -> None:
        event = self._wanted.get(keys)
        if event is None:  # no longer watched
            keys.release()
        elif keys.awaited():
            event.set()
            self._turns[keys.state.standing].prefer(keys)

    def _configure(self, keys: PoolKeys, pool: UserPool) -> None:
        keys.configure(pool)
        self._renew(keys)

    def _renew(self, keys: PoolKeys) -> None:
        if keys in self._wanted:  # else it is no longer watched
            self._again.add(keys)
            self._wanted[keys].set()

    async def _cancel(self) -> None:
        self._looking.cancel()
        tasks = (self._looking, *self._tasks.values())
        for keys in tuple(self._tasks):
            self._end(keys)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_at_the_clock(self) -> None:
        """Begin what became due while the machine was suspended, when timers stand still."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = self._clock()
            for keys, wanted in self._wanted.items():
                if keys.state.due <= now:
                    wanted.set()

    async def _keep_fresh(self, keys: PoolKeys) -> None:
        wanted = self._wanted[keys]
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, keys.state.due - self._clock())):
                    await wanted.wait()
            async with self._turns[keys.state.standing].turn(keys):
                self._again.discard(keys)
                await self._refresh(keys)
            if keys not in self._again:
                wanted.clear()

    async def _refresh(self, keys: PoolKeys) -> None:
        before = keys.state
        try:
            answer = await self._fetch(keys.pool, before.etag)
            key_set = _key_set(answer, before.key_set)
        except FetchError as error:
            self._failed(keys, error.outcome, str(error))
        except JwksError as error:
            self._failed(keys, "content", str(error))
        except Exception as error:  # noqa: BLE001 - a bug must not end the task that keeps this pool's keys fresh
            self._failed(keys, "bug", repr(error))
        else:
            good = Good(key_set, answer.etag, answer.max_age, keys.asked())
            keys.put(fetched(keys.state, good, self._clock(), self._spread()))
            self._tell(keys, "ok" if answer.document is not None else "unchanged", _brief(key_set.skipped))

    def _failed(self, keys: PoolKeys, outcome: str, detail: str) -> None:
        keys.put(failed(keys.state, self._clock(), self._spread()))
        self._tell(keys, outcome, detail)

    def _tell(self, keys: PoolKeys, outcome: str, detail: str) -> None:
        try:
            self._observer.fetch_ended(keys, outcome, _cut(detail))
        except Exception as error:  # noqa: BLE001 - as above
            self._loop.call_exception_handler({"message": "bug: whoever watches key fetches failed", "exception": error})


def _key_set(answer: Answer, before: KeySet | None) -> KeySet:
    """Read what a place answered, or keep what has not changed."""
    if answer.document is None and before is not None:
        return before
    return parse(answer.document or b"")


def _brief(skipped: tuple[str, ...]) -> str:
    """Name the first of the keys that are not usable, and count the others."""
    told = [_cut(why, MAX_DETAIL // (MAX_SKIPPED + 1)) for why in skipped[:MAX_SKIPPED]]
    more = len(skipped) - len(told)
    return "; ".join([*told, f"and {more} more"] if more else told)


def _cut(text: str, length: int = MAX_DETAIL) -> str:
    return text if len(text) <= length else text[: length - 2] + " …"
