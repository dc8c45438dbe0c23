"""Targets: what is measured, how it is started, and how traffic reaches it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import correctness
import h2load
import mixture
import proxy
import workload
import wrk
import yaml
from machine import Cores
from processes import PinnedProcess
from traffic import Load, Source, TrafficError

from authz_server.demo import envoy
from authz_server.demo.process import accepts, free_port

HERE = Path(__file__).parent
PYTHON = str(HERE.parent / ".venv-server" / "bin" / "python")  # with what users install, and no more
SOURCES = f"PYTHONPATH={HERE.parent}"

REFERENCE = HERE.parent / "build" / "reference"
DOORS = ("asyncio", "grpcio")

OVER_GRPC = (Load(connections=8, streams=16), Load(connections=1))
OVER_HTTP = (Load(connections=16), Load(connections=1))
RISING = (*OVER_GRPC, Load(connections=4), *(Load(connections=8, streams=streams) for streams in (2, 8, 64)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a target needs to start.

    Args:
        work: what it is asked.
        cores: where it runs, and where the load generator does.
        folder: for its files.
        users: of the mixture.
    """

    work: workload.Workload
    cores: Cores
    folder: Path
    users: int = mixture.USERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A target that has answered correctly.

    Args:
        source: sends traffic to it.
        processes: that do the work, by the column they are shown in.
    """

    source: Source
    processes: Mapping[str, PinnedProcess]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One row of the report for each load.

    Args:
        name: of the row.
        loads: to measure it under.
        start: yields it running and stops it.
        floor: name of the target that shows what its answers cost without the work, or "".
    """

    name: str
    loads: Sequence[Load]
    start: Callable[[Stage], AbstractContextManager[Running]]
    floor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An ext_authz server.

    Args:
        name: for people.
        command: program and arguments; {port}, {config}, {jwks} and {rules} are filled in.
        judges: whether it authorizes; a no-op lets everybody pass.
        floor: name of the no-op that answers the same way, or "".
    """

    name: str
    command: Sequence[str]
    judges: bool = True
    floor: str = ""

    def process(self, port: int, stage: Stage) -> PinnedProcess:
        """Start it, and wait until it listens.

        Raises:
            StartError: when it does not; the message holds the end of its log.
        """
        values = {"port": port, "config": stage.work.config, "jwks": stage.work.jwks, "rules": stage.work.rules}
        command = [part.format(**values) for part in self.command]
        return PinnedProcess(command, core=stage.cores.server, log=stage.folder / "server.log").wait_until(lambda: accepts(port))


def ours(door: str, what: str, **variables: str) -> Server:
    """Describe our server with some options, which the environment gives."""
    options = {"AUTHZ_TRANSPORT": door, "AUTHZ_DECISION_LOG": "off", "AUTHZ_DRAIN_SECONDS": "0", **variables}
    serve = (PYTHON, "-m", "authz_server", "serve", "--config", "{config}", "--listen", "127.0.0.1:{port}")
    environment = [SOURCES, *(f"{name}={value}" for name, value in options.items())]
    return Server(name=f"{door}, {what}", command=("env", *environment, *serve), floor=f"{door}, no-op")


def noop(door: str) -> Server:
    """Describe a server that does nothing behind one of our doors."""
    command = ("env", SOURCES, PYTHON, str(HERE / "noop_server.py"), door, "{port}")
    return Server(name=f"{door}, no-op", command=command, judges=False)


NOOP = {door: noop(door) for door in DOORS}
HIT = {door: ours(door, "hit") for door in DOORS}
MISS = {door: ours(door, "miss", AUTHZ_CACHE_MIB="0") for door in DOORS}
MIXED = {door: ours(door, "mixed", AUTHZ_CACHE_MIB=str(mixture.CACHE_MIB)) for door in DOORS}
LOGGED = {door: ours(door, "hit, log on", AUTHZ_DECISION_LOG="json") for door in DOORS}

GO = str(REFERENCE / "go")
GO_NOOP = Server(name="Go, no-op", command=("env", "GOMAXPROCS=1", GO, "noop", "{port}"), judges=False)
GO_HIT = Server(name="Go, hit", command=("env", "GOMAXPROCS=1", GO, "cached", "{port}", "{rules}"), floor=GO_NOOP.name)
GO_MISS = Server(name="Go, miss", command=("env", "GOMAXPROCS=1", GO, "verifying", "{port}", "{rules}"), floor=GO_NOOP.name)
RUST_NOOP = Server(name="Rust, no-op", command=(str(REFERENCE / "rust"), "{port}"), judges=False)


def references() -> list[Server]:
    """List the reference servers that were built."""
    servers = {"go": [GO_NOOP, GO_HIT, GO_MISS], "rust": [RUST_NOOP]}
    return [server for name, several in servers.items() if (REFERENCE / name).is_file() for server in several]


def built_in() -> list[Target]:
    """List what is measured unless told otherwise."""
    at_doors = [mode[door] for door in DOORS for mode in (NOOP, HIT, LOGGED, MISS)]
    rising = (*HIT.values(), GO_HIT)
    proxied = [HIT["asyncio"], MISS["asyncio"], HIT["grpcio"], *(server for server in references() if server not in (GO_NOOP, GO_MISS))]
    return [
        *(direct(server, RISING if server in rising else OVER_GRPC) for server in (*at_doors, *references())),
        *(mixed(server) for server in MIXED.values()),
        Target(name="Envoy, no authorization", loads=OVER_HTTP, start=_open_door),
        Target(name="Envoy, jwt_authn", loads=OVER_HTTP, start=_jwt_authn),
        Target(name="Envoy, jwt_authn with its cache", loads=OVER_HTTP, start=_jwt_authn_with_cache),
        *(behind_envoy(server) for server in proxied),
    ]


def direct(server: Server, loads: Sequence[Load] = OVER_GRPC) -> Target:
    """Measure a server at its gRPC port."""

    @contextmanager
    def start(stage: Stage) -> Iterator[Running]:
        port = free_port()
        with server.process(port, stage) as process:
            reply = correctness.reply_over_grpc(port, stage.work, judges=server.judges)
            calls = h2load.Calls(
                url=f"http://127.0.0.1:{port}{correctness.METHOD}",
                request=stage.work.request,
                reply_size=len(reply),
                core=stage.cores.load,
                folder=stage.folder,
            )
            yield Running(source=calls, processes={"server": process})

    return Target(name=server.name, loads=loads, start=start, floor=server.floor)


def mixed(server: Server) -> Target:
    """Measure a server at its gRPC port, with the tokens of many users."""

    @contextmanager
    def start(stage: Stage) -> Iterator[Running]:
        port, requests = free_port(), stage.folder / "mixture"
        if not requests.exists():  # it takes a while, and serves each repetition
            mixture.write(requests, stage.work.of_users(stage.users))
        with server.process(port, stage) as process:
            reply = correctness.reply_over_grpc(port, stage.work, judges=server.judges)
            calls = mixture.Calls(port=port, path=correctness.METHOD, requests=requests, reply_size=len(reply), core=stage.cores.load)
            yield Running(source=calls, processes={"server": process})

    return Target(name=server.name, loads=OVER_GRPC, start=start, floor=server.floor)


def behind_envoy(server: Server) -> Target:
    """Measure a server and the Envoy that asks it, on one core together."""

    @contextmanager
    def start(stage: Stage) -> Iterator[Running]:
        port, listener = free_port(), free_port()
        with server.process(port, stage) as process:
            correctness.reply_over_grpc(port, stage.work, judges=server.judges)
            with _envoy(proxy.ext_authz(listener, port), listener, stage, judges=server.judges) as running:
                yield Running(source=running.source, processes={**running.processes, "server": process})

    return Target(name=f"Envoy, {server.name}", loads=OVER_HTTP, start=start, floor="Envoy, no authorization")


def _open_door(stage: Stage) -> AbstractContextManager[Running]:
    port = free_port()
    return _envoy(proxy.open_door(port), port, stage, judges=False)


def _jwt_authn(stage: Stage) -> AbstractContextManager[Running]:
    port = free_port()
    return _envoy(proxy.jwt_authn(port, stage.work), port, stage, judges=True)


def _jwt_authn_with_cache(stage: Stage) -> AbstractContextManager[Running]:
    port = free_port()
    return _envoy(proxy.jwt_authn(port, stage.work, cache=True), port, stage, judges=True)


@contextmanager
def _envoy(configuration: dict[str, Any], port: int, stage: Stage, *, judges: bool) -> Iterator[Running]:
    file = stage.folder / "envoy.yaml"
    file.write_text(yaml.safe_dump(configuration))
    command = [str(envoy.binary()), "-c", str(file), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error"]
    log = stage.folder / "envoy.log"
    log.unlink(missing_ok=True)
    with PinnedProcess(command, core=stage.cores.server, log=log).wait_until(lambda: accepts(port)) as process:
        correctness.check_over_http(port, stage.work, judges=judges)
        headers = {"Host": workload.HOST, **stage.work.headers(stage.work.token)}
        requests = wrk.Requests(url=f"http://127.0.0.1:{port}{workload.PATH}", headers=headers, core=stage.cores.load)
        try:
            yield Running(source=requests, processes={"envoy": process})
        except TrafficError as error:
            raise TrafficError(f"{error}; Envoy's log has {proxy.failures(log)}") from error
