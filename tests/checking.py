"""A check with everything around it under the control of a test."""

from collections.abc import Callable

from authz_server.core.gateway import Gateway
from authz_server.engine.engine import Engine
from authz_server.engine.generation import Generation
from authz_server.observe.entry import Entry, entry_of
from authz_server.observe.metrics import Metrics
from authz_server.server.check import Check, CheckResponses


class ControlledCheck(Check):
    """A check as `serve` makes it, out of parts that a test gives.

    Args:
        budget: see `Engine`.
        now: see `Engine`.
        timer: see `Engine`.
        new_id: see `CheckResponses`.
        metrics: counts each check.
        log: takes an entry for each check, or None.
    """

    def __init__(
        self,
        budget: int,
        *,
        now: Callable[[], float],
        timer: Callable[[], float],
        new_id: Callable[[], str],
        metrics: Metrics,
        log: Callable[[Entry], None] | None = None,
    ) -> None:
        observers = () if log is None else (lambda observation: log(entry_of(observation)),)
        self.engine = Engine(CheckResponses(new_id), budget, now=now, timer=timer, counts=metrics, observers=observers)
        super().__init__(self.engine, timer)

    def swap(self, gateway: Gateway) -> None:
        """Decide with another configuration from now on."""
        self.engine.swap(gateway)

    @property
    def running(self) -> Generation[bytes]:
        """The running generation."""
        return self.engine.generation
