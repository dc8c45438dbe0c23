"""Chaos of files that a server loads again while it answers."""

import itertools
from functools import partial
from signal import Signals

import grpc

from tests.authority import SERVER, Authority, Pair, mount
from tests.chaos.fault import Fault
from tests.chaos.load import Ask, over_grpc, over_new_connections
from tests.chaos.oracle import Answer, Question
from tests.chaos.stage import Stage, sample
from tests.chaos.storm import Storm
from tests.e2e.stack import CONFIGURATION, Server, configured

CLOSED = CONFIGURATION.replace("  grpc:\n", "      /changing:\n        GET: {authorizer: users}\n  grpc:\n")
OPEN = CLOSED.replace("/changing:\n        GET: {authorizer: users}", "/changing:\n        GET: {authorization_type: NONE}")
BAD = (
    "",
    "version: 1\napis: [",
    OPEN.replace("{authorization_type: NONE}", "{}"),
    OPEN.replace("routes", "ruotes"),
    OPEN.replace("{authorizer: users}", "{authorizer: nobody}"),
)


def put(server: Server, text: str) -> None:
    """Put a configuration in place whole, and say so."""
    new = server.config.with_suffix(".new")
    new.write_text(text)
    new.rename(server.config)
    server.process.send(Signals.SIGHUP)


def test_a_storm_of_reloads(stage: Stage):
    """Each answer is that of a good file, none is that of a bad one, and in the end that of the last good one."""
    server = stage.start(configuration=CLOSED)
    files = [text for number, bad in enumerate((*BAD, BAD[0])) for text in ((OPEN, CLOSED)[number % 2], bad)]
    write = [partial(put, server, configured(text, stage.pool, stage.cognito)) for text in files]
    storm = Storm(*write)
    stage.running.callback(storm.end)

    def end() -> None:
        storm.end()
        put(server, configured(CLOSED, stage.pool, stage.cognito))

    fault = Fault(
        name="reload storm, good and bad files",
        begin=storm.begin,
        end=end,
        felt=lambda: sample(server, "authz_configuration_generation") >= 4 and "stays in force" in server.log(),
        permitted={"changing": {200, 401}},
        within=60,
    )
    changing = Question(kind="changing", status=401, path="/prod/changing")
    stage.chaos(server, questions=[*stage.questions, *[changing] * 4]).meet(fault)


def test_swapped_certificates(stage: Stage):
    """Connections that are open go on, new ones meet a certificate of the moment, and a bad pair is not used."""
    root, folder = Authority(), stage.folder / "tls"
    mount(folder, root.server(), root.certificate)
    server = stage.start("--tls-cert", str(folder / "tls.crt"), "--tls-key", str(folder / "tls.key"))
    bad = Pair(root.server().certificate, root.server().key)
    storm = Storm(*(partial(mount, folder, pair, root.certificate) for pair in (root.server(days=60), bad, root.server())))
    stage.running.callback(storm.end)
    asks = over_tls(server, root)

    def end() -> None:
        storm.end()
        mount(folder, root.server(), root.certificate)

    fault = Fault(
        name="certificate swapped, good and bad pairs",
        begin=storm.begin,
        end=end,
        felt=lambda: server.log().count("stays in use") >= 2,
        within=60,
    )
    stage.chaos(server, asks).meet(fault)


def over_tls(server: Server, root: Authority) -> Ask:
    """Ask over one connection, and now and then over a new one."""
    options = [("grpc.ssl_target_name_override", SERVER), ("grpc.use_local_subchannel_pool", 1)]
    address, credentials = f"127.0.0.1:{server.port}", grpc.ssl_channel_credentials(root.certificate)

    def open_channel(address: str) -> grpc.Channel:
        return grpc.secure_channel(address, credentials, options)

    lasting = over_grpc(address, open_channel=open_channel)
    asks = itertools.cycle([over_new_connections(address, open_channel), *[lasting] * 19])

    def ask(question: Question) -> Answer:
        return next(asks)(question)

    return ask
