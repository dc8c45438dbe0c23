"""The queue of the grpcio door: as long as we say, and what finds no place in it is answered at once."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar, cast

import grpc

_Done = TypeVar("_Done")

Answer = Callable[[float, bytes, grpc.ServicerContext], bytes]
Refuse = Callable[[], bytes]


class Queue(ThreadPoolExecutor):
    """Threads that know how many calls have one, or wait for one.

    grpcio has a limit of its own, `maximum_concurrent_rpcs`, but answers with a gRPC error beyond it.

    Args:
        threads: how many calls run at once.
        most: how many may be in progress.
        clock: monotonic seconds.
    """

    def __init__(self, threads: int, most: int, clock: Callable[[], float]) -> None:
        super().__init__(threads, thread_name_prefix="check")
        self._most = most
        self._in_progress = 0
        self._lock = Lock()
        self.clock = clock

    @property
    def full(self) -> bool:
        """Whether there is no place left."""
        return self._in_progress >= self._most

    def submit(self, call: Callable[..., _Done], /, *arguments: Any, **named: Any) -> Future[_Done]:
        """Take a call."""
        with self._lock:
            self._in_progress += 1
        future = super().submit(call, *arguments, **named)
        future.add_done_callback(self._leave)
        return future

    def _leave(self, _: Future[Any]) -> None:
        with self._lock:
            self._in_progress -= 1


class AtOnce(ThreadPoolExecutor):
    """No threads: what it is given is done at once, by whoever gives it."""

    def __init__(self) -> None:
        super().__init__(1)  # which it never starts

    def submit(self, call: Callable[..., _Done], /, *arguments: Any, **named: Any) -> Future[_Done]:
        """Do it."""
        future = Future[_Done]()
        try:
            future.set_result(call(*arguments, **named))
        except Exception as error:  # noqa: BLE001 - it must not end the thread that takes calls
            future.set_exception(error)
        return future


class _Call:
    """What grpcio is to do with a call.

    Args:
        pool: the threads that do it, as grpcio wants to be told.
        answer: what they do.
    """

    def __init__(self, pool: ThreadPoolExecutor, answer: Callable[[Any, grpc.ServicerContext], Any]) -> None:
        self.experimental_thread_pool = pool
        self._answer = answer

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._answer(request, context)


def move(servicer: object, method: str, pool: ThreadPoolExecutor) -> None:
    """Have a method of a servicer done by other threads than its server's."""
    setattr(servicer, method, _Call(pool, getattr(servicer, method)))


class Queued(grpc.GenericRpcHandler):
    """Put the calls of a unary method into a queue, or refuse them when it is full.

    grpcio asks `service` in the one thread that takes calls. A refusal is written right there: it costs no turn of a thread, and the
    message is not read, for which a call that is announced as a stream need not wait.

    Args:
        method: its path.
        queue: where its calls wait for a thread.
        arrivals: the way into it.
        answer: is given how many seconds a call has waited, its message and its context.
        refuse: answers a call that finds no place.
    """

    def __init__(self, method: str, queue: Queue, arrivals: ThreadPoolExecutor, answer: Answer, refuse: Refuse) -> None:
        self._method = method
        self._queue = queue
        self._arrivals = arrivals
        self._answer = answer
        self._full: grpc.RpcMethodHandler[Any, bytes] = grpc.stream_unary_rpc_method_handler(_Call(AtOnce(), lambda *_: refuse()))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Say what is to be done with a call."""
        if handler_call_details.method != self._method:
            return None
        if self._queue.full:
            return cast("grpc.RpcMethodHandler[bytes, bytes]", self._full)
        queue, answer, came = self._queue, self._answer, self._queue.clock()
        call = _Call(self._arrivals, lambda data, context: answer(queue.clock() - came, data, context))
        return grpc.unary_unary_rpc_method_handler(call)
