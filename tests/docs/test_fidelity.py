"""docs/fidelity.md names a recording for what it calls recorded, and the place in the code of what it calls chosen."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def rows(section: str) -> list[list[str]]:
    """List the rows of the table below a heading, without its head."""
    text = (ROOT / "docs" / "fidelity.md").read_text().partition(f"## {section}")[2].partition("\n## ")[0]
    table = text.strip().partition("\n|")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table]


@pytest.mark.parametrize("row", rows("Recorded from live AWS"), ids=lambda row: row[0][:40])
def test_what_is_recorded_names_its_recording(row: list[str]) -> None:
    """A row says what happens and who saw it: an issue or pull request, an owner, or expectations that were recorded against AWS."""
    behaviour, recording = row

    assert behaviour
    assert re.search(r"#\d+|PR \d+|recorded against AWS|the same expectations", recording)


PLACES = [
    pytest.param(path, symbol, id=f"{path} {symbol}")
    for row in rows("Chosen, because AWS does not say")
    for path, symbol in re.findall(r"`(core/\w+\.py)`(?:, `([\w.]+)`)?", row[-1])
]


@pytest.mark.parametrize(("path", "symbol"), PLACES)
def test_what_is_chosen_stands_where_the_page_says(path: str, symbol: str) -> None:
    """Each choice names a file of the package, and mostly a function or constant in it."""
    code = (ROOT / "authz_server" / path).read_text()

    for name in symbol.split("."):
        assert re.search(rf"\b{name}\b", code)


def test_the_page_is_read_whole() -> None:
    """Neither table is empty for this test."""
    assert len(rows("Recorded from live AWS")) > 10
    assert len(PLACES) > 20
