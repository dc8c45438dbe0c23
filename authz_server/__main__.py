"""`python -m authz_server` and the command `authz-server`, which hears signals from its first instruction."""

import sys

from authz_server.server.signals import Signals
from authz_server.server.streams import open_closed


def main() -> None:
    """Run the command line. Its parts take a while to import, so that what must not wait for them comes first."""
    open_closed()
    signals = Signals() if sys.argv[1:2] == ["serve"] else None
    from authz_server.cli import main as command  # noqa: PLC0415 - as said

    command(prog_name="authz-server", obj=signals)


if __name__ == "__main__":
    main()
