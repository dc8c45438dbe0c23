"""The load tests are programs, not a package: their modules import each other by name."""

import sys
from pathlib import Path

FOLDER = str(Path(__file__).parents[2] / "load_tests")
if FOLDER not in sys.path:
    sys.path.append(FOLDER)
