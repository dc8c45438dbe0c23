"""Documents with blocks that a program writes."""

from pathlib import Path

PERFORMANCE = Path(__file__).parents[1] / "docs" / "performance.md"


def replace_block(document: Path, name: str, text: str) -> None:
    """Rewrite what stands between `<!-- name -->` and `<!-- end of name -->`.

    Raises:
        ValueError: when the document has no such block.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = document.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{document}: no block {begin} … {end}")
    document.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")
