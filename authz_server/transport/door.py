"""What every door is handed, and what it promises."""

from concurrent.futures import Future
from typing import Final, Protocol

EXPECTED_TIMEOUT: Final = "x-envoy-expected-rq-timeout-ms"
MAX_WAIT_SECONDS: Final = 1.0  # for keys that are being fetched
LIFETIME_SECONDS: Final = 300.0  # of a connection, give or take a tenth; spreads Envoy's connections anew after a restart
MARGIN_SECONDS: Final = 0.02  # left of a caller's deadline for the answer to travel

_DIGITS: Final = 8  # of a number that is worth reading


def patience(deadline: float | None, expected: str | bytes | None) -> float:
    """Say how long a check may wait for keys, so that our own answer arrives before the caller gives up.

    Args:
        deadline: seconds that the call has left, or None.
        expected: milliseconds that Envoy gives this try, as it says in `x-envoy-expected-rq-timeout-ms`, or None.

    Returns:
        Seconds, one at most.

    Source: Envoy sends its whole timeout as `grpc-timeout` and the shorter one of each try in that header.
    """
    budgets = [MAX_WAIT_SECONDS]
    if deadline is not None:
        budgets.append(deadline - MARGIN_SECONDS)
    if expected is not None and expected.isdigit() and len(expected) <= _DIGITS:
        budgets.append(int(expected) / 1000 - MARGIN_SECONDS)
    return max(0.0, min(budgets))


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
