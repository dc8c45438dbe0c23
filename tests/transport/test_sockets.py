"""Unix sockets of servers that start at the same moment: one listens on a path, and no other takes it away."""

import contextlib
import fcntl
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from authz_server.transport import sockets
from authz_server.transport.door import ListenError
from authz_server.transport.sockets import PRIVATE, bound

TOGETHER_SECONDS = 0.3  # for which the first waits for the second


@pytest.fixture(autouse=True)
def _umask():
    """Leave the umask of the process as it was, however two servers in it have changed it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def path(tmp_path):
    """A socket that nobody listens on."""
    path = tmp_path / "authz.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    return path


def listen(path):
    """Listen there; None when another does."""
    try:
        return bound(f"unix://{path}", 1, PRIVATE)[0]
    except ListenError:
        return None


def test_of_two_that_start_at_once_one_listens(path, monkeypatch):
    """Both may find the socket of a server that is gone, but the second does not remove that of the first."""
    both, remove = threading.Barrier(2), Path.unlink

    def unlink(file, **how):
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(TOGETHER_SECONDS)
        remove(file, **how)

    monkeypatch.setattr(Path, "unlink", unlink)
    with ThreadPoolExecutor(2) as servers:
        listening = [each for each in servers.map(listen, [path, path]) if each is not None]

    assert len(listening) == 1
    with listening[0], socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        listening[0].accept()[0].close()


def test_workers_that_start_at_once_in_one_folder_all_listen(path):
    """Each waits for its turn: their paths differ."""
    paths = [path.with_name(f"{number}.sock") for number in range(8)]
    with ThreadPoolExecutor(len(paths)) as servers, contextlib.ExitStack() as stack:
        listening = list(servers.map(listen, paths))
        for each in listening:
            stack.enter_context(each)
        assert all(each.exists() for each in paths)


@pytest.mark.parametrize("hinder", ["lock", "read"])
def test_a_folder_that_can_not_be_locked_keeps_no_server_out(path, monkeypatch, hinder):
    """Whoever may read the folder could else stop a start for good, and not every folder may be read by who may write to it."""
    monkeypatch.setattr(sockets, "LOCK_TRIES", 2)
    folder, real = os.open(path.parent, os.O_RDONLY), os.open
    try:
        if hinder == "lock":
            fcntl.flock(folder, fcntl.LOCK_EX)
        else:
            monkeypatch.setattr(os, "open", lambda name, flags, *more: _no_list() if flags & os.O_DIRECTORY else real(name, flags, *more))
        with listen(path) as listening:
            assert listening.getsockname() == str(path)
    finally:
        os.close(folder)


def _no_list():
    raise PermissionError(13, "Permission denied")
