"""A clock that stands still."""


class ManualClock:
    """Time that passes only when a test says so; calling it tells the time.

    Args:
        now: seconds since 1970.
    """

    def __init__(self, now: float = 1_757_430_433.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Tell the time in seconds since 1970."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
