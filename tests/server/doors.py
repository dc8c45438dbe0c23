"""A check behind a real door, asked over a real socket."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from authz_server.demo.process import free_port
from authz_server.server.check import Check
from authz_server.transport.door import Door
from authz_server.transport.event_loop import EventLoopDoor
from authz_server.transport.grpcio import GrpcioDoor
from authz_server.transport.guard import OPEN
from tests.waiting import PATIENCE

TRANSPORTS = ("grpcio", "asyncio")


@contextmanager
def behind(transport: str, check: Check) -> Iterator[Callable[[bytes], bytes]]:
    """Serve a check.

    Args:
        transport: one of TRANSPORTS.
        check: answers.

    Yields:
        What to ask in its place; an error of gRPC is raised.
    """
    door: Door = GrpcioDoor(check, 2, OPEN) if transport == "grpcio" else EventLoopDoor(check, guard=OPEN)
    address = f"127.0.0.1:{free_port()}"
    door.listen(address)
    door.start()
    try:
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary("/envoy.service.auth.v3.Authorization/Check")
            yield lambda data: call(data, timeout=PATIENCE, wait_for_ready=True)
    finally:
        door.stop(0)
