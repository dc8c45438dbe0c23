"""The pulse of an event loop: from when a beat is late, what the loop reads has waited for it."""

from typing import Final

BEAT_SECONDS: Final = 0.02
SOON_SECONDS: Final = 0.001  # which is after what there is to read
BEHIND_SECONDS: Final = 0.05  # since the last beat but one; 0.04 when all goes well


class Pulse:
    """Beats, and checks that are taken between them once the loop is behind.

    A loop reads and answers all that has come, then looks at its timers, then at what has come meanwhile. So while it is behind it beats
    once in each turn, and what it reads has come after the beat before the last: earlier, and the turn before would have read it.

    Args:
        now: seconds of a monotonic clock.
        most: checks that one turn takes when the loop is behind.
    """

    def __init__(self, now: float, most: int) -> None:
        self.before = self._last = now
        self._most = most
        self._taken = 0

    def beat(self, now: float, waiting: int) -> float:
        """Begin a turn.

        Args:
            now: seconds of the same clock.
            waiting: checks that were taken before and still are in progress.

        Returns:
            Seconds until the next beat: few after a late one, to see at once whether the loop has caught up.
        """
        self.before, self._last = self._last, now
        self._taken = waiting
        return SOON_SECONDS if now - self.before > BEHIND_SECONDS else BEAT_SECONDS

    def take(self) -> bool:
        """Take a check, unless too many were taken since the last beat."""
        if self._taken >= self._most:
            return False
        self._taken += 1
        return True
