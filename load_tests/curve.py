"""Curves: some lines over one growing number, as a table and as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pictures
from report import row


class Line(NamedTuple):
    """A line.

    Args:
        name: for the legend.
        values: one for each count.
    """

    name: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What was measured.

    Args:
        name: of the picture's file.
        label: what grows.
        counts: how far.
        lines: what came of it.
        unit: of the lines' values.
    """

    name: str
    label: str
    counts: Sequence[int]
    lines: Sequence[Line]
    unit: str = "µs of CPU per check"

    def markdown(self) -> str:
        """Write a table."""
        head = [row((self.label, *(f"{line.name}, {self.unit}" for line in self.lines))), row(("--:",) * (1 + len(self.lines)))]
        columns = (line.values for line in self.lines)
        body = [row((f"{count:,}", *(_short(value) for value in values))) for count, *values in zip(self.counts, *columns, strict=True)]
        return "\n".join([*head, *body]) + "\n"

    def draw(self, folder: Path) -> None:
        """Draw a picture.

        Raises:
            MissingError: when matplotlib is not installed.
        """
        figure = pictures.figure(6.4, 3.6)
        axes = figure.subplots()
        for line in self.lines:
            axes.plot(self.counts, line.values, marker="o", markersize=4, label=line.name)
        axes.set_xscale("log")
        axes.set_xticks(self.counts, [f"{count:,}" for count in self.counts], minor=False)
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel(self.label)
        axes.set_ylabel(self.unit)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"{self.name}.png", dpi=100)


def _short(value: float) -> str:
    return f"{value:,.1f}" if value < 1_000 else f"{value:,.0f}"
