"""How tests of the core ask for a denial."""

from collections.abc import Callable
from typing import Any

import pytest

from authz_server.core.decisions import Denied
from authz_server.core.reasons import Reason


@pytest.fixture(scope="session")
def outcome() -> Callable[..., Reason | None]:
    """Call something: the reason why it was denied, or None when it was not."""

    def outcome(function: Callable[..., Any], *arguments: Any, **named: Any) -> Reason | None:
        try:
            function(*arguments, **named)
        except Denied as denied:
            return denied.reason
        return None

    return outcome
