"""Turns at fetching keys: so many at once, and nobody can keep the others from theirs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from authz_server.keys.store import PoolKeys

HOLD_SECONDS: Final = 0.5  # a third of what a fetch may take: silent places make others wait no longer

_Line = dict[PoolKeys, "asyncio.Future[None]"]


class Turns:
    """Hand out places for fetches that run at once.

    Whoever finds none free stands in one of two lines: for fetches that checks wait for, and for those that are merely due. The lines are
    served by turns, so that a short one moves fast and neither stands still. A place is held for half a second; a fetch that takes longer
    goes on without it, so that at most three times as many run as there are places.

    Args:
        places: how many there are.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._holding: set[PoolKeys] = set()
        self._asked: _Line = {}
        self._due: _Line = {}
        self._lines = [self._asked, self._due]  # the one to serve next comes first

    @asynccontextmanager
    async def turn(self, keys: PoolKeys) -> AsyncIterator[None]:
        """Wait for a place, and hold it.

        Args:
            keys: to be fetched; one turn at a time.
        """
        try:
            await self._stand_in_line(keys)
            timer = asyncio.get_running_loop().call_later(HOLD_SECONDS, self._leave, keys)
            try:
                yield
            finally:
                timer.cancel()
        finally:
            self._leave(keys)

    def prefer(self, keys: PoolKeys) -> None:
        """Move keys that stand in line to the line of those that checks wait for."""
        turn = self._due.pop(keys, None)
        if turn is not None:
            self._asked[keys] = turn

    async def _stand_in_line(self, keys: PoolKeys) -> None:
        line = self._asked if keys.waiting else self._due
        line[keys] = turn = asyncio.get_running_loop().create_future()
        self._admit()
        await turn

    def _leave(self, keys: PoolKeys) -> None:
        self._holding.discard(keys)
        self._asked.pop(keys, None)
        self._due.pop(keys, None)
        self._admit()

    def _admit(self) -> None:
        while len(self._holding) < self._places and (line := self._lines[0] or self._lines[1]):
            self._lines.reverse()
            keys = next(iter(line))
            turn = line.pop(keys)
            self._holding.add(keys)
            if not turn.cancelled():  # else it is about to leave
                turn.set_result(None)
