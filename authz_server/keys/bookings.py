"""Bookings of fetches that only unseen kids ask for, which anybody can make up."""

from typing import Final

from authz_server.keys.life_cycle import GREATEST_REFRESH_SECONDS

APART_SECONDS: Final = 0.1  # what the process affords: a hundred pools are never put off, since each has one in ten seconds at most anyway


class Bookings:
    """Book the next such fetch of a pool whose last one was in vain. All calls come from one thread."""

    def __init__(self) -> None:
        self._last = 0.0

    def book(self, now: float) -> float:
        """Book a fetch behind those of all other pools.

        Args:
            now: the present.

        Returns:
            The earliest moment of the fetch. It is never further away than the longest refresh, before which the pool's next fetch is due:
            what was made up once does not count for ever.
        """
        self._last = min(max(self._last, now) + APART_SECONDS, now + GREATEST_REFRESH_SECONDS)
        return self._last
