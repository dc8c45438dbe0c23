"""Faults inside a server process, see `injected/sitecustomize.py`."""

import struct
from collections.abc import Mapping
from pathlib import Path

INJECTED = Path(__file__).with_name("injected")


class Inside:
    """Let the time of day jump, and disks be full, for the processes that have this environment.

    Args:
        folder: for the files that say so.
    """

    def __init__(self, folder: Path) -> None:
        self._clock, self._full = folder / "clock", folder / "full"
        self._clock.write_bytes(struct.pack("d", 0))
        self.environment: Mapping[str, str] = {"PYTHONPATH": str(INJECTED), "CHAOS_FOLDER": str(folder)}

    def jump(self, seconds: float) -> None:
        """Show a time of day that is so many seconds off."""
        with self._clock.open("r+b") as file:  # the same file: processes have it mapped
            file.write(struct.pack("d", seconds))

    def fill_disk(self) -> None:
        """Let nothing more be written for good."""
        self._full.touch()

    def clear_disk(self) -> None:
        """Make room."""
        self._full.unlink()
