"""Write each target's inputs to begin with into fuzz/corpus: `.venv/bin/python fuzz/seeds.py`."""

import sys
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).parent
TARGETS = ("checks", "configuration", "connection", "jwks", "tls", "tokens")


def main() -> None:
    """Write what is not there yet; keys change with each run, and what was found stays."""
    sys.path.insert(0, str(FOLDER.parent))
    for name in TARGETS:
        corpus = FOLDER / "corpus" / name
        corpus.mkdir(parents=True, exist_ok=True)
        for seed, octets in import_module(f"fuzz.{name}").seeds().items():
            if not (corpus / seed).exists():
                (corpus / seed).write_bytes(octets)


if __name__ == "__main__":
    main()
