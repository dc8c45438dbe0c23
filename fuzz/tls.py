"""What the TLS of the asyncio transport promises against any octets: no answer without a right certificate, and no error but one of TLS.

An input is one octet of options, and steps. The options say which version and which certificate a real client has. Each step
lets a record of that client pass, or drops, repeats or changes it, or puts octets in its place; or it has the client send
octets once it has shaken hands.
"""

import random
import ssl
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from authz_server.transport.tls import read
from authz_server.transport.wrong_protocol import unshaken
from authz_server.trust import unify
from fuzz.mutation import Mutate
from tests.authority import SERVER, Authority, Pair, files
from tests.transport.http2 import Client, greeting, written

NEWEST, CERTIFIED, STRANGE = 1, 2, 4  # options
PASS, DROP, REPEAT, CHANGE, INSERT, SEND = range(6)  # steps: one octet each, with one of a length before octets
STEP_HEAD, LONGEST, MOST_STEPS = 2, 255, 40
RECORD_HEAD = 5
FOLDER = Path(tempfile.mkdtemp(prefix="authz-fuzz-tls-"))
ROOT, CLIENTS, STRANGERS = Authority("servers"), Authority("clients"), Authority("strangers")
CREDENTIALS = read(files(FOLDER, ROOT.server(), CLIENTS.certificate), time.time())


def _context(version: ssl.TLSVersion, pair: Pair | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ROOT.certificate.decode())
    unify(context)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    if pair is not None:
        pair.write(FOLDER, "client")
        context.load_cert_chain(FOLDER / "client.crt", FOLDER / "client.key")
    return context


_PAIRS = {0: None, CERTIFIED: CLIENTS.envoy(), STRANGE: STRANGERS.envoy(), CERTIFIED | STRANGE: CLIENTS.envoy(days=-1)}
_CONTEXTS = {
    (newest, pair): _context(ssl.TLSVersion.TLSv1_3 if newest else ssl.TLSVersion.TLSv1_2, _PAIRS[pair])
    for newest in (0, NEWEST)
    for pair in _PAIRS
}


class Step(NamedTuple):
    """One step of an input."""

    kind: int
    octets: bytes


class End:
    """One end of a TLS connection, in memory."""

    def __init__(self, context: ssl.SSLContext, *, server: bool) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server else SERVER
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server, server_hostname=name)
        self.is_shaken = False
        self.error: ssl.SSLError | None = None

    def take(self, octets: bytes) -> bytes:
        """Take octets of the other end; give what they say, once hands were shaken."""
        self.incoming.write(octets)
        said = b""
        try:
            if not self.is_shaken:
                self.tls.do_handshake()
                self.is_shaken = True
            while piece := self.tls.read(65_536):
                said += piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error
        return said

    def say(self, octets: bytes) -> None:
        """Say something, once hands were shaken."""
        if self.is_shaken and self.error is None and octets:
            try:
                self.tls.write(octets)
            except ssl.SSLError as error:
                self.error = error


def run(octets: bytes) -> None:
    """Hold what is promised.

    Raises:
        AssertionError: when it does not hold.
    """
    options = octets[0] if octets else 0
    client = End(_CONTEXTS[options & NEWEST, options & (CERTIFIED | STRANGE)], server=False)
    server, served = End(CREDENTIALS.context, server=True), Client(handshake=False)
    client.take(b"")
    steps = _steps(octets[1:])
    waiting = _records(client.outgoing.read())
    for step in [*steps, *[Step(PASS, b"")] * 4]:
        sent = _sent(step, client, waiting)
        if server.error is not None:
            break
        said = server.take(sent)
        if said and not served.ended:
            served.send(said)
            served.frames.clear()
        server.say(served.octets[-len(said) * 60 :] if said else b"")
        client.take(server.outgoing.read())
        waiting += _records(client.outgoing.read())
    if server.error is not None:
        assert unshaken(server.error) in {None, "plaintext"}
    if options & (CERTIFIED | STRANGE) != CERTIFIED:
        assert not server.is_shaken, "a client without a right certificate has shaken hands"
        assert not served.checked
    served.connection.abandon()


def _sent(step: Step, client: End, waiting: list[bytes]) -> bytes:
    """Say what reaches the server in a step."""
    if step.kind == INSERT:
        return step.octets
    if step.kind == SEND:
        client.say(step.octets)
        waiting += _records(client.outgoing.read())
        return b""
    record = waiting.pop(0) if waiting else b""
    if step.kind == DROP:
        return b""
    if step.kind == REPEAT:
        return record * 2
    if step.kind == CHANGE and record:
        changed = bytearray(record)
        for at, octet in enumerate(step.octets):
            changed[(at * 7 + octet) % len(changed)] ^= octet or 1
        return bytes(changed)
    return record


def _records(octets: bytes) -> list[bytes]:
    """Cut octets into records of TLS."""
    records = []
    while octets:
        size = RECORD_HEAD + int.from_bytes(octets[3:5])
        records.append(octets[:size])
        octets = octets[size:]
    return records


def _steps(octets: bytes) -> list[Step]:
    steps = []
    while len(octets) >= STEP_HEAD and len(steps) < MOST_STEPS:
        kind, size = octets[0] % 6, octets[1]
        steps.append(Step(kind, octets[STEP_HEAD : STEP_HEAD + size]))
        octets = octets[STEP_HEAD + size :]
    return steps


def _written(options: int, steps: list[Step]) -> bytes:
    return bytes([options]) + b"".join(bytes([step.kind, len(step.octets)]) + step.octets for step in steps)


def mutate(octets: bytes, chance: random.Random, anyhow: Mutate) -> bytes:
    """Change an input step by step."""
    options, steps = (octets or b"\0")[0], _steps(octets[1:])
    at = chance.randrange(len(steps) + 1)
    match chance.randrange(5):
        case 0:
            options = chance.randrange(8)
        case 1:
            steps.insert(at, Step(chance.randrange(6), chance.randbytes(chance.randrange(12))))
        case 2:
            del steps[at : at + 1]
        case 3 if at < len(steps):
            steps[at] = steps[at]._replace(kind=chance.randrange(6))
        case _ if at < len(steps):
            steps[at] = steps[at]._replace(octets=anyhow(steps[at].octets or b"\0")[:LONGEST])
    return _written(options, steps[:MOST_STEPS])


def seeds() -> dict[str, bytes]:
    """Make inputs to begin with: a call in both versions, clients without a right certificate, and no TLS at all."""
    asking = [Step(PASS, b"")] * 8 + [Step(SEND, part) for part in _parts(written(*greeting(), Client(handshake=False).call(1)))]
    return {
        "call": _written(NEWEST | CERTIFIED, asking),
        "call-1.2": _written(CERTIFIED, asking),
        "stranger": _written(NEWEST | STRANGE, asking),
        "expired": _written(CERTIFIED | STRANGE, asking),
        "nobody": _written(0, asking),
        "changed": _written(CERTIFIED, [Step(PASS, b""), Step(CHANGE, b"\x07"), Step(REPEAT, b""), *asking]),
        "plaintext": _written(0, [Step(INSERT, part) for part in _parts(written(*greeting()))]),
    }


def _parts(octets: bytes) -> list[bytes]:
    return [octets[at : at + LONGEST] for at in range(0, len(octets), LONGEST)]
