"""`authz-server serve`: answer checks."""

import logging
import os
import sys
from pathlib import Path
from socket import gethostname, socket
from typing import TYPE_CHECKING, Final, Literal

import click

from authz_server.cli import environment, options
from authz_server.cli.last_words import LoggedCommand, fail
from authz_server.observe import logs
from authz_server.observe.entry import Line, as_coloured_text, as_json, as_text
from authz_server.server import cpus, orphans, streams
from authz_server.server.signals import Signals
from authz_server.server.supervisor import Supervision, WorkerError, supervise
from authz_server.server.workers import endpoint
from authz_server.transport.door import ListenError
from authz_server.transport.sockets import SocketAccess

if TYPE_CHECKING:
    from authz_server.server.settings import Settings, Transport

_logger: Final = logging.getLogger(__name__)

END_SECONDS: Final = 5.0  # beyond drain and grace, for the rest of a worker's end

LogFormat = Literal["auto", "json", "text", "off"]


@click.command(cls=LoggedCommand, short_help="Answer checks until SIGTERM.")
@click.pass_obj
@options.config
@options.option(
    "--listen",
    multiple=True,
    default=("127.0.0.1:9000",),
    show_default=True,
    callback=options.listen_address,
    help="Address of the gRPC port: host:port, a port on loopback, *:port for every address of this machine, or unix:///path. May be given more than once.",
)
@options.option(
    "--tls-cert",
    type=click.Path(path_type=Path),
    required_value=True,
    help="PEM file of the server's certificate and its intermediates: TLS on every address of --listen. A changed file is loaded.",
)
@options.option(
    "--tls-key",
    type=click.Path(path_type=Path),
    required_value=True,
    help="PEM file of its key.",
)
@options.option(
    "--tls-client-ca",
    type=click.Path(path_type=Path),
    required_value=True,
    help="PEM file of CAs: who has no certificate of theirs gets no answer. Without it clients need none.",
)
@options.option(
    "--tls-allow-san",
    multiple=True,
    callback=options.client_names,
    metavar="NAME",
    required_value=True,
    help="DNS name or SPIFFE id of a client that may ask: others of the client CA get no answer. May be given more than once.",
)
@options.option(
    "--socket-mode",
    default="0660",
    show_default=True,
    callback=options.socket_mode,
    metavar="OCTAL",
    help="Permissions of Unix sockets: who may write may connect.",
)
@options.option(
    "--socket-owner",
    callback=options.user_id,
    metavar="USER",
    help="User that Unix sockets are given to, by name or number; the server's own unless given.",
)
@options.option(
    "--socket-group",
    callback=options.group_id,
    metavar="GROUP",
    help="Group that Unix sockets are given to, by name or number.",
)
@options.option(
    "--admin",
    callback=options.admin_address,
    help="Address for /healthz, /readyz and /metrics: host:port, a port on loopback, or *:port. Off unless given.",
)
@options.option(
    "--transport",
    type=click.Choice(["grpcio", "asyncio"]),
    default="grpcio",
    show_default=True,
    help="grpcio is the proven one; asyncio costs a tenth of the CPU where tokens come again, and needs the extra [fast].",
)
@options.option(
    "--pin-cpu/--no-pin-cpu",
    default=True,
    show_default=True,
    help="Keep the threads of the grpcio transport to one CPU; on several, a check costs half as much again.",
)
@options.option(
    "--max-checks-in-progress",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Checks of a process that run or wait; more are answered 503. 1000 with grpcio, 10000 with asyncio unless given.",
)
@options.option(
    "--workers",
    default="1",
    show_default=True,
    callback=options.worker_count,
    metavar="N|auto",
    help="Processes, each with its own endpoint: worker n, from 0, listens on port + n or path.n. auto: the CPUs of this container.",
)
@click.option("--worker", type=click.IntRange(0), hidden=True)  # which one this is; only a supervisor says so
@options.option(
    "--decision-log",
    type=click.Choice(["auto", "json", "text", "off"]),
    default="auto",
    show_default=True,
    help="One line per check on standard output; auto is text on a terminal and JSON elsewhere.",
)
@options.option(
    "--cache-mib",
    type=click.IntRange(0, 65_536),
    default=64,
    show_default=True,
    help="Memory for decisions about tokens, which are repeated for authorizer_result_ttl_in_seconds: so much for allows, up to 4 more for denials. 0 decides each check anew.",
)
@options.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    help="Directory for the last good keys, so that a start during an outage has some. Workers and replicas may share it. Off unless given.",
)
@options.option(
    "--state-dir-parents",
    type=click.Choice(["check", "trust"]),
    default="check",
    show_default=True,
    help="Whether keys on disk are used only if nobody else may write to the directories above --state-dir. Trust them where no other process can reach them, as in a volume of one container.",
)
@options.revocations
@options.revocations_password_file
@options.option(
    "--revocations-max-age",
    type=options.Seconds(1),
    metavar="SECONDS",
    required_value=True,
    help="Without Redis for so long, good tokens are answered 503. Unless given, the last known list is used for as long as it takes.",
)
@options.option(
    "--drain-seconds",
    type=options.Seconds(0, 300),
    default=5.0,
    show_default=True,
    help="After SIGTERM: how long to say NOT_SERVING before calls are refused.",
)
@options.option(
    "--grace-seconds",
    type=options.Seconds(0, 300),
    default=5.0,
    show_default=True,
    help="After that: how long calls in flight may take to finish.",
)
def serve(  # noqa: PLR0913, PLR0917 - one argument per option
    signals: Signals | None,
    config: Path,
    listen: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    tls_allow_san: tuple[str, ...],
    socket_mode: int,
    socket_owner: int | None,
    socket_group: int | None,
    admin: str | None,
    transport: "Transport",
    pin_cpu: bool,  # noqa: FBT001 - a flag
    max_checks_in_progress: int | None,
    workers: int,
    worker: int | None,
    decision_log: LogFormat,
    cache_mib: int,
    state_dir: Path | None,
    state_dir_parents: str,
    revocations: str | None,
    revocations_password_file: Path | None,
    revocations_max_age: float | None,
    drain_seconds: float,
    grace_seconds: float,
) -> None:
    """Answer checks until SIGTERM; SIGHUP and a change of the file load the configuration again."""
    _require_no_empty()
    tls = options.tls_pair(tls_cert, tls_key, tls_client_ca, tls_allow_san)
    place = options.revocation_place(revocations, revocations_password_file, revocations_max_age)
    logs.configure(sys.stderr, json_lines=not sys.stderr.isatty(), worker=worker)
    if worker is None:
        _refuse_slips(config)
    orphans.follow()
    if worker is None and workers > 1:
        _supervise(signals or Signals(), workers, listen, admin, drain_seconds + grace_seconds + END_SECONDS)
        return
    from authz_server.server.settings import Settings  # noqa: PLC0415 - brings parts that a supervisor does not need
    from authz_server.transport.tls import TlsFiles  # noqa: PLC0415 - as above

    settings = Settings(
        config=config,
        listen=listen if worker is None else tuple(endpoint(address, worker) for address in listen),
        tls=None if tls is None else TlsFiles(certificate=tls[0], key=tls[1], client_ca=tls_client_ca),
        clients=tls_allow_san,
        unix_sockets=SocketAccess(mode=socket_mode, owner=socket_owner, group=socket_group),
        admin=admin if worker is None else None,
        supervisor=None if worker is None else _link(),
        worker=worker or 0,
        workers=workers,
        transport=transport,
        cpu=_cpu(worker) if pin_cpu else None,
        max_checks=max_checks_in_progress,
        cache_bytes=cache_mib * 1_048_576,
        drain_seconds=drain_seconds,
        grace_seconds=grace_seconds,
        state_dir=state_dir,
        checks_state_dir_parents=state_dir_parents == "check",
        revocations=place,
    )
    _serve(settings, signals or Signals(), _line(decision_log))


def _require_no_empty() -> None:
    """A variable that somebody forgot to fill must not open the port, nor let pass what is revoked."""
    for option in serve.params:
        if isinstance(option, options.Option) and option.required_value and not os.environ.get(option.variable, "set").strip():
            raise click.UsageError(f"{option.variable} is empty: give it a value, or unset it")


def _refuse_slips(config: Path) -> None:
    """Warn of variables that no option reads, and do not start where a protection may have been meant."""
    slips = environment.unread(os.environ, {str(option.envvar) for option in serve.params}, config)
    protections = [str(slip) for slip in slips if slip.protects]
    if protections:
        raise click.UsageError(f"no option reads {', '.join(protections)}: such a name may stand for a protection; correct it, or unset it")
    for slip in slips:
        _logger.warning("no option reads %s", slip)


def _serve(settings: "Settings", signals: Signals, line: Line | None) -> None:
    """Answer checks in this process."""
    from authz_server.config import ConfigurationError  # noqa: PLC0415 - as above
    from authz_server.revocations.source import RevocationsError  # noqa: PLC0415 - as above
    from authz_server.server.serve import serve as run  # noqa: PLC0415 - as above
    from authz_server.server.state import StateDirectoryError  # noqa: PLC0415 - as above
    from authz_server.transport.tls import TlsError  # noqa: PLC0415 - as above

    try:
        run(settings, signals, sys.stdout, line)
    except (ConfigurationError, ListenError, RevocationsError, StateDirectoryError, TlsError) as error:
        fail(error)
    except Exception as error:
        logs.bug(_logger, error, "in the server")
        raise SystemExit(1) from error
    finally:
        streams.give_up_on_stdout()


def _supervise(signals: Signals, workers: int, listen: tuple[str, ...], admin: str | None, end_seconds: float) -> None:
    """Answer checks in several processes, each started by this very command, but with no code from where that was given (-P)."""
    try:
        for address in listen:
            endpoint(address, workers - 1)
    except ValueError as error:
        raise click.UsageError(f"--workers {workers} --listen {error}") from error
    command = (sys.executable, "-P", *sys.orig_argv[1:])
    try:
        supervise(Supervision(workers=workers, command=command, admin=admin, end_seconds=end_seconds), signals)
    except (ListenError, WorkerError) as error:
        fail(error)


def _cpu(worker: int | None) -> int:
    return cpus.place(gethostname(), os.getpid(), 0) if worker is None else cpus.place(gethostname(), os.getppid(), worker)


def _link() -> socket:
    """Take up the link to the supervisor, which is standard input."""
    try:
        return socket(fileno=sys.stdin.fileno())
    except OSError as error:
        raise click.UsageError("--worker is for --workers alone to say") from error


def _line(chosen: LogFormat) -> Line | None:
    """Choose how the decision log writes its lines; None for no log."""
    if chosen == "off":
        return None
    terminal = sys.stdout.isatty()
    if chosen == "text" or (chosen == "auto" and terminal):
        return as_coloured_text if terminal and not os.environ.get("NO_COLOR") else as_text
    return as_json
