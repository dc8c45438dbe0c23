"""Pictures: what draws them, where it is installed."""

from typing import Any

from machine import MissingError

NONE = "NO PICTURES: matplotlib is not installed; `make .venv` brings it, or pip install 'authz-server[bench]'"


def figure(width: float, height: float) -> Any:
    """Begin a picture.

    Args:
        width: in inches.
        height: in inches.

    Raises:
        MissingError: when matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - tables need none
    except ModuleNotFoundError as error:
        raise MissingError(NONE) from error
    return Figure(figsize=(width, height), layout="constrained")
