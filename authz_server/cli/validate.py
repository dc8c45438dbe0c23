"""`authz-server validate`: check a configuration."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from authz_server.cli import options

if TYPE_CHECKING:
    from authz_server.cli.report import Asked, Format, Report
    from authz_server.config.documents import Document
    from authz_server.core.user_pools import UserPool

FETCH_SECONDS: Final = 5.0
FETCHES_AT_ONCE: Final = 10


@click.command(short_help="Check a configuration.")
@click.argument("file", required=False)
@options.option("--config", metavar="PATH", help="The same as FILE, where that is not given.")
@click.option("--strict", is_flag=True, help="Fail where there are warnings, too.")
@click.option("--fetch", is_flag=True, help="Ask for the keys of every user pool once, and fail where that fails.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="text for people, json for programs, github for the annotations of a workflow.",
)
def validate(file: str | None, config: str | None, *, strict: bool, fetch: bool, form: "Format") -> None:
    """Check the configuration in FILE (- is standard input): list every mistake as file:line:column, or what was understood, and warnings.

    A Kubernetes ConfigMap around the configuration is looked into.
    """
    if file is None and config is None:
        raise click.UsageError("name a FILE, or - for standard input")
    if file is not None and click.get_current_context().get_parameter_source("config") is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("FILE and --config exclude each other")
    from authz_server.cli import report as reports  # noqa: PLC0415 - brings parts that other commands do not need

    report = _report(file or str(config), fetch=fetch)
    text = {"text": reports.as_text, "json": reports.as_json, "github": reports.as_github}[form](report)
    if text:
        click.echo(text, err=form == "text" and report.loaded is None)
    failed = report.loaded is None or any(asked.failure for asked in report.asked)
    raise SystemExit(1 if failed or (strict and report.warnings) else 0)


def _report(file: str, *, fetch: bool) -> "Report":
    from authz_server.cli.report import Report  # noqa: PLC0415 - as above
    from authz_server.config import ConfigurationError, documents, user_pools  # noqa: PLC0415 - as above
    from authz_server.config.loading import load_document  # noqa: PLC0415 - as above

    name = documents.STANDARD_INPUT if file == "-" else file
    try:
        loaded = load_document(documents.unwrap(_document(file)), os.environ)
    except ConfigurationError as error:
        return Report(name, problems=error.problems)
    return Report(name, loaded=loaded, asked=asyncio.run(_ask(user_pools(loaded))) if fetch else ())


def _document(file: str) -> "Document":
    """Read what was given; a person who gives a pipe, as `validate <(…)` does, waits for it."""
    from authz_server.config import documents  # noqa: PLC0415 - as above

    if file == "-":
        return documents.from_bytes(sys.stdin.buffer.read(documents.MAX_SIZE + 1))
    path = Path(file)
    if not path.is_fifo():
        return documents.from_file(path)
    with path.open("rb") as pipe:
        return documents.from_bytes(pipe.read(documents.MAX_SIZE + 1), file, path)


async def _ask(pools: Sequence["UserPool"]) -> list["Asked"]:
    """Ask for the keys of each pool once."""
    from authz_server.cli.report import Asked  # noqa: PLC0415 - as above
    from authz_server.keys import jwks  # noqa: PLC0415 - as above
    from authz_server.keys.fetch import Fetcher, FetchError  # noqa: PLC0415 - as above

    fetcher, turns = Fetcher(FETCH_SECONDS), asyncio.Semaphore(FETCHES_AT_ONCE)
    for line in [*fetcher.in_force(pools), *fetcher.warnings(pools)]:
        click.echo(line, err=True)

    async def ask(pool: "UserPool") -> Asked:
        try:
            async with turns:
                document = (await fetcher(pool)).document
            return Asked(pool.id, pool.jwks, len(jwks.parse(document or b"").keys), "")
        except (FetchError, jwks.JwksError) as error:
            return Asked(pool.id, pool.jwks, 0, str(error))

    return list(await asyncio.gather(*map(ask, pools)))
