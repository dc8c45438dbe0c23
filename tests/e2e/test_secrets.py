"""Nothing that a client sends in confidence leaves the server, unless a setting names the claim."""

import json
import os
import re
import signal
import socket
import ssl
import time
import urllib.parse
from base64 import b64encode, urlsafe_b64encode
from contextlib import closing, suppress
from pathlib import Path

import grpc
import pytest

from authz_server.core.revocations import Revocation
from authz_server.envoy.stubs import CheckRequest, CheckResponse
from authz_server.revocations import file, shared
from authz_server.revocations.server import connect as server_of
from authz_server.testing import Fault, LocalCognito, UserPool
from tests.authority import ENVOY, SERVER, Authority
from tests.e2e import debugging
from tests.e2e.marks import found, mark
from tests.e2e.stack import Server, two_ports
from tests.redis_server import SECRET, RedisServer
from tests.waiting import PATIENCE, until

CONFIGURATION = """\
version: 1
authorizers:
  users: {type: cognito_user_pools, provider_arns: [ARN, 'OTHER_ARN']}
apis:
  shop:
    claim_headers: {x-auth-sub: sub}
    dynamic_metadata: ["custom:told"]
    log_claims: ["custom:logged"]
    routes:
      /{proxy+}:
        ANY: {authorizer: users}
        POST: {authorizer: users, authorization_scopes: [pets/write]}
user_pools:
  POOL: {jwks_uri: JWKS}
  OTHER_ID: {jwks_uri: OTHER_URL}
"""
TOO_LONG = 8_192  # octets of a line, to the last one that is read: what is left unread would break the connection before the answer is
NAMED = {"header": "sub", "metadata": "custom:told", "log": "custom:logged"}
CLAIMS = ("sub", "custom:told", "custom:logged", "email", "cognito:username", "cognito:groups", "jti", "event_id", "origin_jti")
PLACES = (
    *CLAIMS,
    "kid",
    "typ",
    "query",
    "path",
    "cookie",
    "header",
    "basic",
    "raw",
    "signature",
    "scope",
    "context",
    "metadata",
    "password",
    "userinfo",
    "revoked",
    "private key",
)
MARKS = {**{place: mark(re.sub(r"\W", "", place)) for place in PLACES}, "password of Redis": SECRET}
REFUSED = {
    f"https://ada:{MARKS['password']}@keys.example.com/": "a URL with a user or password is refused",
    f"http://keys.example.com/?{MARKS['password']}": "http is refused",
}
REVOKED = MARKS["revoked"]
NONSENSE = f"sub={REVOKED} subject={REVOKED}"
CHECK = "/envoy.service.auth.v3.Authorization/Check"


def claims(**changes):
    """Mark every claim; marks stand between other characters, so that each form of escape has something to do."""
    marked = {name: f"é/ {MARKS[name]} +" for name in CLAIMS}
    return {**marked, "cognito:groups": [marked["cognito:groups"]], **changes}


def tokens(pool, other, stranger):
    """Make tokens that end in every kind of denial, and some that are good."""
    good = pool.id_token(**claims())
    head, body, signature = good.split(".")
    marked = urlsafe_b64encode(f"x{MARKS['signature']}".encode().ljust(256, b"x")).decode().rstrip("=")
    kid = {"kid": f"/{MARKS['kid']}+", "typ": MARKS["typ"]}
    return {
        "good": good,
        "again": good,
        "access": pool.access_token(scope=f"pets/write {MARKS['scope']}", **claims()),
        "without scope": pool.access_token(scope=MARKS["scope"], **claims()),
        "expired": pool.id_token(**claims(exp=1)),
        "not yet valid": pool.id_token(**claims(nbf=9_999_999_999)),
        "no time": pool.id_token(**claims(exp=MARKS["email"])),
        "other issuer": pool.id_token(**claims(iss=f"https://example.com/{MARKS['email']}")),
        "other use": pool.id_token(**claims(token_use=MARKS["email"])),
        "forged signature": f"{head}.{body}.{marked}",
        "cut signature": f"{head}.{body}.{signature[:20]}",
        "unknown kid": pool.id_key.sign(pool.id_claims(**claims()), header=kid),
        "stranger's": stranger.id_token(**claims()),
        "no algorithm": pool.id_key.sign(pool.id_claims(**claims()), header={**kid, "alg": "none"}),
        "no kid": pool.id_key.sign(pool.id_claims(**claims()), header={"kid": None, "typ": MARKS["typ"]}),
        "twice": pool.id_key.sign(b'{"email":"%s","email":1}' % MARKS["email"].encode()),
        "broken header": pool.id_key.sign(b"{}", header=b'{"kid":"%s' % MARKS["kid"].encode()),
        "two parts": f"{head}.{body}",
        "no token": f"Mk {MARKS['raw']}",
        "too long": MARKS["raw"] * 4_000,
        "not ASCII": f"é{MARKS['raw']}",
        "password": "Basic " + b64encode(f"ada:{MARKS['basic']}".encode()).decode(),
        "no keys": other.id_token(**claims()),
        "revoked": pool.id_token(**claims(jti=REVOKED)),
        "bug": pool.id_token(**claims(**{"custom:bug": MARKS["email"]})),
    }


def request(token, *, method="GET", host="api.example.com", **context):
    """Write a check with a mark in each place where a client may put a secret."""
    written = CheckRequest()
    http = written.attributes.request.http
    http.method, http.host = method, host
    http.path = f"/files/{MARKS['path']}/{urllib.parse.quote(MARKS['path'])}?code={MARKS['query']}&state=%{ord('M'):x}k"
    http.headers.update(
        {
            "authorization": token,
            "cookie": f"session={MARKS['cookie']}; b={b64encode(MARKS['cookie'].encode()).decode()}",
            "x-request-id": f"{MARKS['header']} ",  # one that is harmless is logged as it came
            "traceparent": f"00-{MARKS['header'].ljust(32, '0')}-00f067aa0ba902b7-01",
            "b3": MARKS["header"],
            "x-api-key": MARKS["header"],
            "x-auth-sub": MARKS["header"],
            "referer": f"https://example.com/?{MARKS['query']}",
        }
    )
    written.attributes.context_extensions.update(context)
    return written.SerializeToString()


class Talk:
    """Everything that a server is sent, and all that it gives out but its log.

    Args:
        server: that one.
        ports: of its workers.
        door: how to get in.
    """

    def __init__(self, server, ports, door):
        self._server = server
        self._door = door
        self._ports = ports
        self.answers = {}
        self.errors = []

    def checks(self, named):
        """Send every token to every worker, as a read and as a write, and requests that name an api or an authorizer."""
        for port in self._ports:
            with self._door.channel(port) as channel:
                call = channel.unary_unary(CHECK, response_deserializer=CheckResponse.FromString)
                secret = (("authorization", MARKS["metadata"]), ("cookie", MARKS["metadata"]))
                for name, token in named.items():
                    for method in ("GET", "POST"):
                        self.answers[name, method, port] = call(request(token, method=method), timeout=PATIENCE, metadata=secret)
                for number, context in enumerate(
                    ({"api": MARKS["context"]}, {"api": "shop", "authorizer": MARKS["context"]}, {"authorizer": "users"})
                ):
                    self.answers[f"context {number}", "GET", port] = call(request(named["good"], **context), timeout=PATIENCE)
                with_user = request(named["good"], host=f"ada:{MARKS['userinfo']}@api.example.com")
                self.answers["user in the host", "GET", port] = call(with_user, timeout=PATIENCE)
                self._malformed(channel, secret, named["good"])

    def _malformed(self, channel, secret, token):
        """Call what is no check, and what there is no method for."""
        whole = request(token)
        for data in (whole[:-7], b"\x0a" + whole, MARKS["raw"].encode(), bytes(100) + whole):
            self.answers[data, "", ""] = channel.unary_unary(CHECK, response_deserializer=CheckResponse.FromString)(data, timeout=PATIENCE)
        for path in (
            f"/{MARKS['path']}/Check",
            CHECK + MARKS["path"],
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/" + MARKS["path"],
        ):
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(path)(b"\x0a\x7f" + MARKS["raw"].encode(), timeout=PATIENCE, metadata=secret)
            self.errors.append(str(refused.value))
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(CHECK)(MARKS["raw"].encode() * 200_000, timeout=PATIENCE)
        self.errors.append(str(refused.value))

    def octets(self, token):
        """Speak other protocols to each port, and ask the admin port for what there is and what is not."""
        head = f"authorization: {token}\r\ncookie: {MARKS['cookie']}\r\n\r\n"
        paths = (
            f"{path}?{MARKS['query']}" for path in ("/healthz", "/readyz", "/metrics", "/", "/config", "/debug/pprof", "/" + MARKS["path"])
        )
        asked = [f"GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{head}" for path in paths]
        asked += [
            f"{MARKS['raw']} / HTTP/1.1\r\n{head}",
            f"GET / {MARKS['raw']}\r\n{head}",
            f"POST /{MARKS['path']} HTTP/1.1\r\n{head}",
            f"{token}\r\n\r\n",
        ]
        asked += [
            f"GET / HTTP/9.{MARKS['raw']}\r\n\r\n",
            ("GET /" + MARKS["path"] * 10_000)[:TOO_LONG],
            f"GET / HTTP/1.1\r\n{MARKS['raw']}\r\n" * 200,
        ]
        opened = [(_plain, self._server.admin), *((way, port) for port in self._ports for way in self._door.ways())]
        return "\n".join(_spoken(way, port, text) for text in asked for way, port in opened)


def _plain(port):
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def _spoken(way, port, text):
    """Send octets, and take what comes until the other side has enough."""
    with suppress(OSError), closing(way(port)) as client:
        client.settimeout(1)
        client.sendall(text.encode())
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65_536), b"")).decode("latin-1")
    return ""


class Open:
    """A door that anybody may use.

    Args:
        _: a folder, of which it has no need.
    """

    def __init__(self, _):
        self.flags = ()

    def channel(self, port):
        """Connect."""
        return grpc.insecure_channel(f"127.0.0.1:{port}")

    def ways(self):
        """List how octets can be sent."""
        return (_plain,)

    def spoil(self, server):
        """Leave it as it is: there is no certificate."""


class Guarded:
    """A door with mutual TLS.

    Args:
        folder: for certificates.
    """

    def __init__(self, folder):
        self._folder, self._authority = folder, Authority()
        self._authority.server().write(folder)
        self._client = self._authority.envoy().write(folder, "client")
        (folder / "ca.crt").write_bytes(self._authority.certificate)
        names = {"cert": "tls.crt", "key": "tls.key", "client-ca": "ca.crt"}
        self.flags = (*(each for flag, name in names.items() for each in (f"--tls-{flag}", str(folder / name))), "--tls-allow-san", ENVOY)

    def channel(self, port):
        """Connect as one who may ask."""
        credentials = grpc.ssl_channel_credentials(self._authority.certificate, self._client.key, self._client.certificate)
        return grpc.secure_channel(f"127.0.0.1:{port}", credentials, [("grpc.ssl_target_name_override", SERVER)])

    def ways(self):
        """List how octets can be sent: without TLS, without a certificate, and as one who may ask."""
        return _plain, lambda port: self._secure(port, None), lambda port: self._secure(port, "client")

    def spoil(self, server):
        """Give it a private key with a secret in it that can not be read."""
        (self._folder / "tls.key").write_text(f"-----BEGIN PRIVATE KEY-----\n{MARKS['private key']}\n-----END PRIVATE KEY-----\n")
        until(lambda: "is no private key in PEM" in server.log())

    def _secure(self, port, name):
        context = ssl.create_default_context(cafile=self._folder / "ca.crt")
        context.set_alpn_protocols(["h2"])
        if name is not None:
            context.load_cert_chain(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        return context.wrap_socket(_plain(port), server_hostname=SERVER)


class InFile:
    """A list of revocations in a file.

    Args:
        folder: for it.
    """

    def __init__(self, folder):
        self._path = folder / "lists" / "revoked"
        self._path.parent.mkdir()
        file.add(self._path, Revocation("jti", REVOKED), time.time())
        self.place = str(self._path)

    def spoil(self, server):
        """Write what can not be read."""
        self._path.write_text(f"jti={REVOKED}\n{NONSENSE}\n")
        until(lambda: f"{self._path}:2: expected" in server.log())

    def close(self):
        """Leave it."""


class InRedis:
    """A list of revocations in Redis, with a password.

    Args:
        folder: for its files.
    """

    def __init__(self, folder):
        (folder / "redis").mkdir()
        self._redis = RedisServer(folder / "redis")
        self.place = self._redis.url.replace("//", f"//:{SECRET}@")
        shared.add(server_of(self.place, None), Revocation("jti", REVOKED), time.time())

    def spoil(self, server):
        """Write what can not be read, change the password, and end it."""
        with self._redis.client() as client:
            client.xadd(shared.STREAM, {"entry": NONSENSE})
            until(lambda: "can not be read and refuses nothing" in server.log())
            client.config_set("requirepass", MARKS["password"])
            client.client_kill_filter(_type="normal", skipme=True)
            until(lambda: "AuthenticationError" in server.log())
        self._redis.kill()
        until(lambda: "ConnectionError" in server.log())

    def close(self):
        """End it, if it goes on."""
        self._redis.kill()


@pytest.fixture(scope="module")
def other():
    """A pool whose keys never come."""
    return UserPool("eu-west-1_Other0001")


@pytest.fixture(
    scope="module",
    params=[("json", "1", Open, InFile), ("text", "2", Guarded, InRedis)],
    ids=["JSON, one process", "text, two workers, all on"],
)
def drive(request, tmp_path_factory, pool, cognito, other, transport):
    """Start a server that logs everything, put it through everything, end it, and hand out all that came of it."""
    folder = tmp_path_factory.mktemp("secrets")
    log, workers, kind, listed = request.param
    door, state = kind(folder), folder / "state"
    (folder / "sitecustomize.py").write_text(Path(debugging.__file__).read_text())
    environment = {"PYTHONPATH": str(folder), "PYTHONDEVMODE": "1", "GRPC_VERBOSITY": "DEBUG", "AUTHZ_WORKERS": workers}
    with LocalCognito(other) as broken, closing(listed(folder)) as revoked:
        environment["AUTHZ_REVOCATIONS"] = revoked.place
        broken.faults[other.id] = Fault(body=f'{{"keys":[{{"kid":1,"k":"{MARKS["password"]}"}}]}}'.encode())
        text = CONFIGURATION.replace("OTHER_ARN", other.arn).replace("OTHER_ID", other.id).replace("OTHER_URL", broken.jwks_uri(other))
        arguments = ("--transport", transport, "--decision-log", log, "--state-dir", str(state), *door.flags)
        server = Server.start(folder, pool, cognito, *arguments, configuration=text, environment=environment, port=two_ports())
        try:
            talk = Talk(server, [server.port + worker for worker in range(int(workers))], door)
            named = tokens(pool, other, UserPool(pool.id))
            talk.checks(named)
            broken.faults[other.id] = Fault(status=500, body=MARKS["password"].encode())
            talk.checks({"no keys": named["no keys"], "good": named["good"]})
            spoken = talk.octets(named["good"])
            _reload_what_is_bad(server)
            revoked.spoil(server)
            door.spoil(server)
            if workers != "1":
                _kill_a_worker(server)
            metrics = server.get("/metrics")[1]
        finally:
            server.process.stop(signal.SIGTERM)
    return server, talk, spoken, metrics, {path.name: path.read_text("latin-1") for path in state.iterdir()}


def _reload_what_is_bad(server):
    """Give a running server configurations with secrets in them that it refuses."""
    for url, refusal in REFUSED.items():
        text = server.config.read_text()
        server.config.write_text(re.sub(r"(eu-west-1_Other0001: \{jwks_uri: ).*\}", rf'\1"{url}"}}', text))
        until(lambda: refusal in server.log())  # noqa: B023 - called in the loop


def _kill_a_worker(server):
    (pid, *_) = re.findall(r"worker 1 is process (\d+)", server.log())
    os.kill(int(pid), signal.SIGKILL)
    until(lambda: "is started again" in server.log())


def test_no_secret_is_in_a_log(drive):
    """Neither the decision log nor any logger, at its most talkative, tells what a client sent; a claim that `log_claims` names is told."""
    server, *_ = drive

    assert found(server.log(), MARKS) == {NAMED["log"]}


def test_a_logged_claim_is_in_the_decision_log_alone(drive):
    """The claim that `log_claims` names stands in lines of allowed checks, and in no other line."""
    server, *_ = drive
    lines = [line for line in server.log().splitlines() if found(line, MARKS)]

    assert lines
    assert all('"decision":"allow"' in line or " allow " in line for line in lines)


def test_everything_was_logged(drive):
    """The search has something to search: each logger told everything, and each kind of denial was met, bugs included."""
    server, *_ = drive
    log = server.log()

    assert [name for name in debugging.CONTROL if f"{name} tells everything" not in log] == []
    reasons = {
        "signature_invalid",
        "key_unknown",
        "token_expired",
        "token_malformed",
        "keys_unavailable",
        "request_malformed",
        "internal_error",
        "token_revoked",
    }
    assert [reason for reason in reasons if reason not in log] == []
    assert "bug: ValueError while answering a check" in log


def test_no_secret_is_in_metrics(drive):
    """Labels come from the configuration and closed tables."""
    _, _, _, metrics, _ = drive

    assert 'reason="internal_error"' in metrics
    assert found(metrics, MARKS) == set()


def test_no_secret_is_in_the_state_directory(drive):
    """It holds the keys of pools whose keys came, and nothing of what anybody sent."""
    *_, state = drive

    assert state
    assert found("\n".join([*state, *state.values()]), MARKS) == set()


def test_no_secret_is_in_what_is_no_check(drive):
    """The admin port repeats nothing, not even to the one who asked, nor does the gRPC port to those who speak something else."""
    _, _, spoken, *_ = drive

    assert found(spoken, MARKS) == set()
    assert [status for status in ("HTTP/1.0 404", "HTTP/1.0 414", "HTTP/1.0 501", "Error code: 400") if status not in spoken] == []


def test_no_secret_is_in_a_grpc_error(drive):
    """The status of a call that can not be served quotes nothing of it."""
    _, talk, *_ = drive

    assert len(talk.errors) >= 10
    assert found("\n".join(talk.errors), MARKS) == set()


def test_an_answer_tells_the_claims_that_settings_name(drive):
    """A denial tells nothing; an allow has one claim where `claim_headers` names it, and one where `dynamic_metadata` does."""
    _, talk, *_ = drive
    allowed = [answer for answer in talk.answers.values() if answer.status.code == 0]
    denied = [answer for answer in talk.answers.values() if answer.status.code != 0]

    assert len(allowed) >= 3
    assert len(denied) >= 40
    assert found("\n".join(map(str, denied)), MARKS) == set()
    for answer in allowed:
        assert found(str(answer.ok_response), MARKS) == {NAMED["header"]}
        assert found(str(answer.dynamic_metadata), MARKS) == {NAMED["metadata"]}


@pytest.mark.parametrize(
    "written",
    [
        "a {} b",
        lambda word: f"a {word.upper()}",
        lambda word: json.dumps(f"é{word}"),
        lambda word: repr(f"\n{word}"),
        lambda word: word.encode().hex(),
        lambda word: "".join(f"%{ord(letter):02x}" for letter in word),
        lambda word: urllib.parse.quote("".join(f"%{ord(letter):02X}" for letter in word)),
        *(lambda word, before=before: b64encode(f"{'é?>'[:before]}{word}~".encode()).decode() for before in range(4)),
        *(lambda word, before=before: "x." + urlsafe_b64encode(f"{'é?>'[:before]}{word}ÿ".encode()).decode() + ".y" for before in range(4)),
    ],
)
def test_the_search_finds_a_mark_in_any_form(written):
    """What these tests rely on: a mark that is there is found, raw, escaped, in hexadecimal, percent-encoded or in base64."""
    text = written.format(MARKS["kid"]) if isinstance(written, str) else written(MARKS["kid"])

    assert found(text, MARKS) == {"kid"}
