"""What came out, in one table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HEAD = "| fault | load held (checks/s) | wrong answers | failed checks | time to recover (s) | memory (MiB) |\n|---|--:|--:|--:|--:|--:|"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What came out, a line of the table."""

    fault: str
    held: float
    wrong: int
    failed: int
    recovered: float
    before: float
    after: float

    def cells(self) -> list[str]:
        """Write all but the name."""
        memory = f"{self.before:.0f} → {self.after:.0f}"
        return [f"{self.held:.0f}", str(self.wrong), str(self.failed), f"{self.recovered:.1f}", memory]


def table(figures: Iterable[tuple[int, str, str, Sequence[str]]]) -> str:
    """Write one line for each fault; where transports differ, both with a stroke between them, in the order of their places.

    Args:
        figures: place, transport, fault and cells of each.
    """
    lines: dict[str, dict[str, Sequence[str]]] = {}
    for _, transport, fault, cells in sorted(figures):
        lines.setdefault(fault, {})[transport] = cells
    written = [HEAD]
    for fault, cells in lines.items():
        columns = zip(*cells.values(), strict=True)
        written.append(f"| {' | '.join([fault, *(' / '.join(dict.fromkeys(column)) for column in columns)])} |")
    return "\n".join(written)
