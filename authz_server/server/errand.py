"""Errands: what is done in a thread of its own, so that nothing that hangs there keeps the server from ending."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from authz_server.observe.logs import bug

_logger: Final = logging.getLogger(__name__)


class Errand:
    """Do one thing whenever it is asked for; one run answers all that came before it.

    Args:
        name: of the thread.
        act: what is done. An exception is a bug, which is logged.
    """

    def __init__(self, name: str, act: Callable[[], None]) -> None:
        self._act = act
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Have it done; never blocks."""
        self._asked.set()

    def _run(self) -> None:
        while self._asked.wait():
            self._asked.clear()
            try:
                self._act()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next time it may go well
                bug(_logger, error, f"in {self._thread.name}")
