"""Load a configuration in a process of its own: `python -m authz_server.config FILE` writes pickled parts, or problems."""

import os
import pickle
import sys
from pathlib import Path

from authz_server.config.compile import parts
from authz_server.config.loading import load
from authz_server.config.problems import ConfigurationError


def main() -> None:
    """Write each part, or the list of problems, to standard output."""
    try:
        loaded = load(Path(sys.argv[1]), os.environ)
    except ConfigurationError as error:
        pickle.dump(list(error.problems), sys.stdout.buffer)
        return
    for part in parts(loaded):
        pickle.dump(part, sys.stdout.buffer)


if __name__ == "__main__":
    main()
