"""Calls of the grpcio door that clients hold open: they keep no thread from others, and end when they are too old or too many."""

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, Final, TypeVar

# grpcio has no other way to tell that a message has come. It was so from 1.66 to 1.85, by tests; a version without these names does not start.
from grpc._cython import cygrpc  # type: ignore[attr-defined]
from grpc._server import _RECEIVE_MESSAGE_TOKEN, _is_rpc_state_active, _receive_message

YOUNG_SECONDS: Final = 1.0

_Done = TypeVar("_Done")


class Held:
    """Calls that their clients hold open, oldest first.

    Args:
        most: how many, once they are no longer young: those that a busy moment brings are not meant.
        clock: monotonic seconds.
        seconds: how long.
    """

    def __init__(self, most: int, clock: Callable[[], float], seconds: float = math.inf) -> None:
        self._most = most
        self._clock = clock
        self._seconds = seconds
        self._since: dict[Any, float] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._since)

    def add(self, call: Any) -> None:
        """Take note of a call."""
        with self._lock:
            self._since[call] = self._clock()

    def discard(self, call: Any) -> None:
        """Forget a call, if it is still known."""
        with self._lock:
            self._since.pop(call, None)

    def sweep(self) -> None:
        """End those that have been open for too long, and the oldest where there are too many."""
        now = self._clock()
        with self._lock:
            excess = len(self._since) - self._most
            over = [
                call
                for at, (call, since) in enumerate(self._since.items())
                if now - since > (YOUNG_SECONDS if at < excess else self._seconds)
            ]
            for call in over:
                del self._since[call]
        for call in over:
            call.cancel()


class Arrivals(ThreadPoolExecutor):
    """No threads: calls of one message each wait here until it has come, and then are given to threads.

    grpcio gives a call to a thread when its head has come, and lets the thread wait for the message: with as many calls as there are
    threads, whose messages never come, nobody else would be answered.

    Args:
        pool: the threads.
        half_open: where calls are meanwhile.
    """

    def __init__(self, pool: ThreadPoolExecutor, half_open: Held) -> None:
        super().__init__(1)  # which it never starts
        self._pool = pool
        self._half_open = half_open

    def submit(self, call: Callable[..., _Done], /, *arguments: Any, **named: Any) -> Future[_Done]:
        """Take a call as grpcio hands it over, in the thread that will also tell of the message."""
        respond, event, state, behaviour, read, *codecs = arguments
        receive = _receive_message(state, event.call, codecs[0])  # what `read` would do first

        def arrived(received: Any) -> Any:
            self._half_open.discard(event.call)
            ended = receive(received)
            self._pool.submit(call, respond, event, state, behaviour, lambda: _request(state, read), *codecs, **named)
            return ended

        self._half_open.add(event.call)
        event.call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), arrived)
        state.due.add(_RECEIVE_MESSAGE_TOKEN)  # as `read` does
        return Future()


def _request(state: Any, read: Callable[[], Any]) -> Any:
    """Take the message of a call; without one, `read` tells the client, unless that has gone."""
    with state.condition:
        if state.request is not None and _is_rpc_state_active(state):  # as `read` does
            request, state.request = state.request, None
            return request
    return read()


class Lasting(ThreadPoolExecutor):
    """Threads for calls that last as long as their clients like.

    Args:
        name: of the threads.
        threads: how many.
        held: where calls are until they end.
    """

    def __init__(self, name: str, threads: int, held: Held) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._held = held

    def submit(self, call: Callable[..., _Done], /, *arguments: Any, **named: Any) -> Future[_Done]:
        """Take a call as grpcio hands it over."""
        _, event, *_ = arguments
        self._held.add(event.call)
        future = super().submit(call, *arguments, **named)
        future.add_done_callback(lambda _: self._held.discard(event.call))
        return future
