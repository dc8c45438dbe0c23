"""Load a configuration in a process of its own: `python -m authz_server.config FILE` writes pickled warnings, parts and an empty list, or problems."""

import ctypes
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Final

from authz_server.config.compile import parts
from authz_server.config.loading import load
from authz_server.config.parts import WarningsPart
from authz_server.config.problems import ConfigurationError, listed

PR_SET_PDEATHSIG: Final = 1


def main() -> bool:
    """Write the warnings and each part, or the list of problems, to standard output; tell whether these are all parts of a good file."""
    try:
        loaded = load(Path(sys.argv[1]), os.environ)
    except ConfigurationError as error:
        pickle.dump(list(error.problems), sys.stdout.buffer)
        return False
    pickle.dump(WarningsPart(tuple(listed(loaded.warnings))), sys.stdout.buffer)
    for part in parts(loaded):
        pickle.dump(part, sys.stdout.buffer)
    return True


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # the server that waits for this process may end before it
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if main():
        pickle.dump([], sys.stdout.buffer)  # no problems: without this end, what was read is not taken for a configuration
