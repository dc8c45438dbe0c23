"""Releases of grpcio: those whose own names were tested, and what a server does without with another one.

`grpcio_arrival` needs names that grpcio does not promise to keep. A release that was not tested may mean something else by them, and then no
call would be answered. So it gets plain threads, and the log says what that costs.
"""

import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import grpc

from authz_server.transport.grpcio_held import OpenCalls

FIRST_TESTED: Final = (1, 66)
LAST_TESTED: Final = (1, 85)

_MINOR: Final = re.compile(r"(\d+)\.(\d+)", re.ASCII)
_logger: Final = logging.getLogger(__name__)


class Pools(NamedTuple):
    """How the door makes the pools of threads that calls run in.

    Args:
        arrivals: puts something before a pool that takes calls without a message from its threads.
        lasting: makes so many threads of a name, for calls that last, and notes which are open.
    """

    arrivals: Callable[[ThreadPoolExecutor, OpenCalls], ThreadPoolExecutor]
    lasting: Callable[[str, int, OpenCalls], ThreadPoolExecutor]


def choose_pools() -> Pools:
    """Choose how pools are made: guarded against calls that are held open, or plain where grpcio was not tested."""
    if _is_tested(grpc.__version__):
        try:
            from authz_server.transport.grpcio_arrival import Arrivals, Lasting  # noqa: PLC0415 - its imports fail with another release
        except ImportError:  # a build of its own
            pass
        else:
            return Pools(Arrivals, Lasting)
    first, last = (".".join(map(str, release)) for release in (FIRST_TESTED, LAST_TESTED))
    _logger.warning(
        "grpcio %s was not tested with this server (%s to %s were), which starts without a guard: clients that open calls and send no message "
        "keep threads from others; install grpcio %s, or use --transport asyncio",
        grpc.__version__,
        first,
        last,
        last,
    )
    return Pools(_plain_arrivals, _plain_lasting)


def _is_tested(release: str) -> bool:
    found = _MINOR.match(release)
    return found is not None and FIRST_TESTED <= (int(found[1]), int(found[2])) <= LAST_TESTED


def _plain_arrivals(pool: ThreadPoolExecutor, _: OpenCalls) -> ThreadPoolExecutor:
    return pool


def _plain_lasting(name: str, threads: int, _: OpenCalls) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix=name)
