"""Redis that has lost what it knew: whoever was refused stays so, whatever is written later."""

import itertools
import shutil
import time
from math import inf

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from authz_server.core.revocations import Revocation, Revocations
from authz_server.revocations import shared
from authz_server.revocations.server import connect
from authz_server.revocations.shared import KEY, STREAM, SharedList
from tests.redis_server import SECRET, RedisServer
from tests.revocations.following import ADA, EVE, Told, refused
from tests.waiting import until

BOB = Revocation("sub", "bob", 900.0, 4e9)
DUMP = "dump.rdb"


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Read the whole set after each turn, so that what can get lost does so soon."""
    monkeypatch.setattr(shared, "RESYNC_SECONDS", 0.05)


@pytest.fixture
def twice(follow, revocations):
    """Two replicas: how to have them follow, and whether both refuse a user."""
    other = Revocations(known=False)

    def begin(there):
        follow(there)
        return follow(there, into=other)

    return begin, lambda user: refused(revocations, sub=user) and refused(other, sub=user)


def stays(followed, seen, *users):
    """Whether users stay refused while the list is read a few times more."""
    for _ in range(3):
        contact = followed.contact
        until(lambda: followed.contact > contact + 0.12)  # noqa: B023 - called in the loop
        if not all(map(seen, users)):
            return False
    return True


def lose_all(client):
    """All data is gone."""
    client.flushall()


def lose_set(client):
    """The set is gone, as where memory is short."""
    client.delete(KEY)


def lose_stream(client):
    """The stream is gone."""
    client.delete(STREAM)


def lose_entry(client):
    """Somebody took an entry out of the set, and told nobody."""
    client.zrem(KEY, "sub=ada issued_before=900")


@pytest.mark.parametrize("lose", [lose_all, lose_set, lose_stream, lose_entry])
@pytest.mark.parametrize("at_once", [False, True], ids=["later", "at once"])
def test_a_new_entry_takes_no_old_one_back(server, twice, told, lose, at_once):
    """Whatever is gone, and whether the next sign-out comes at once or when the loss is known: all three are refused."""
    begin, seen = twice
    shared.add(server, ADA, 1_000.0)
    followed = begin(server)
    until(lambda: seen("ada"))
    shared.add(server, BOB, 1_000.0)
    until(lambda: seen("bob"))
    lose(server.client)
    if not at_once:
        assert stays(followed, seen, "ada", "bob")
    shared.add(server, BOB._replace(value="carol"), 1_000.0)
    until(lambda: seen("carol"))

    assert stays(followed, seen, "ada", "bob", "carol")
    assert followed.kept() == {lose_all: 2, lose_set: 2, lose_stream: 0, lose_entry: 1}[lose]
    assert bool(told.losses) == (lose is not lose_stream)


def test_a_restart_without_persistence_takes_nothing_back(tmp_path, program, twice, told):
    """The list begins anew, and holds what is written from then on, too; its loss is told once for each replica, and Redis is there."""
    begin, seen = twice
    with RedisServer(tmp_path, program=program) as mine:
        there = connect(mine.url, SECRET)
        shared.add(there, ADA, 1_000.0)
        followed = begin(there)
        until(lambda: seen("ada"))
        mine.kill()
        mine.start()
        shared.add(connect(mine.url, SECRET), BOB, 1_000.0)
        until(lambda: seen("bob"))
        assert stays(followed, seen, "ada", "bob")
        assert told.ends[-1][0] == "ok"

    assert [line.partition("; ")[0] for line in told.losses] == [f"{there.name} has lost entries, 1 of which stay refused here"] * 2


def test_a_failover_to_an_older_copy_takes_nothing_back(tmp_path, program, twice):
    """A copy that lacks the last sign-outs lacks nothing for those who knew them, and its own entries are taken back as ever."""
    begin, seen = twice
    with RedisServer(tmp_path, program=program) as mine:
        there = connect(mine.url, SECRET)
        shared.add(there, ADA, 1_000.0)
        there.client.save()
        shutil.copy(tmp_path / DUMP, tmp_path / "old.rdb")
        followed = begin(there)
        shared.add(there, BOB, 1_000.0)
        until(lambda: seen("ada") and seen("bob"))
        mine.kill()
        shutil.copy(tmp_path / "old.rdb", tmp_path / DUMP)
        mine.start()
        now = connect(mine.url, SECRET)
        shared.add(now, BOB._replace(value="carol"), 1_000.0)
        until(lambda: seen("carol"))
        assert stays(followed, seen, "ada", "bob", "carol")
        shared.remove(now, ADA)
        until(lambda: not seen("ada"))
        assert stays(followed, seen, "bob", "carol")


def test_what_was_lost_is_taken_back_by_name(server, follow, revocations):
    """Only what the operator names; others that were lost stay."""
    for entry in (ADA, BOB):
        shared.add(server, entry, 1_000.0)
    followed = follow()
    until(lambda: len(revocations) == 2)
    server.client.flushall()
    until(lambda: followed.kept() == 2)
    shared.remove(server, ADA)
    until(lambda: followed.kept() == 1)
    shared.add(server, EVE, 1_000.0)
    until(lambda: refused(revocations, jti="eve"))
    shared.remove(server, EVE)
    until(lambda: not refused(revocations, jti="eve"))

    assert (refused(revocations, sub="ada"), refused(revocations, sub="bob")) == (False, True)


def test_what_was_lost_and_written_again_is_lost_no_more(server, follow, revocations):
    """From then on it is an entry as any other."""
    shared.add(server, ADA, 1_000.0)
    followed = follow()
    until(lambda: len(revocations) == 1)
    server.client.flushall()
    until(lambda: followed.kept() == 1)
    shared.add(server, ADA, 1_000.0)
    until(lambda: followed.kept() == 0)

    assert refused(revocations, sub="ada")


def test_what_was_lost_is_over_in_its_time(server, follow, revocations):
    """As if it had not been lost."""
    times = [1_000.0]
    shared.add(server, ADA._replace(until=2_000.0), 1_000.0)
    followed = follow(now=lambda: times[0])
    until(lambda: len(revocations) == 1)
    server.client.flushall()
    until(lambda: followed.kept() == 1)
    times[0] = 2_000.0
    until(lambda: followed.kept() == 0)

    assert len(revocations) == 0


@pytest.mark.parametrize("event", [{"again": "1"}, {"anything": "else"}])
def test_the_set_alone_is_right_when_the_stream_says_so(server, follow, revocations, event):
    """Whoever takes entries out of the set and has it read again takes them back, but not what was lost before."""
    for entry in (ADA, BOB):
        shared.add(server, entry, 1_000.0)
    followed = follow()
    until(lambda: len(revocations) == 2)
    server.client.flushall()
    until(lambda: followed.kept() == 2)
    shared.add(server, EVE, 1_000.0)
    shared.add(server, BOB, 1_000.0)
    until(lambda: followed.kept() == 1)
    with server.client.pipeline() as pipe:
        pipe.zrem(KEY, "jti=eve", "sub=bob issued_before=900")
        pipe.xadd(STREAM, event)
        pipe.execute()
    until(lambda: len(revocations) == 1)

    assert refused(revocations, sub="ada")


def test_losses_have_bounds(server, follow, revocations, told, monkeypatch):
    """What was lost counts, too; beyond the bound the list is not taken, and nothing is taken back."""
    monkeypatch.setattr(shared, "MAX_ENTRIES", 2)
    for entry in (ADA, BOB):
        shared.add(server, entry, 1_000.0)
    follow()
    until(lambda: len(revocations) == 2)
    server.client.flushall()
    shared.add(server, EVE, 1_000.0)
    until(lambda: "more than 2 entries" in told.ends[-1][1])

    assert all(refused(revocations, sub=user) for user in ("ada", "bob"))


class Still(SharedList):
    """A replica that looks at the list when it is told to."""

    def _run(self):
        """Do nothing of one's own accord."""

    def read(self):
        """Read the whole list."""
        self._read_all()

    def follow(self):
        """Wait for news once."""
        self._follow()

    def pause(self):
        """Look elsewhere."""

    def refused(self):
        """Tell who is refused."""
        return {user for user in USERS if refused(self._revocations, sub=user)}


USERS = ("ada", "bob")


class Copies:
    """A Redis of which older copies take the place of the newest."""

    def __init__(self, server):
        self.server, self.client = server, server.client
        self.client.flushall()
        self.taken_back = set()
        self.copied = self._copy()

    def revoke(self, user):
        """Refuse a user."""
        shared.add(self.server, Revocation("sub", user, 900.0, 4e9), 1_000.0)
        self.taken_back.discard(user)

    def undo(self, user):
        """Take it back with the command."""
        shared.remove(self.server, Revocation("sub", user))
        self.taken_back.add(user)

    def remove(self, user):
        """Take it back as a program of another hand may."""
        with self.client.pipeline() as pipe:
            pipe.zrem(KEY, f"sub={user} issued_before=900")
            pipe.xadd(STREAM, {"again": "1"})
            pipe.execute()
        self.taken_back.add(user)

    def copy(self, _):
        """Make a copy."""
        self.copied = self._copy()

    def fail_over(self, _):
        """Let the last copy take over."""
        self.lose(_)
        for key, octets in self.copied.items():
            if octets:
                self.client.restore(key, 0, octets)

    def lose(self, _):
        """Lose everything."""
        self.client.flushall()
        time.sleep(0.002)  # a new event has another id than the last one that is gone

    def _copy(self):
        return {key: self.client.dump(key) for key in (KEY, STREAM)}


CHANGES = (Copies.revoke, Copies.undo, Copies.remove, Copies.copy, Copies.fail_over, Copies.lose)
STEPS = st.tuples(st.sampled_from(CHANGES), st.sampled_from(USERS), st.sampled_from([Still.read, Still.follow, Still.pause]))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, min_size=2, max_size=8))
@example([(Copies.revoke, "ada", Still.read), (Copies.lose, "", Still.pause), (Copies.remove, "bob", Still.read)])
@example(
    [
        (Copies.revoke, "ada", Still.read),
        (Copies.lose, "", Still.pause),
        (Copies.revoke, "bob", Still.follow),
        (Copies.remove, "bob", Still.read),
    ]
)
@example(
    [
        (Copies.revoke, "ada", Still.read),
        (Copies.undo, "ada", Still.read),
        (Copies.copy, "", Still.pause),
        (Copies.revoke, "ada", Still.read),
        (Copies.lose, "", Still.read),
        (Copies.fail_over, "", Still.read),
    ]
)
def test_in_whatever_order_things_happen_nobody_gets_back_in(server, monkeypatch, steps):
    """Whom a replica has refused it refuses until somebody takes that back, and what is new is followed as ever."""
    monkeypatch.setattr(shared, "BLOCK_SECONDS", 0.001)
    clock, copies = itertools.count(0, 0.02), Copies(server)
    replica = Still(server, Revocations(), Told(), max_age=inf, now=lambda: 1_000.0, clock=lambda: next(clock), spread=lambda: 0.0)
    replica.read()
    for change, user, look in steps:
        before = replica.refused()
        change(copies, user)
        look(replica)
        now = replica.refused()
        assert before - copies.taken_back <= now
        copies.taken_back &= now
    for change, there in ((copies.revoke, {"ada"}), (copies.undo, set())):
        change("ada")
        replica.follow()
        replica.read()
        assert replica.refused() & {"ada"} == there
