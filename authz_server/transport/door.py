"""What every door is handed, and what it promises."""

from concurrent.futures import Future
from typing import Final, Protocol

MAX_WAIT_SECONDS: Final = 1.0  # for keys that are being fetched
MARGIN_SECONDS: Final = 0.02  # left of a caller's deadline for the answer to travel


class Wait(Protocol):
    """A check that needs keys which are being fetched."""

    @property
    def fetch(self) -> Future[None]:
        """Done when the fetch has ended, good or bad."""
        ...

    def resume(self) -> bytes:
        """Answer now that the fetch has ended."""
        ...

    def refuse(self) -> bytes:
        """Answer without the keys: a 503 denial."""
        ...


class Check(Protocol):
    """Answers a check; never blocks and never raises."""

    def __call__(self, data: bytes) -> bytes | Wait:
        """Answer the bytes of a CheckRequest with the bytes of a CheckResponse, or ask to wait."""
        ...


class ListenError(Exception):
    """An address that can not be listened on."""


class Door(Protocol):
    """A gRPC server that asks a check."""

    def listen(self, address: str) -> None:
        """Bind an address.

        Args:
            address: `host:port` or `unix:///path`.

        Raises:
            ListenError: when it is taken or no address.
        """
        ...

    def start(self) -> None:
        """Begin to answer."""
        ...

    def serving(self, *, ready: bool) -> None:
        """Tell health checks whether to send traffic here."""
        ...

    def stop(self, grace: float) -> None:
        """Take no new calls, finish those in flight, and close.

        Args:
            grace: seconds after which calls still in flight are cut off.
        """
        ...
