"""The log of everything that is no check: start, reload, key fetches, bugs."""

import json
import logging
from datetime import UTC, datetime
from typing import TextIO


class JsonFormatter(logging.Formatter):
    """Write a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return json.dumps({"time": when, "level": record.levelname.lower(), "message": record.getMessage()}, separators=(",", ":"))


def configure(stream: TextIO, *, json_lines: bool) -> None:
    """Send the package's log to a stream.

    Args:
        stream: where lines go.
        json_lines: JSON, or text for a person.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if json_lines else logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("authz_server")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
