"""A file of revocations: read whole or not at all, changed whole or not at all."""

import subprocess
import sys
import threading
from math import inf

import pytest

from authz_server.core.revocations import Revocation, Revocations
from authz_server.revocations import file
from authz_server.revocations.file import FileList
from authz_server.revocations.source import RevocationsError
from tests.waiting import PATIENCE

NOW = 1_000.0
ADA, EVE = Revocation("sub", "ada", 900.0, 2_000.0), Revocation("sub", "eve")


@pytest.fixture
def path(tmp_path):
    """A file with comments."""
    path = tmp_path / "revoked"
    path.write_text("# signed out\n\nsub=ada issued_before=900 until=2000  # by herself\nsub=eve\n")
    return path


def test_a_file_is_read(path):
    """Comments and empty lines say nothing."""
    assert file.read(path) == [ADA, EVE]


def test_every_mistake_is_told_with_its_line(path):
    """A list that is half right is no list."""
    path.write_text("sub=ada\nsubject=eve\nsub=a b\n")

    with pytest.raises(RevocationsError) as error:
        file.read(path)
    assert [line.partition(": ")[0] for line in str(error.value).splitlines()] == [f"{path}:2", f"{path}:3"]


def test_a_file_that_is_not_there_is_a_mistake(tmp_path):
    """Else a name that was mistyped would refuse nothing."""
    with pytest.raises(RevocationsError, match="a file without lines refuses nothing"):
        file.read(tmp_path / "absent")


def test_a_file_has_bounds(path, monkeypatch):
    """In entries and in octets; ten mistakes are enough."""
    monkeypatch.setattr(file, "MAX_ENTRIES", 1)
    with pytest.raises(RevocationsError, match="more than 1 entries"):
        file.read(path)
    monkeypatch.setattr(file, "MAX_SIZE", 10)
    with pytest.raises(RevocationsError, match=r"larger than 10 bytes\); take out what is over, or use Redis"):
        file.read(path)
    path.write_text("x\n" * 1_000)
    monkeypatch.setattr(file, "MAX_SIZE", 10_000)
    with pytest.raises(RevocationsError) as error:
        file.read(path)
    assert len(str(error.value).splitlines()) == 10


def test_an_entry_is_added_and_what_is_over_goes(path):
    """Comments stay; the same entry stands once."""
    new = Revocation("jti", "x", inf, 5_000.0)
    for _ in range(2):
        file.add(path, new, 2_000.0)

    assert path.read_text() == "# signed out\n\nsub=eve\njti=x until=1970-01-01T01:23:20Z\n"


def test_taking_back_says_whether_it_was_there(path):
    """What is over counts, too; a file that is not there stays so."""
    file.add(path, Revocation("sub", "bob", inf, 5_000.0), 2_000.0)
    absent = path.with_name("absent")

    assert [file.remove(path, Revocation("sub", "bob"), 9_000.0) for _ in range(2)] == [True, False]
    assert file.remove(absent, Revocation("sub", "bob"), NOW) is False
    assert not absent.exists()


@pytest.mark.parametrize(
    "comment", [b"# caf\xe9", b"# a\xe2\x80\xa8sub=bob", b"# a\x0csub=bob", b"# a\x85sub=bob", b"# a\rsub=bob", b"sub=bob # b\r"]
)
def test_comments_stay_octet_by_octet(path, comment):
    """Whatever their encoding, and whatever other programs take for the end of a line: no part of one becomes an entry."""
    path.write_bytes(comment + b"\nsub=ada\n")
    before = file.read(path)
    file.add(path, EVE, NOW)

    assert path.read_bytes() == comment + b"\nsub=ada\nsub=eve\n"
    assert file.read(path) == [*before, EVE]


def test_an_entry_is_taken_back(path):
    """Whatever its times are."""
    file.remove(path, Revocation("sub", "ada"), NOW)

    assert file.read(path) == [EVE]


def test_the_file_is_made(tmp_path):
    """The first revocation makes it, for everybody to read."""
    path = tmp_path / "new"
    file.add(path, ADA, NOW)

    assert file.read(path) == [ADA]
    assert path.stat().st_mode & 0o777 == 0o644


def test_mode_and_link_stay(path, tmp_path):
    """Whoever follows the link, or may not read the file, goes on so."""
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    file.add(link, ADA, NOW)

    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert file.read(path) == [EVE, ADA]


def test_a_file_with_mistakes_is_not_changed(path):
    """Nobody can say what the line meant."""
    path.write_text("subject=eve\n")

    with pytest.raises(RevocationsError, match=":1: expected"):
        file.add(path, ADA, NOW)
    assert path.read_text() == "subject=eve\n"


def test_a_file_that_can_not_be_written_is_told(tmp_path):
    """With its name, and nothing half written stays."""
    with pytest.raises(RevocationsError, match="cannot be written"):
        file.add(tmp_path / "absent" / "revoked", ADA, NOW)
    (tmp_path / "folder").mkdir()
    with pytest.raises(RevocationsError, match="cannot be read"):
        file.add(tmp_path / "folder", ADA, NOW)


def test_a_disk_that_is_full_leaves_the_old_file(path, monkeypatch):
    """The new one is put in place whole or not at all."""

    def fail(_):
        raise OSError(28, "No space left on device")

    before = path.read_text()
    monkeypatch.setattr(file.os, "fsync", fail)
    with pytest.raises(RevocationsError, match="No space left"):
        file.add(path, ADA, NOW)

    assert path.read_text() == before
    assert list(path.parent.iterdir()) == [path]


def test_many_may_revoke_at_one_time(tmp_path):
    """No entry gets lost."""
    path = tmp_path / "revoked"
    command = [sys.executable, "-m", "authz_server", "revoke", "--revocations", str(path)]
    runs = [subprocess.Popen([*command, "--jti", f"j{number}"], stdout=subprocess.DEVNULL) for number in range(6)]

    assert [run.wait(PATIENCE) for run in runs] == [0] * 6
    assert {entry.value for entry in file.read(path)} == {f"j{number}" for number in range(6)}


class Told:
    """Who is told how it goes."""

    def __init__(self):
        self.outcomes = []
        self.details = []

    def ended(self, outcome, detail):
        """Take note of a look at the list."""
        self.outcomes.append(outcome)
        self.details.append(detail)


def test_what_is_known_stays_when_the_file_turns_bad(path):
    """And the age tells for how long it has been so."""
    revocations, told, times = Revocations(known=False), Told(), [10.0]
    listed = FileList(path, revocations, told, lambda: times[0])
    assert (revocations.known, len(revocations), listed.age()) == (True, 2, 0.0)
    path.write_text("nonsense")
    assert not listed.reload(), "another try would find the same"
    times[0] = 15.0
    listed.reload()

    assert (len(revocations), listed.age()) == (2, 5.0)
    assert "what was refused before stays refused" in told.details[-1]
    path.write_text("sub=ada\n")
    listed.reload()
    assert (len(revocations), listed.age(), told.outcomes) == (1, 0.0, ["ok", "failed", "failed", "ok"])


@pytest.mark.parametrize("breaks", [lambda path: path.unlink(), lambda path: (path.unlink(), path.mkdir())], ids=["gone", "unreadable"])
def test_what_is_known_stays_when_the_file_can_not_be_read(path, breaks):
    """The log says so, and the age grows until it is there again."""
    revocations, told, times = Revocations(known=False), Told(), [10.0]
    listed = FileList(path, revocations, told, lambda: times[0])
    breaks(path)
    assert listed.reload(), "another try may find it"
    times[0] = 15.0

    assert (len(revocations), revocations.known, listed.age()) == (2, True, 5.0)
    assert f"{path}: cannot be read" in told.details[-1]
    assert "what was refused before stays refused" in told.details[-1]


def test_a_bad_file_at_the_start_is_an_error(path):
    """Nothing is served before the list was good once."""
    path.write_text("nonsense")

    with pytest.raises(RevocationsError, match=":1: expected"):
        FileList(path, Revocations(known=False), Told(), lambda: 0.0)


def test_a_time_beyond_the_calendar_is_a_mistake(path):
    """It is told with its line, and what is known stays."""
    revocations, told = Revocations(known=False), Told()
    listed = FileList(path, revocations, told, lambda: 0.0)
    path.write_text("sub=ada\nsub=eve until=9999-12-31T23:59:59-01:00\n")
    listed.reload()

    assert told.details[-1].startswith(f"{path}:2: expected a time as Unix seconds")
    assert len(revocations) == 2


def test_an_old_content_does_not_take_the_place_of_a_new_one(path, monkeypatch):
    """However long the old one takes: who has read last also installs last."""
    parsing, go_on, parse = threading.Event(), threading.Event(), file.parse

    def slow(line: str) -> Revocation:
        if line == "sub=old":
            parsing.set()
            assert go_on.wait(PATIENCE)
        return parse(line)

    monkeypatch.setattr(file, "parse", slow)
    revocations = Revocations(known=False)
    listed = FileList(path, revocations, Told(), lambda: 0.0)
    first, second = (threading.Thread(target=listed.reload) for _ in range(2))
    path.write_text("sub=old\n")
    first.start()
    assert parsing.wait(PATIENCE)
    path.write_text("sub=new\n")
    second.start()
    second.join(0.3)  # who reads without waiting has ended by now
    go_on.set()
    first.join()
    second.join()

    assert revocations.refuse({"sub": "new"}, NOW)
    assert not revocations.refuse({"sub": "old"}, NOW)
