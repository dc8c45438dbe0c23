"""Faults inside a server process, see `injected/sitecustomize.py`."""

import struct
from collections.abc import Mapping
from pathlib import Path

INJECTED = Path(__file__).with_name("injected")


class Inside:
    """Let the time of day jump for the processes that have this environment.

    Args:
        folder: for the file that says so.
    """

    def __init__(self, folder: Path) -> None:
        self._clock = folder / "clock"
        self._clock.write_bytes(struct.pack("d", 0))
        self.environment: Mapping[str, str] = {"PYTHONPATH": str(INJECTED), "CHAOS_FOLDER": str(folder)}

    def jump(self, seconds: float) -> None:
        """Show a time of day that is so many seconds off."""
        with self._clock.open("r+b") as file:  # the same file: processes have it mapped
            file.write(struct.pack("d", seconds))
