"""Revocation, through both transports: a sign-out is in force at once, whatever was decided before."""

import subprocess
import sys
import time

import pytest

from authz_server.demo.process import authz_server, free_port
from authz_server.testing import UserPool
from tests.e2e.stack import CONFIGURATION, Server, configured
from tests.redis_server import SECRET, RedisServer
from tests.waiting import PATIENCE, until


def revoke(*arguments, **environment):
    """Run the command that refuses tokens."""
    return subprocess.run(
        [sys.executable, "-m", "authz_server", "revoke", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment or None,
    )


def status(server, token):
    """Ask with a token; tell the HTTP status."""
    answer = server.check("GET", "/prod/pets", {"authorization": token})
    return answer.denied_response.status.code if answer.status.code else 200


@pytest.fixture
def token(pool):
    """A good token."""
    return pool.id_token()


@pytest.fixture
def redis(tmp_path):
    """A Redis that keeps what it was told, and the file with its password."""
    folder = tmp_path / "redis"
    folder.mkdir()
    (tmp_path / "password").write_text(SECRET + "\n")
    with RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


def test_a_file_of_revocations(tmp_path, start_server, pool, token):
    """A user signs out: the token that was good and is remembered is refused, one of a later sign-in is good."""
    path = tmp_path / "lists" / "revoked"
    path.parent.mkdir()
    path.touch()
    server = start_server("--revocations", str(path))
    assert [status(server, token) for _ in range(2)] == [200, 200]
    done = revoke("--revocations", str(path), "--sub", pool.id_claims()["sub"])
    assert done.returncode == 0
    until(lambda: status(server, token) == 401)

    assert status(server, pool.id_token(iat=time.time() + 2)) == 200
    assert 'reason="token_revoked"' in server.get("/metrics")[1]
    path.write_text("nonsense\n")
    until(lambda: f"revocations: {path}:1: expected" in server.log())
    assert status(server, token) == 401


def test_a_file_that_is_gone_takes_nothing_back(tmp_path, start_server, pool, token):
    """Nor one behind a link into another folder, of which the system tells nothing; what happens to it is noticed, told and counted."""
    target, path = tmp_path / "there" / "revoked", tmp_path / "here" / "revoked"
    for each in (target, path):
        each.parent.mkdir()
    target.touch()
    path.symlink_to(target)
    server = start_server("--revocations", str(path))
    assert status(server, token) == 200
    assert revoke("--revocations", str(path), "--sub", pool.id_claims()["sub"]).returncode == 0
    until(lambda: status(server, token) == 401)
    target.unlink()
    until(lambda: f"revocations: {path}: cannot be read" in server.log())
    until(lambda: "authz_revocations_age_seconds 0.0" not in server.get("/metrics")[1])

    assert status(server, token) == 401
    target.touch()
    until(lambda: "authz_revocations_age_seconds 0.0" in server.get("/metrics")[1])


def test_a_list_in_redis(tmp_path, start_server, redis, pool, token):
    """Every server learns of a sign-out, keeps it while Redis is away, and learns what came meanwhile."""
    flags = ("--revocations", redis.url, "--revocations-password-file", str(tmp_path / "password"))
    server = start_server(*flags)
    claims = pool.id_claims()
    other = pool.id_token(origin_jti="another")
    assert [status(server, each) for each in (token, other)] == [200, 200]
    done = revoke(*flags, "--origin-jti", claims["origin_jti"])
    token_of_it = pool.id_token(origin_jti=claims["origin_jti"])
    assert done.returncode == 0
    until(lambda: status(server, token_of_it) == 401)
    redis.kill()
    assert revoke(*flags, "--origin-jti", "another").returncode == 1
    assert [status(server, each) for each in (token_of_it, other)] == [401, 200]
    redis.start()
    assert revoke(*flags, "--origin-jti", "another").returncode == 0
    until(lambda: status(server, other) == 401)

    assert SECRET not in server.log() + server.get("/metrics")[1]


def test_without_redis_nothing_is_said_about_good_tokens(tmp_path, start_server, redis, token):
    """Where the operator has said for how long the last known list is good enough; the caller is told to come again."""
    flags = ("--revocations", redis.url, "--revocations-password-file", str(tmp_path / "password"), "--revocations-max-age", "1")
    server = start_server(*flags)
    until(lambda: status(server, token) == 200)
    redis.kill()
    until(lambda: status(server, token) == 503)
    answer = server.check("GET", "/prod/pets", {"authorization": token})
    headers = {option.header.key: option.header.value for option in answer.denied_response.headers}

    assert headers["retry-after"] == "10"
    assert server.get("/readyz")[0] == 503
    assert server.check("GET", "/prod/status").status.code == 0  # a public route
    assert status(server, UserPool().id_token()) == 401
    redis.start()
    until(lambda: status(server, token) == 200)
    until(lambda: server.get("/readyz")[0] == 200)


def test_a_server_that_has_never_seen_the_list_is_not_ready(tmp_path, pool, cognito, transport, token):
    """It answers 503 to good tokens, and becomes ready when Redis does."""
    config, port, admin = tmp_path / "authz.yaml", free_port(), free_port()
    config.write_text(configured(CONFIGURATION, pool, cognito))
    redis = RedisServer(tmp_path)
    redis.kill()
    url = redis.url.replace("://", f"://:{SECRET}@")
    command = ["serve", "--config", str(config), "--listen", f"127.0.0.1:{port}", "--admin", str(admin), "--transport", transport]
    with authz_server(*command, "--drain-seconds", "0", log=tmp_path / "server.log", environment={"AUTHZ_REVOCATIONS": url}) as process:
        server = Server(process=process, config=config, port=port, admin=admin)
        until(lambda: "listens on" in server.log())
        assert (server.get("/healthz")[0], server.get("/readyz")[0], status(server, token)) == (200, 503, 503)
        redis.start()
        with redis:
            until(lambda: server.get("/readyz")[0] == 200)
            until(lambda: status(server, token) == 200)
        assert SECRET not in server.log()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--revocations", "absent"), "absent: cannot be read"),
        (("--revocations", " "), "--revocations is empty"),
        (("--revocations-max-age", "5"), "need --revocations"),
        (("--revocations", "file", "--revocations-max-age", "5"), "for a list in Redis"),
        (("--revocations", "redis://host:port"), "the URL of Redis can not be read"),
        (("--revocations", "redis://host", "--revocations-password-file", "absent"), "the password can not be read"),
    ],
)
def test_flags_that_can_not_be_meant(tmp_path, pool, cognito, flags, words):
    """The server does not start, and says why."""
    config = tmp_path / "authz.yaml"
    config.write_text(configured(CONFIGURATION, pool, cognito))
    command = [sys.executable, "-m", "authz_server", "serve", "--config", str(config), "--listen", f"127.0.0.1:{free_port()}", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=tmp_path)

    assert done.returncode in {1, 2}
    assert words in done.stderr
    assert "Traceback" not in done.stderr
