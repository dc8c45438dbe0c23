"""The state directory keeps good keys for the next process; nothing that is wrong with it stops this one, or is trusted."""

import os
import resource
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import pytest

from authz_server.core.user_pools import UserPool as Place
from authz_server.keys.jwks import KeySet, parse
from authz_server.keys.state_directory import CLOSE_SECONDS, StateDirectory
from authz_server.testing import ManualClock, UserPool
from tests.waiting import PATIENCE


class Notes:
    """Write down what is told."""

    def __init__(self) -> None:
        self.told: SimpleQueue[tuple[str, str, str, str]] = SimpleQueue()

    def __call__(self, pool: Place, operation: str, outcome: str, detail: str) -> None:
        """Take note."""
        self.told.put((pool.id, operation, outcome, detail))

    def next(self) -> tuple[str, str]:
        """Wait for the next note: operation and outcome."""
        return self.told.get(timeout=PATIENCE)[1:3]


@pytest.fixture
def clock() -> ManualClock:
    """The time of day."""
    return ManualClock()


@pytest.fixture
def notes() -> Notes:
    """Whoever wants to know."""
    return Notes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory that is not there yet."""
    return tmp_path / "a" / "state"


@pytest.fixture
def make(path: Path, clock: ManualClock, notes: Notes) -> Iterator[Callable[[], StateDirectory]]:
    """Begin to use the directory, as each process does."""
    made: list[StateDirectory] = []

    def make() -> StateDirectory:
        made.append(StateDirectory(path, clock, notes))
        return made[-1]

    yield make
    for state in made:
        state.close()


@pytest.fixture
def good(pool: UserPool) -> KeySet:
    """What a fetch brought."""
    return parse(pool.jwks_document())


@pytest.fixture
def file(make: Callable[[], StateDirectory], place: Place, good: KeySet, path: Path, notes: Notes) -> Path:
    """The file that a process has left."""
    make().write(place, good, '"v1"')
    assert notes.next() == ("write", "ok")
    (file,) = path.iterdir()
    return file


def mode(path: Path) -> int:
    """Tell who may do what."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("file")
def test_the_next_process_finds_the_keys(
    make: Callable[[], StateDirectory], place: Place, good: KeySet, clock: ManualClock, notes: Notes
) -> None:
    """Keys, ETag and age come back; a pool that left nothing has nothing."""
    clock.advance(100.0)
    state = make()

    assert state.read(place) == (KeySet(keys=good.keys), '"v1"', 100.0)
    assert notes.next() == ("read", "ok")
    assert state.read(replace(place, jwks="https://else.test/")) is None
    assert notes.next() == ("read", "absent")


def test_directory_and_file_are_private(file: Path) -> None:
    """Who could write to them could sign tokens."""
    assert (mode(file.parent), mode(file)) == (0o700, 0o600)


def test_a_foreign_umask_spoils_nothing(make: Callable[[], StateDirectory], place: Place, good: KeySet, path: Path) -> None:
    """While a Unix socket is bound the umask takes every right away; the next process must be able to read what was written then."""
    state = make()
    before = os.umask(0o777)
    try:
        state.write(place, good, None)
        state.close()
    finally:
        os.umask(before)
    (file,) = path.iterdir()

    assert (mode(path), mode(file)) == (0o700, 0o600)


def test_a_directory_that_is_there_stays_as_it_is(make: Callable[[], StateDirectory], place: Place, good: KeySet, path: Path) -> None:
    """Its mode is the operator's; the file in it is private all the same."""
    path.mkdir(parents=True, mode=0o755)
    state = make()
    state.write(place, good, None)
    state.close()
    (file,) = path.iterdir()

    assert (mode(path), mode(file)) == (0o755, 0o600)


def test_keys_in_a_file_are_not_kept_twice(make: Callable[[], StateDirectory], place: Place, good: KeySet, path: Path) -> None:
    """A pool whose key set is a file has it already."""
    state = make()
    local = replace(place, jwks="/etc/keys.json")
    state.write(local, good, None)
    state.close()

    assert state.read(local) is None
    assert not list(path.iterdir())


def write_over(file: Path) -> None:
    """Spoil the record."""
    file.write_bytes(b"{}")


def cut(file: Path) -> None:
    """Cut the record off."""
    os.truncate(file, file.stat().st_size // 2)


def open_up(file: Path) -> None:
    """Let others write to the file."""
    file.chmod(0o620)


def link(file: Path) -> None:
    """Put a link to a good record in its place."""
    file.symlink_to(file.rename(file.with_name("elsewhere")))


def make_directory(file: Path) -> None:
    """Put a directory in its place."""
    file.unlink()
    file.mkdir()


def make_pipe(file: Path) -> None:
    """Put a pipe in its place, which nobody writes to."""
    file.unlink()
    os.mkfifo(file)


def make_socket(file: Path) -> None:
    """Put a socket in its place."""
    here = Path.cwd()
    file.unlink()
    os.chdir(file.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(file.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("spoil", "outcome"),
    [
        (write_over, "malformed"),
        (cut, "malformed"),
        (open_up, "foreign"),
        (link, "foreign"),
        (make_directory, "foreign"),
        (make_pipe, "foreign"),
        (make_socket, "failed"),
        (Path.unlink, "absent"),
    ],
)
def test_a_file_that_is_not_ours_alone_is_not_trusted(
    *, spoil: Callable[[Path], None], outcome: str, file: Path, make: Callable[[], StateDirectory], place: Place, notes: Notes
) -> None:
    """Whatever stands in the place of a record is told in a word, and nothing waits for it."""
    spoil(file)

    assert make().read(place) is None
    assert notes.next() == ("read", outcome)


def test_a_file_of_another_user_is_not_trusted(
    file: Path, make: Callable[[], StateDirectory], place: Place, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record counts only when this very user wrote it."""
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)

    assert make().read(place) is None
    assert notes.next() == ("read", "foreign")


@pytest.mark.parametrize("mode", [0o777, 0o2777, 0o770, 0o2775, 0o702])
def test_a_record_where_others_may_rename_it_is_not_trusted(
    mode: int, file: Path, make: Callable[[], StateDirectory], place: Place, notes: Notes
) -> None:
    """Who may write to the directory could put an older record back, with keys that were withdrawn since."""
    file.parent.chmod(mode)

    assert make().read(place) is None
    assert notes.next() == ("read", "foreign")


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o2750, 0o1777, 0o3770])
def test_a_record_where_nobody_else_may_rename_it_is_trusted(
    mode: int, file: Path, make: Callable[[], StateDirectory], place: Place
) -> None:
    """Others may look, and where the sticky bit is set they may even have files of their own."""
    file.parent.chmod(mode)

    assert make().read(place) is not None


@pytest.mark.parametrize(("mode", "outcome"), [(0o777, "foreign"), (0o770, "foreign"), (0o2775, "foreign"), (0o1777, "ok"), (0o755, "ok")])
@pytest.mark.parametrize("way", ["above", "far above", "through a link"])
def test_a_record_below_a_directory_of_others_is_not_trusted(
    *, mode: int, outcome: str, way: str, file: Path, clock: ManualClock, place: Place, notes: Notes, tmp_path: Path
) -> None:
    """Who may rename a directory above could put an older one in its place; the sticky bit keeps others from that."""
    parent = file.parent.parent
    if way == "far above":
        parent = tmp_path
    elif way == "through a link":
        parent = tmp_path / "links"
        parent.mkdir()
        (parent / "state").symlink_to(file.parent)
    path = parent / "state" if way == "through a link" else file.parent
    parent.chmod(mode)

    for checks_parents, told in ((True, outcome), (False, "ok")):
        state = StateDirectory(path, clock, notes, checks_parents=checks_parents)
        assert (state.read(place) is not None) == (told == "ok")
        assert notes.next() == ("read", told)
        state.close()
    parent.chmod(0o700)


@pytest.mark.parametrize(("owner", "outcome"), [(0, "ok"), (1, "foreign")], ids=["root", "another user"])
def test_a_directory_of_another_user_is_not_trusted(
    *,
    owner: int,
    outcome: str,
    file: Path,
    make: Callable[[], StateDirectory],
    place: Place,
    notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its owner may do anything there; root may anyway."""
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        user = owner if stat.S_ISDIR(status.st_mode) else 1_000
        return os.stat_result((*status[:4], user, *status[5:]))

    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    monkeypatch.setattr(os, "fstat", fstat)
    assert file.exists()
    make().read(place)
    assert notes.next() == ("read", outcome)


def test_keys_of_another_place_are_not_trusted(file: Path, make: Callable[[], StateDirectory], place: Place, notes: Notes) -> None:
    """A file under the name of another pool is still the record of the first."""
    other = replace(place, jwks="https://else.test/")
    state = make()
    file.rename(state._file(other))

    assert state.read(other) is None
    assert notes.next() == ("read", "foreign")


def test_a_directory_that_is_a_file_stops_nothing(
    make: Callable[[], StateDirectory], place: Place, good: KeySet, path: Path, notes: Notes
) -> None:
    """Reading and writing fail, are told, and leave what stands there."""
    path.parent.mkdir()
    path.write_text("mine")
    state = make()

    assert state.read(place) is None
    assert notes.next() == ("read", "failed")
    state.write(place, good, None)
    assert notes.next() == ("write", "failed")
    assert path.read_text() == "mine"


def test_a_directory_that_can_not_be_made_stops_nothing(place: Place, good: KeySet, clock: ManualClock, notes: Notes) -> None:
    """Also where nothing may be written at all, as on a read-only file system."""
    state = StateDirectory(Path("/proc/self/state"), clock, notes)
    state.write(place, good, None)
    state.close()

    assert notes.next() == ("write", "failed")


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow beyond some octets, as on a disk that is full; the file that pytest itself writes to is one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_old_record(
    file: Path, make: Callable[[], StateDirectory], place: Place, good: KeySet, notes: Notes
) -> None:
    """A record that can not be written whole is not put in place, and nothing half written is left."""
    before = file.read_bytes()
    with full_disk():
        state = make()
        state.write(place, good, '"v2"')

        assert notes.next() == ("write", "failed")
    assert list(file.parent.iterdir()) == [file]
    assert file.read_bytes() == before


def test_what_a_killed_process_left_is_removed(file: Path, make: Callable[[], StateDirectory], clock: ManualClock) -> None:
    """A temporary file goes when it is a minute old; one that is being written, and files of others, stay."""
    names = [".authz-old", ".authz-young", ".other"]
    for name in names:
        (file.parent / name).touch()
        os.utime(file.parent / name, (clock.now, clock.now - (59.0 if name == ".authz-young" else 61.0)))
    make()

    assert {each.name for each in file.parent.iterdir()} == {".authz-young", ".other", file.name}


def test_many_processes_share_a_directory(file: Path, make: Callable[[], StateDirectory], place: Place, good: KeySet, notes: Notes) -> None:
    """While some write, every reader finds a whole record, and no temporary file is left."""
    writers, reader = [make() for _ in range(3)], make()
    for number in range(60):
        for state in writers:
            state.write(place, good, f'"{number}"')
        assert reader.read(place).key_set.keys == good.keys
    for state in writers:
        state.close()

    assert reader.read(place).etag == '"59"'
    assert list(file.parent.iterdir()) == [file]
    told = {notes.next() for _ in range(notes.told.qsize())}
    assert told == {("read", "ok"), ("write", "ok")}


def test_of_several_that_wait_the_last_is_written(
    make: Callable[[], StateDirectory], place: Place, good: KeySet, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk holds nobody up, and gets the newest keys rather than all of them."""
    begun, go = threading.Event(), threading.Event()
    real = os.fsync

    def slow(descriptor: int) -> None:
        begun.set()
        go.wait(PATIENCE)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    state = make()
    state.write(place, good, '"0"')
    assert begun.wait(PATIENCE)
    for number in range(1, 6):
        state.write(place, good, f'"{number}"')
    go.set()
    state.close()

    assert [notes.next() for _ in range(2)] == [("write", "ok")] * 2
    assert notes.told.empty()
    assert state.read(place).etag == '"5"'


def test_a_disk_that_hangs_does_not_keep_the_process(
    make: Callable[[], StateDirectory], place: Place, good: KeySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing waits two seconds at most."""
    assert CLOSE_SECONDS == 2.0
    monkeypatch.setattr("authz_server.keys.state_directory.CLOSE_SECONDS", 0.05)
    go = threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: go.wait(PATIENCE))
    state = make()
    state.write(place, good, None)
    state.close()

    assert state._thread.is_alive()
    assert state._thread.daemon
    go.set()
    state._thread.join(PATIENCE)
