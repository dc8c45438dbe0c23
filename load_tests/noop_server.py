"""A server that allows everything without looking: what any answer costs at a door, whoever gives it.

    python noop_server.py asyncio|grpcio PORT

The door is ours. As the no-ops in other languages do, it reads the CheckRequest, and looks at nothing in it; every answer is the same
bytes, about as many as ours has.
"""

import signal
import sys

from authz_server.core.decisions import Allow
from authz_server.envoy import response
from authz_server.envoy.stubs import CheckRequest
from authz_server.transport.door import Door
from authz_server.transport.event_loop import EventLoopDoor
from authz_server.transport.grpcio import GrpcioDoor

HEADERS = (("x-auth-sub", "7d8ca528-4931-4254-9273-ea5ee853f271"), ("x-auth-email", "ada@example.com"), ("x-auth-username", "ada"))
DOORS = {"asyncio": EventLoopDoor, "grpcio": GrpcioDoor}


def main() -> None:
    """Serve until SIGTERM."""
    _, transport, port = sys.argv
    answer = response.allow(Allow(api="", route="", headers=HEADERS))

    def allow(data: bytes) -> bytes:
        CheckRequest.FromString(data)
        return answer

    door: Door = DOORS[transport](allow)
    door.listen(f"127.0.0.1:{port}")
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # for the threads of the door, too
    door.start()
    door.serving(ready=True)
    signal.sigwait(ends)
    door.stop(0)


if __name__ == "__main__":
    main()
