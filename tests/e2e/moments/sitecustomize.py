"""A signal at one moment of a start, which $MOMENT names by an audit event of Python and what its arguments hold.

Python imports this module at its start when its folder is on PYTHONPATH. So the moment is one of the process's own, and the same
however fast the machine is.
"""

import os
import signal
import sys
from typing import Any

who, number, event, part = os.environ["MOMENT"].split(" ")
ahead = [who == ("loader" if "authz_server.config" in sys.orig_argv else "worker" if "--worker" in sys.orig_argv else "server")]


def strike(name: str, arguments: tuple[Any, ...]) -> None:
    """Send this process the signal when the moment has come."""
    if ahead[0] and name == event and (part == "-" or (arguments and part == str(arguments[0]))):
        ahead[0] = False
        os.write(2, b"struck\n")
        os.kill(os.getpid(), getattr(signal, number))


sys.addaudithook(strike)
