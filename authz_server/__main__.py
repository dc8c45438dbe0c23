"""`python -m authz_server` is `authz-server`."""

from authz_server.cli import main

main(prog_name="authz-server")
