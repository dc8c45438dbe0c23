"""The folder of a demo: its configuration, to be edited, and Envoy's configuration and log."""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from authz_server.demo.process import StartError

KEPT: Final = Path("authz-demo")


class Folder:
    """A folder that is deleted at the end of the `with` block, unless it is to be kept.

    Args:
        keep: where it stays, made if need be; None makes a temporary one.

    Raises:
        StartError: when it cannot be made.
    """

    def __init__(self, keep: Path | None = None) -> None:
        self._keep = keep
        try:
            if keep is not None:
                keep.mkdir(mode=0o700, exist_ok=True)
            self.path = keep or Path(tempfile.mkdtemp(prefix="authz-demo-"))
        except OSError as error:
            raise StartError(f"{error.filename}: {error.strerror}") from error
        self.configuration = self.path / "authz.yaml"
        self.resumed = self.configuration.exists()
        self._written: str | None = None

    def write(self, configuration: str) -> None:
        """Write the configuration that the demo starts with."""
        self._written = configuration
        self.configuration.write_text(configuration)

    def plan(self) -> str:
        """Say what the end of the demo will do with it."""
        return f"keeps {self.path}" if self._keep else f"deletes {self.path}; start with --keep to keep it"

    def farewell(self) -> str:
        """Say what the end of the demo does with it, and how to go on."""
        if self._keep:
            return f"{self.configuration} is kept; the next demo with --keep in this directory starts with it"
        return f"deleting {self.path}{', with your changes to authz.yaml' if self._edited() else ''}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if not self._keep:
            shutil.rmtree(self.path)

    def _edited(self) -> bool:
        try:
            return self._written is not None and self.configuration.read_text() != self._written
        except (OSError, ValueError):
            return True
