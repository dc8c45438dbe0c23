"""Counts: what is told how many checks, decisions and looks at the list there were."""

from typing import Protocol

from authz_server.core.decisions import Allow, Deny


class Counts(Protocol):
    """Counts checks, see `observe.metrics.Metrics`."""

    def check(self, decision: Allow | Deny, seconds: float) -> None:
        """Count a check."""
        ...

    def repeated(self, labels: tuple[str, str, str, str], seconds: float) -> None:
        """Count a check whose allow was repeated."""
        ...

    def dropped(self, api: str, headers: int) -> None:
        """Count claim headers that did not fit."""
        ...

    def hit(self) -> None:
        """Count a token whose decision was remembered."""
        ...

    def missed(self) -> None:
        """Count a token whose decision was not remembered."""
        ...

    def revocations_read(self, outcome: str) -> None:
        """Count a look at the list of revocations."""
        ...

    def revocation_skipped(self) -> None:
        """Count an entry of the list that could not be read."""
        ...


class Uncounted:
    """Count nothing."""

    def check(self, decision: Allow | Deny, seconds: float) -> None:
        """Do nothing."""

    def repeated(self, labels: tuple[str, str, str, str], seconds: float) -> None:
        """Do nothing."""

    def dropped(self, api: str, headers: int) -> None:
        """Do nothing."""

    def hit(self) -> None:
        """Do nothing."""

    def missed(self) -> None:
        """Do nothing."""

    def revocations_read(self, outcome: str) -> None:
        """Do nothing."""

    def revocation_skipped(self) -> None:
        """Do nothing."""
