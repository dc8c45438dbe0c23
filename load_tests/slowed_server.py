"""Our server as the guard starts it: slower by so many microseconds a check, when the guard itself is to be tested.

GUARD_SLOWER_US=30 python slowed_server.py serve …
"""

import os
import time
from collections.abc import Callable
from typing import Any

from authz_server.cli import main
from authz_server.server.check import Check

VARIABLE = "GUARD_SLOWER_US"


def slow_down(answer: Callable[[Check, bytes], Any], seconds: float) -> Callable[[Check, bytes], Any]:
    """Add processor time to each check."""

    def slowly(check: Check, data: bytes) -> Any:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass
        return answer(check, data)

    return slowly


if __name__ == "__main__":
    if microseconds := float(os.environ.get(VARIABLE, "0")):
        Check.__call__ = slow_down(Check.__call__, microseconds / 1e6)  # type: ignore[method-assign]
    main()
