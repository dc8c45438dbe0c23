"""The other end of a connection, as the connection sees it."""

from collections.abc import Callable
from typing import Protocol

from authz_server.transport.call import Cancel
from authz_server.transport.door import Wait

Reply = Callable[[bytes], None]


class Peer(Protocol):
    """The other end of a connection."""

    def write(self, octets: bytes) -> None:
        """Send octets."""
        ...

    def end(self) -> None:
        """Send what was written, and close."""
        ...

    def wait(self, check: Wait, seconds: float, reply: Reply) -> Cancel:
        """Call back once with the answer of a check that waits for keys, in so many seconds at most, unless that is cancelled."""
        ...
