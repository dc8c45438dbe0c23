"""A list of revocations in Redis: learned of at once, kept through outages, and read whatever stands there."""

import re
from math import inf
from pathlib import Path

import pytest
import redis

from authz_server.core.revocations import Revocation
from authz_server.demo.process import free_port
from authz_server.revocations import shared
from authz_server.revocations.server import connect
from authz_server.revocations.shared import KEY, STREAM
from authz_server.revocations.source import RevocationsError
from tests.authority import Authority
from tests.redis_server import SECRET, RedisServer
from tests.revocations.following import ADA, EVE, refused
from tests.waiting import PATIENCE, until


def test_what_stands_there_is_read(server, follow, revocations):
    """Entries whose time is over are not."""
    shared.add(server, ADA, 1_000.0)
    shared.add(server, EVE._replace(until=5.0), 1.0)
    follow()
    until(lambda: revocations.known)

    assert refused(revocations, sub="ada")
    assert len(revocations) == 1


def test_what_is_new_is_told(server, follow, revocations, monkeypatch):
    """Nobody has to wait until the whole set is read again."""
    monkeypatch.setattr(shared, "RESYNC_SECONDS", 5 * PATIENCE)
    follow()
    until(lambda: revocations.known)
    shared.add(server, EVE, 1_000.0)

    until(lambda: refused(revocations, jti="eve"))


def test_what_is_taken_back_is_learned_of_too(server, follow, revocations):
    """Whatever the times of the entry are; others stay."""
    shared.add(server, ADA, 1_000.0)
    shared.add(server, EVE, 1_000.0)
    follow()
    until(lambda: len(revocations) == 2)
    assert shared.remove(server, Revocation("sub", "ada"))
    until(lambda: len(revocations) == 1)

    assert refused(revocations, jti="eve")
    assert not shared.remove(server, Revocation("sub", "nobody"))  # changes nothing


def test_the_later_end_counts(server):
    """A second revocation does not end the first one sooner."""
    shared.add(server, ADA, 1_000.0)
    shared.add(server, ADA._replace(until=3e9), 1_000.0)
    with server.client as client:
        assert client.zscore(KEY, "sub=ada issued_before=900") == 4e9


def test_the_whole_set_can_be_read(server):
    """Each entry with the end that counts, also those that are over; what can not be read refuses nothing."""
    with server.client as client:
        client.zadd(KEY, {"sub=bob until=5": inf, "nonsense": 1.0, "é": 1.0})
    shared.add(server, ADA, 1.0)

    assert shared.read(server) == [ADA, Revocation("sub", "bob", inf, 5.0)]


def test_an_outage_takes_nothing_back(tmp_path, program, follow, revocations, told):
    """What was known stays, the age grows, and what was written meanwhile is learned of when Redis is back."""
    with RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always", program=program) as mine:
        there = connect(mine.url, SECRET)
        shared.add(there, ADA, 1_000.0)
        followed = follow(there)
        until(lambda: revocations.known)
        mine.kill()
        until(lambda: told.ends[-1][0] == "failed")
        assert refused(revocations, sub="ada")
        assert followed.age() > 0
        mine.start()
        shared.add(connect(mine.url, SECRET), EVE, 1_000.0)
        until(lambda: refused(revocations, jti="eve"))

    assert refused(revocations, sub="ada")
    assert followed.age() < 5
    assert SECRET not in repr(told.ends)


def test_after_too_long_an_outage_nothing_is_said(tmp_path, program, follow, revocations, told):
    """Where the operator has said how long that is; once Redis is back, all is well."""
    with RedisServer(tmp_path, program=program) as mine:
        follow(connect(mine.url, SECRET), max_age=0.3)
        until(lambda: revocations.known)
        mine.kill()
        until(lambda: not revocations.known)
        mine.start()
        until(lambda: revocations.known)

    assert {outcome for outcome, _ in told.ends} == {"ok", "failed"}


def test_a_redis_that_was_never_there_leaves_the_list_unknown(tmp_path, follow, revocations, told):
    """Nothing is said about tokens, and the age is infinite."""
    with RedisServer(tmp_path) as gone:
        pass
    followed = follow(connect(gone.url, SECRET))
    until(lambda: len(told.ends) >= 2)

    assert (revocations.known, followed.age()) == (False, inf)
    assert told.ends[-1] == ("failed", f"redis://127.0.0.1:{gone.port}: ConnectionError")


def test_a_wrong_password_is_told_without_it(running, follow, revocations, told):
    """As every failure."""
    follow(connect(running.url, "marked-wrong-password"))
    until(lambda: told.ends)

    assert told.ends[0] == ("failed", f"redis://127.0.0.1:{running.port}: AuthenticationError")
    assert not revocations.known


@pytest.mark.parametrize(
    "member", [b"\xff\xfe", b"nonsense", b"sub=" + b"a" * 2_000, b"sub=a until=tomorrow", b"sub=a until=9999-12-31T23:59:59-01:00", b""]
)
def test_what_can_not_be_read_refuses_nothing_and_hinders_nothing(server, follow, revocations, told, member):
    """It is told once, whether it stands in the set or comes by the stream, and nothing of it is repeated."""
    server.client.zadd(KEY, {member: 4e9, b"sub=ada": 4e9})
    follow()
    until(lambda: revocations.known)
    server.client.xadd(STREAM, {"entry": member})
    shared.add(server, EVE, 1_000.0)
    until(lambda: refused(revocations, jti="eve"))

    assert refused(revocations, sub="ada")
    assert len(told.details) == 1
    assert "aaaa" not in told.details[0]


def test_keys_of_another_type_are_a_failure(server, follow, revocations, told):
    """The list is not known, and the log names the kind of error."""
    server.client.set(KEY, "text")
    follow()
    until(lambda: told.ends)

    assert told.ends[0][1].endswith("ResponseError")
    assert not revocations.known


def test_a_list_that_is_too_long_is_a_failure(server, follow, revocations, told, monkeypatch):
    """Memory is bounded; what was known stays."""
    monkeypatch.setattr(shared, "MAX_ENTRIES", 2)
    shared.add(server, ADA, 1_000.0)
    follow()
    until(lambda: revocations.known)
    for number in range(3):
        shared.add(server, Revocation("jti", str(number), inf, 4e9), 1_000.0)
    until(lambda: told.ends[-1][0] == "failed")

    assert refused(revocations, sub="ada")
    assert "more than 2 entries" in told.ends[-1][1]
    until(lambda: "that are not over" in told.ends[-1][1])


def test_the_whole_set_is_read_now_and_then(server, follow, revocations, monkeypatch):
    """So what the stream did not tell of, such as an entry that was put into the set alone, is learned of within a minute."""
    monkeypatch.setattr(shared, "RESYNC_SECONDS", 0.1)
    shared.add(server, ADA, 1_000.0)
    follow()
    until(lambda: len(revocations) == 1)
    server.client.zadd(KEY, {"jti=eve": 4e9})
    until(lambda: refused(revocations, jti="eve"))

    assert revocations.known
    assert refused(revocations, sub="ada")


def test_what_is_over_is_let_go(server, follow, revocations, monkeypatch):
    """It takes no memory for long, and is no loss."""
    monkeypatch.setattr(shared, "RESYNC_SECONDS", 0.1)
    times = [1_000.0]
    followed = follow(now=lambda: times[0])
    until(lambda: revocations.known)
    shared.add(server, ADA, 1_000.0)
    shared.add(server, EVE._replace(until=2_000.0), 1_000.0)
    until(lambda: len(revocations) == 2)
    times[0] = 2_001.0
    until(lambda: len(revocations) == 1)

    assert (refused(revocations, sub="ada"), followed.kept()) == (True, 0)


AHEAD = 5e9  # a moment at which ADA and EVE would be over
CLOCKS = pytest.mark.parametrize(("here", "there"), [(AHEAD, 1_000.0), (1_000.0, AHEAD)], ids=["here", "at Redis"])


def clock_of_redis(monkeypatch, server, seconds):
    """Let Redis tell a time."""
    monkeypatch.setattr(server.client, "time", lambda: (int(seconds), 0))


@CLOCKS
def test_a_clock_that_has_gone_ahead_takes_nothing_back(server, follow, revocations, monkeypatch, here, there):
    """Neither the follower's nor that of Redis: when it is set right what is refused is known, and was no loss meanwhile."""
    monkeypatch.setattr(shared, "RESYNC_SECONDS", 0.1)
    times = [1_000.0]
    shared.add(server, ADA, 1_000.0)
    followed = follow(now=lambda: times[0])
    until(lambda: len(revocations) == 1)
    times[0] = here
    clock_of_redis(monkeypatch, server, there)
    contact = followed.contact
    until(lambda: followed.contact > contact + 0.3)

    assert (refused(revocations, sub="ada"), followed.kept()) == (True, 0)


@CLOCKS
def test_who_revokes_with_a_clock_that_has_gone_ahead_deletes_nothing(server, monkeypatch, here, there):
    """Neither with one's own nor with that of Redis."""
    shared.add(server, ADA, 1_000.0)
    clock_of_redis(monkeypatch, server, there)
    shared.add(server, EVE, here)

    assert server.client.zcard(KEY) == 2


@pytest.mark.parametrize(("late", "left"), [(59.0, 2), (61.0, 1)])
def test_what_is_over_by_both_clocks_is_deleted_a_minute_later(server, monkeypatch, late, left):
    """A follower whose clock is a little behind does not take it for lost."""
    clock_of_redis(monkeypatch, server, AHEAD)
    shared.add(server, ADA._replace(until=2_000.0), 1_000.0)
    shared.add(server, EVE, 2_000.0 + late)

    assert server.client.zcard(KEY) == left


def test_the_permissions_in_the_page_are_enough(running, follow, revocations):
    """One user of Redis may write and another may follow, with what docs/revocation.md gives to each, and no more."""
    page = Path("docs/revocation.md").read_text()
    with running.client() as client:
        for user, rights in zip(("writer", "follower"), re.findall(r"`(\+@read [^`]*)`", page), strict=True):
            client.execute_command("ACL", "SETUSER", user, "reset", "on", f">{SECRET}", "~authz:revocations*", *rights.split())
    writer, follower = (connect(running.url.replace("//", f"//{user}@"), SECRET) for user in ("writer", "follower"))
    with writer.client, follower.client:
        shared.add(writer, ADA, 1_000.0)
        follow(follower)
        until(lambda: refused(revocations, sub="ada"))
        shared.add(writer, EVE, 1_000.0)
        until(lambda: refused(revocations, jti="eve"))
        shared.remove(writer, ADA)
        until(lambda: not refused(revocations, sub="ada"))

        with pytest.raises(RevocationsError, match="NoPermissionError"):
            shared.add(follower, ADA, 1_000.0)


def test_the_stream_is_bounded(server):
    """However many sign out."""
    assert shared.MAX_STREAM <= 10_000
    for number in range(3):
        shared.add(server, Revocation("jti", str(number), inf, 4e9), 1_000.0)

    assert server.client.xlen(STREAM) == 3
    assert server.client.zcard(KEY) == 3


@pytest.mark.redis
def test_tls_and_a_unix_socket(tmp_path, follow, revocations):
    """A server that the given CA vouches for is asked, one that it does not is not."""
    authority, stranger, path = Authority(), Authority(), tmp_path / "redis.sock"
    pair = authority.server()
    for name, octets in {"crt": pair.certificate, "key": pair.key, "ca": authority.certificate, "other": stranger.certificate}.items():
        (tmp_path / name).write_bytes(octets)
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(tmp_path / "crt"), "--tls-key-file", str(tmp_path / "key")]
    tls += ["--tls-ca-cert-file", str(tmp_path / "ca"), "--tls-auth-clients", "no", "--unixsocket", str(path)]
    with RedisServer(tmp_path, *tls, port=0):
        until(path.exists)
        shared.add(connect(f"unix://{path}", SECRET), EVE, 1_000.0)
        with pytest.raises(RevocationsError, match="ConnectionError"):
            shared.add(connect(f"rediss://localhost:{port}/0?ssl_ca_certs={tmp_path / 'other'}", SECRET), ADA, 1_000.0)
        follow(connect(f"rediss://localhost:{port}/0?ssl_ca_certs={tmp_path / 'ca'}", SECRET))
        until(lambda: revocations.known)

    assert refused(revocations, jti="eve")


@pytest.mark.parametrize("url", ["redis://host:port/0", "rediss://host?socket_timeout=soon", "redis://[::1"])
def test_a_url_that_can_not_be_read_is_an_error(url):
    """It is not repeated: it may hold a password."""
    with pytest.raises(RevocationsError) as error:
        connect(url, None)
    assert "rediss://HOST:PORT/DB" in str(error.value)
    assert url not in str(error.value)


def test_what_redis_does_not_take_is_told(tmp_path):
    """A sign-out that was not written must not look as if it was."""
    with RedisServer(tmp_path) as gone:
        pass
    there = connect(gone.url, SECRET)

    with pytest.raises(RevocationsError, match=r"did not take it \(ConnectionError\)"):
        shared.add(there, ADA, 1_000.0)
    with pytest.raises(RevocationsError, match="did not take it"):
        shared.remove(there, ADA)
    assert isinstance(there.client, redis.Redis)
