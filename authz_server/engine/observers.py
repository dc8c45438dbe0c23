"""Observers: who sees each check."""

import logging
from collections.abc import Iterable
from typing import Final

from authz_server.core.observation import Observation, Observer
from authz_server.observe.logs import bug

_logger: Final = logging.getLogger(__name__)


class Observers:
    """Show each check to observers. One that raises is switched off and logged, and no answer changes.

    Args:
        observers: are called in the thread of the check, and must not block.
    """

    __slots__ = ("_observers",)

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def __bool__(self) -> bool:
        """Whether anybody watches."""
        return bool(self._observers)

    def __call__(self, observation: Observation) -> None:
        """Show a check."""
        for observer in self._observers:
            try:
                observer(observation)
            except Exception as error:  # noqa: BLE001 - whatever it is, the check must be answered
                self._switch_off(observer, error)

    def _switch_off(self, observer: Observer, error: Exception) -> None:
        left = tuple(each for each in self._observers if each is not observer)
        if len(left) < len(self._observers):  # else another thread was first
            self._observers = left
            bug(_logger, error, f"in an observer of checks, which is switched off until the next start: {observer!r}")
