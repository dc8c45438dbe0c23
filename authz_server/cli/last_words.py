"""The last words of a command that writes a log: they go there, in its own format."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import click

from authz_server.observe import logs

_logger: Final = logging.getLogger(__name__)


class LoggedCommand(click.Command):
    """A command that reports a wrong flag in the log, unless a person reads at a terminal: what collects logs expects JSON."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """Take the flags."""
        with _last_words():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run."""
        with _last_words():
            return super().invoke(ctx)


@contextmanager
def _last_words() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        if sys.stderr.isatty():
            raise
        logs.configure(sys.stderr, json_lines=True)
        _logger.error("%s", error.format_message())
        raise SystemExit(error.exit_code) from error


def fail(error: Exception) -> NoReturn:
    """Log why a start failed, mistake by mistake, and end with status 1.

    Args:
        error: its text has a line for each mistake.
    """
    for line in str(error).splitlines():
        _logger.error("%s", line)
    raise SystemExit(1)
