"""Files are watched for new content, however it gets there."""

import threading
import time

import pytest

from authz_server.server import watch
from authz_server.server.watch import FileWatch


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

        assert changed.acquire(timeout=5)


def test_the_same_content_is_no_news(watched):
    """Neither is a file beside those that are watched."""
    (first, _), changed = watched
    first.write_text("old")
    (first.parent / "other").write_text("new")

    assert not changed.acquire(timeout=0.6)


def test_a_removed_and_replaced_file_is_told(watched):
    """As editors and certificate managers do it."""
    (first, _), changed = watched
    first.unlink()
    assert changed.acquire(timeout=5)
    first.write_text("new")

    assert changed.acquire(timeout=5)


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

    assert changed.wait(5)
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

    assert changed.wait(5)
    watching.close()


def test_a_link_into_another_folder_is_looked_at(tmp_path):
    """A file that is replaced, or written to, where the system tells nothing is noticed within a second."""
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

        assert changed.acquire(timeout=0.9)
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

    assert changed.wait(5)
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

        assert changed.acquire(timeout=5)
    watching.close()
    assert f"looking at {file} every 0.1 s, since they can not be watched: {error}" in caplog.text


def test_a_folder_that_comes_later_is_noticed(tmp_path, monkeypatch):
    """Such as one that is mounted after the start."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    changed = threading.Event()
    watching = FileWatch([tmp_path / "later" / "tls.crt"], changed.set)
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "tls.crt").write_text("new")

    assert changed.wait(5)
    watching.close()


def test_an_end_is_not_waited_for(tmp_path):
    """However rarely it looks."""
    watching = FileWatch([tmp_path / "absent"], lambda: None)
    time.sleep(0.2)
    began = time.monotonic()
    watching.close()

    assert time.monotonic() - began < 1
