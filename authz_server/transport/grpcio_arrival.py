"""The way of calls to the threads of the grpcio door: a call whose message does not come keeps none from others."""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

# grpcio has no other way to tell that a message has come. `grpcio_releases` imports this module where it was tested.
from grpc._cython import cygrpc  # type: ignore[attr-defined]
from grpc._server import _RECEIVE_MESSAGE_TOKEN, _is_rpc_state_active, _receive_message

from authz_server.transport.grpcio_held import OpenCalls

MESSAGE_SECONDS: Final = 0.1  # for which a thread waits for the message of a call
WARY_SECONDS: Final = 0.25  # for which none waits, after one that did so in vain
PLACES: Final = 8  # for calls that last, of each thread: a flood of them waits nowhere

_Done = TypeVar("_Done")


class Arrivals(ThreadPoolExecutor):
    """No threads of its own: hands calls of one message each to a pool's, and takes those back whose message does not come.

    grpcio gives a call to a thread when its head has come, and lets the thread wait for the message: with as many calls as there are
    threads, whose messages never come, nobody else would be answered. Here it waits for a moment, in which an honest client's message
    comes. A call that takes longer waits without a thread, and so does every other for a while from then on.

    Threads should wait all the same: if they took one call after the other, the one that takes in new ones would hardly get its turn among
    them, and calls would wait unseen, where nobody counts for how long.

    Args:
        pool: the threads.
        half_open: where calls are that wait without one.
        clock: monotonic seconds.
    """

    def __init__(self, pool: ThreadPoolExecutor, half_open: OpenCalls, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(1)  # which it never starts
        self._pool = pool
        self._half_open = half_open
        self._clock = clock
        self._in_vain = -math.inf  # when a thread last waited so

    def submit(self, call: Callable[..., _Done], /, *arguments: Any, **named: Any) -> Future[_Done]:
        """Take a call as grpcio hands it over."""
        return self._pool.submit(partial(self._receive, call), *arguments, **named)  # type: ignore[arg-type]

    def _receive(
        self, call: Callable[..., object], respond: object, event: Any, state: Any, behaviour: object, read: Any, *codecs: Any, **named: Any
    ) -> None:
        """Receive the message and go on with the call; later, and in another thread, if it does not come soon."""
        rest = (respond, event, state, behaviour, lambda: _request(state, read), *codecs)
        receive = _receive_message(state, event.call, codecs[0])
        is_here = is_parked = False

        def arrived(received: Any) -> Any:
            nonlocal is_here
            ended = receive(received)
            with state.condition:
                is_here = True
                state.condition.notify_all()
            if is_parked:
                self._half_open.discard(event.call)
                self._pool.submit(call, *rest, **named)
            return ended

        with state.condition:
            if not _is_rpc_state_active(state):
                return
            event.call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), arrived)  # as `read` does
            state.due.add(_RECEIVE_MESSAGE_TOKEN)
            if self._clock() - self._in_vain > WARY_SECONDS and not state.condition.wait_for(lambda: is_here, MESSAGE_SECONDS):
                self._in_vain = self._clock()
            if not is_here:
                is_parked = True
                self._half_open.add(event.call)
        if not is_parked:
            call(*rest, **named)


def _request(state: Any, read: Callable[[], Any]) -> Any:
    """Take the message of a call; without one, `read` tells the client, unless that has gone."""
    with state.condition:
        if state.request is not None and _is_rpc_state_active(state):  # as `read` does
            request, state.request = state.request, None
            return request
    return read()


class Lasting(ThreadPoolExecutor):
    """Threads for calls that last as long as their clients like: some more calls wait for one, and the rest is cancelled.

    Args:
        name: of the threads.
        threads: how many.
        held: where calls are until they end.
    """

    def __init__(self, name: str, threads: int, held: OpenCalls) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._most = PLACES * threads
        self._held = held

    def submit(self, call: Callable[..., _Done], /, *arguments: Any, **named: Any) -> Future[_Done]:
        """Take a call as grpcio hands it over."""
        _, event, *_ = arguments
        if len(self._held) >= self._most:
            event.call.cancel()
            return Future()  # of which grpcio asks nothing
        self._held.add(event.call)
        future = super().submit(call, *arguments, **named)
        future.add_done_callback(lambda _: self._held.discard(event.call))
        return future
