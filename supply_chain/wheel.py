"""Build the wheel, the same octets for the same commit, and its bill of materials: `make wheel`."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from supply_chain.bill import bill
from supply_chain.licences import installed

ROOT = Path(__file__).parents[1]


def commit_time(source: Path) -> int:
    """Tell when the last commit was made, unless SOURCE_DATE_EPOCH says otherwise.

    Source: reproducible-builds.org, "SOURCE_DATE_EPOCH".
    """
    told = os.environ.get("SOURCE_DATE_EPOCH")
    if told is not None:
        return int(told)
    return int(subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=source, check=True, capture_output=True, text=True).stdout)


def build(source: Path, folder: Path, when: int) -> Path:
    """Build the wheel.

    Args:
        source: the project.
        folder: takes the wheel.
        when: Unix time that everything in it bears.

    Returns:
        The wheel.
    """
    command = [sys.executable, "-c", "import sys, hatchling.build; print(hatchling.build.build_wheel(sys.argv[1]))", str(folder)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(when)}
    built = subprocess.run(command, cwd=source, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return folder / built.strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Build both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder.absolute()
    when = commit_time(ROOT)
    wheel = build(ROOT, folder, when)
    document = folder / (wheel.name.partition("-py3-")[0] + ".cdx.json")
    document.write_text(bill(wheel, ROOT / "requirements-server.lock", installed(sys.path), when))
    print(wheel, document, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
