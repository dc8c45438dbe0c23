"""What every door is handed, and what it promises."""

import math
from concurrent.futures import Future
from typing import Final, Protocol

EXPECTED_TIMEOUT: Final = "x-envoy-expected-rq-timeout-ms"
MAX_WAIT_SECONDS: Final = 1.0  # for keys that are being fetched
LIFETIME_SECONDS: Final = 300.0  # of a connection, give or take a tenth; spreads Envoy's connections anew after a restart
MARGIN_SECONDS: Final = 0.02  # left of a caller's deadline for the answer to travel

_DIGITS: Final = 8  # of a number that is worth reading


def tried(expected: str | bytes | None) -> float:
    """Say how long Envoy waits for the answer to one try.

    Args:
        expected: milliseconds, as it says in `x-envoy-expected-rq-timeout-ms`, or None.

    Returns:
        Seconds; infinity when it does not say.

    Source: Envoy sends its whole timeout as `grpc-timeout` and the shorter one of each try in that header.
    """
    if expected is not None and expected.isascii() and expected.isdigit() and len(expected) <= _DIGITS:
        return int(expected) / 1000
    return math.inf


def patience(left: float) -> float:
    """Say how long a check may wait for keys, so that our own answer arrives before the caller gives up.

    Args:
        left: seconds until the caller gives up.

    Returns:
        Seconds, one at most.
    """
    return max(0.0, min(MAX_WAIT_SECONDS, left - MARGIN_SECONDS))


def late(waited: float, left: float) -> bool:
    """Say whether a check has waited so long for its turn that its answer would come after the caller gave up.

    Args:
        waited: seconds that it has waited.
        left: seconds until the caller gives up.

    Returns:
        Whether less than a third of the time that its caller gives it is left: a server that is behind takes longer than usual.
    """
    return left <= waited / 2


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

    def refuse(self, data: bytes | None, waited: float) -> bytes:
        """Answer a check without deciding it, since that would take too long: a 503 denial.

        Args:
            data: bytes of a CheckRequest, or None when they were not read.
            waited: seconds that it has waited for its turn.

        Returns:
            Bytes of a CheckResponse.
        """
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
