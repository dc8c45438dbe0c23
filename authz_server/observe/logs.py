"""The log of everything that is no check: start, reload, key fetches, bugs."""

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import TextIO


class JsonFormatter(logging.Formatter):
    """Write a record as one JSON object.

    Args:
        worker: number of this process among several, or None.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._told = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        told = {"time": _when(record), "level": record.levelname.lower(), **self._told, "message": record.getMessage()}
        return json.dumps(told, separators=(",", ":"))


class TextFormatter(logging.Formatter):
    """Write a record for a person: the time of day in UTC, as in the decision log beside it.

    Args:
        worker: number of this process among several, or None.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._who = "" if worker is None else f"worker {worker}: "

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        return f"{_when(record)[11:23]}Z {record.levelname:<7} {self._who}{record.getMessage()}"


def _when(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def configure(stream: TextIO, *, json_lines: bool, worker: int | None = None) -> None:
    """Send the package's log to a stream.

    Args:
        stream: where lines go.
        json_lines: JSON, or text for a person.
        worker: number of this process among several, or None.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(worker) if json_lines else TextFormatter(worker))
    logger = logging.getLogger("authz_server")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def bug(logger: logging.Logger, error: Exception, where: str) -> None:
    """Log where a bug is, without the values that were at hand: a token may be among them.

    Args:
        logger: of whoever met it, and goes on.
        error: what was raised.
        where: such as `while answering a check`.
    """
    places = "".join(traceback.format_tb(error.__traceback__))
    logger.error("bug: %s %s; please report it\n%s", type(error).__name__, where, places)
