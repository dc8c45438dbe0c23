"""Files are watched for new content, however it gets there."""

import errno
import threading
import time

import pytest

from authz_server import files
from authz_server.core.revocations import Revocations
from authz_server.engine import watch
from authz_server.engine.revocation_observer import RevocationObserver
from authz_server.engine.revoked import Place, following
from authz_server.engine.watch import FileWatch
from authz_server.observe.metrics import Metrics
from tests.waiting import PATIENCE, until


@pytest.fixture
def watched(tmp_path):
    """Watch two files in two folders, and tell how often they changed."""
    files = [tmp_path / "one" / "tls.crt", tmp_path / "two" / "ca.crt"]
    for file in files:
        file.parent.mkdir()
        file.write_text("old")
    changed = threading.Semaphore(0)
    watching = FileWatch(files, changed.release)
    time.sleep(0.2)
    yield files, changed
    watching.close()


def test_each_file_is_watched(watched):
    """A new content of any of them is told."""
    files, changed = watched
    for file in files:
        file.write_text("new")

        assert changed.acquire(timeout=PATIENCE)


def test_the_same_content_is_no_news(watched):
    """Neither is a file beside those that are watched."""
    (first, _), changed = watched
    with first.open("r+") as file:  # which is never empty
        file.write("old")
    (first.parent / "other").write_text("new")

    assert not changed.acquire(timeout=0.6)


def test_a_removed_and_replaced_file_is_told(watched):
    """As editors and certificate managers do it."""
    (first, _), changed = watched
    first.unlink()
    assert changed.acquire(timeout=PATIENCE)
    first.write_text("new")

    assert changed.acquire(timeout=PATIENCE)


def test_a_mounted_secret_is_swapped(tmp_path):
    """Kubernetes lets `..data` point to another folder, by a rename."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tls.crt").write_text(name)
    (tmp_path / "..data").symlink_to("first")
    (tmp_path / "tls.crt").symlink_to("..data/tls.crt")
    changed = threading.Event()
    watching = FileWatch([tmp_path / "tls.crt"], changed.set)
    time.sleep(0.2)
    (tmp_path / "..data_tmp").symlink_to("second")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    assert changed.wait(PATIENCE)
    watching.close()


def test_what_the_system_does_not_tell_is_looked_at(tmp_path, monkeypatch):
    """A link to the folder itself that is swapped changes nothing inside of the folder."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.2)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tls.crt").write_text(name)
    (tmp_path / "current").symlink_to("first")
    changed = threading.Event()
    watching = FileWatch([tmp_path / "current" / "tls.crt"], changed.set)
    time.sleep(0.2)
    (tmp_path / "next").symlink_to("second")
    (tmp_path / "next").replace(tmp_path / "current")

    assert changed.wait(PATIENCE)
    watching.close()


def test_a_link_into_another_folder_is_looked_at(tmp_path):
    """A file that is replaced, or written to, where the system tells nothing is noticed at the next look, in less than a second."""
    assert watch.LOOK_SECONDS < 1
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    target, link = tmp_path / "there" / "revoked", tmp_path / "here" / "revoked"
    target.write_text("old")
    link.symlink_to(target)
    changed = threading.Semaphore(0)
    watching = FileWatch([link], changed.release)
    time.sleep(0.2)
    for change in (lambda: (tmp_path / "there" / "new").replace(target), lambda: target.write_text("newer")):
        (tmp_path / "there" / "new").write_text("new")
        change()

        assert changed.acquire(timeout=PATIENCE)
    watching.close()


def test_what_looks_the_same_is_read_now_and_then(tmp_path, monkeypatch):
    """A change that left size and time as they were is noticed, too."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(watch, "READ_SECONDS", 0.3)
    monkeypatch.setattr(watch, "_state", lambda _: ())
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "there" / "revoked").write_text("old")
    (tmp_path / "here" / "revoked").symlink_to(tmp_path / "there" / "revoked")
    changed = threading.Event()
    watching = FileWatch([tmp_path / "here" / "revoked"], changed.set)
    (tmp_path / "there" / "revoked").write_text("new")

    assert changed.wait(PATIENCE)
    watching.close()


@pytest.mark.parametrize("error", [OSError("OS file watch limit reached"), RuntimeError("error creating recommended watcher")])
def test_files_that_can_not_be_watched_are_looked_at(tmp_path, monkeypatch, caplog, error):
    """A machine whose watches are used up, as a busy Kubernetes node's may be, costs seconds and not the reload; the log tells."""
    file = tmp_path / "tls.crt"
    file.write_text("old")

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(watch, "watch", refuse)
    changed = threading.Semaphore(0)
    watching = FileWatch([file], changed.release)
    for content in ("new", "newer"):
        file.write_text(content)

        assert changed.acquire(timeout=PATIENCE)
    watching.close()
    assert f"looking at {file} every 0.1 s, since they can not be watched: {error}" in caplog.text


def test_a_folder_that_comes_later_is_noticed(tmp_path, monkeypatch):
    """Such as one that is mounted after the start."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    changed = threading.Event()
    watching = FileWatch([tmp_path / "later" / "tls.crt"], changed.set)
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "tls.crt").write_text("new")

    assert changed.wait(PATIENCE)
    watching.close()


def test_an_end_is_not_waited_for(tmp_path, monkeypatch):
    """However rarely it looks."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 5 * PATIENCE)
    watching = FileWatch([tmp_path / "absent"], lambda: None)
    time.sleep(0.2)
    began = time.monotonic()
    watching.close()

    assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize("kind", [ValueError, OSError, RuntimeError])
def test_a_bug_does_not_end_the_watch(tmp_path, monkeypatch, caplog, kind):
    """It is logged with its place and without values, what failed is tried again now and then, and the next change is told."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(watch, "READ_SECONDS", 0.5)
    file = tmp_path / "revoked"
    file.write_text("old")
    called = threading.Semaphore(0)
    failures = [kind("marked-secret")]

    def fail_once() -> None:
        called.release()
        if failures:
            raise failures.pop()

    watching = FileWatch([file], fail_once)
    file.write_text("new")
    assert called.acquire(timeout=PATIENCE)
    assert called.acquire(timeout=PATIENCE), "it is tried again"
    file.write_text("newer")
    assert called.acquire(timeout=PATIENCE)
    watching.close()

    assert f"bug: {kind.__name__} after a change of {file}; please report it" in caplog.text
    assert "in fail_once" in caplog.text
    assert "marked-secret" not in caplog.text


def test_who_could_not_read_is_called_again_until_it_is_read(tmp_path, monkeypatch):
    """A reason that passes, such as too many open files, changes nothing about the file; what was read is not told again."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    file = tmp_path / "revoked"
    file.write_text("old")
    called = threading.Semaphore(0)
    answers = [True, True, False]

    def read() -> bool:
        called.release()
        return answers.pop(0)

    watching = FileWatch([file], read)
    file.write_text("new")
    for _ in range(3):
        assert called.acquire(timeout=PATIENCE)

    assert not called.acquire(timeout=0.5)
    watching.close()


def test_what_is_written_while_it_is_read_is_told_again(tmp_path, monkeypatch):
    """Whoever was called back may have read half of it, also when its end is the content that was seen before."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    file = tmp_path / "revoked"
    file.write_text("old")
    called = threading.Semaphore(0)
    contents = ["", "new"]

    def read_meanwhile() -> None:
        while contents:
            file.write_text(contents.pop(0))
        called.release()

    watching = FileWatch([file], read_meanwhile)
    time.sleep(0.2)
    file.write_text("new")
    for _ in range(2):
        assert called.acquire(timeout=PATIENCE)

    assert not called.acquire(timeout=0.5)
    watching.close()


def test_a_list_that_could_not_be_read_for_a_while_is_followed(tmp_path, monkeypatch, caplog):
    """A sign-out that came while too many files were open is in force after it, and the log tells of it once."""
    path, revocations = tmp_path / "revoked", Revocations(known=False)
    path.write_text("sub=ada\n")
    failed, scarce, read = threading.Semaphore(0), threading.Event(), files.read

    def read_if_any_is_left(path, limit):
        if scarce.is_set():
            failed.release()
            raise OSError(errno.EMFILE, "Too many open files")
        return read(path, limit)

    def digest(path):
        return path.read_bytes()  # just before there were too many

    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(watch, "_digest", digest)
    monkeypatch.setattr(files, "read", read_if_any_is_left)
    with following(Place(where=str(path)), revocations, RevocationObserver(Metrics("test"))):
        scarce.set()
        with path.open("a") as file:
            file.write("sub=eve\n")
        for _ in range(3):
            assert failed.acquire(timeout=PATIENCE)
        scarce.clear()
        until(lambda: len(revocations) == 2)

    assert caplog.text.count("Too many open files") == 1
