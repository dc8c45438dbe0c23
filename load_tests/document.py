"""Documents with blocks that a program writes."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
PERFORMANCE, README = ROOT / "docs" / "performance.md", ROOT / "README.md"


def block(document: Path, name: str) -> str:
    """Read what stands between `<!-- name -->` and `<!-- end of name -->`.

    Raises:
        ValueError: when the document has no such block.
    """
    return _cut(document, name)[1].strip()


def replace_block(document: Path, name: str, text: str) -> None:
    """Rewrite what stands between `<!-- name -->` and `<!-- end of name -->`.

    Raises:
        ValueError: when the document has no such block.
    """
    before, _, after = _cut(document, name)
    document.write_text(f"{before}\n\n{text.strip()}\n\n{after}")


def _cut(document: Path, name: str) -> tuple[str, str, str]:
    """Cut a document before and behind a block; its marks stay with what surrounds it."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = document.read_text().partition(begin)
    inside, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{document}: no block {begin} … {end}")
    return before + begin, inside, end + after
