"""A configuration is loaded by a child process; whatever becomes of the child, the server hears of it as a configuration that is bad."""

import os
import pickle
import resource
import sys
from signal import SIGKILL

import pytest

from authz_server.config import ConfigurationError
from authz_server.server import loader
from authz_server.server.loader import BESIDE_CHECKS, parts

GOOD = "version: 1\napis: {shop: {routes: {/x: {GET: {authorization_type: NONE}}}}}\n"


@pytest.fixture
def config(tmp_path):
    """A good configuration."""
    path = tmp_path / "authz.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Have some lines of Python run in place of the loader."""

    def run(text):
        program = tmp_path / "child"
        program.write_text(f"#!{sys.executable}\n{text}")
        program.chmod(0o755)
        monkeypatch.setattr(loader.sys, "executable", str(program))

    return run


def told(config):
    """Load, and give what is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        list(parts(config, {}))
    return str(caught.value)


def test_a_good_file_gives_parts(config):
    """The last one ends the load without an error."""
    assert list(parts(config, {}))


def test_a_file_without_apis_gives_no_parts(config):
    """It is good and complete although there is nothing to take over."""
    config.write_text("version: 1\n")

    assert list(parts(config, {})) == []


def test_a_load_beside_checks_lets_them_go_first(config, child):
    """Where there are none yet, as at the start, nobody has to wait for it to be nice."""
    sent = "pickle.dumps(os.getpriority(os.PRIO_PROCESS, 0)) + pickle.dumps([])"
    child(f"import os, pickle, sys, time\ntime.sleep(0.3)\nsys.stdout.buffer.write({sent})")

    assert list(parts(config, {})) == [os.getpriority(os.PRIO_PROCESS, 0)]
    assert list(parts(config, {}, BESIDE_CHECKS)) == [BESIDE_CHECKS]


def test_a_child_has_a_process_group_of_its_own(config, child):
    """Ctrl-C at a terminal reaches every process of the server's group, and would have it write a traceback."""
    child("import os, pickle, sys\nsys.stdout.buffer.write(pickle.dumps(os.getpgrp() == os.getpid()) + pickle.dumps([]))")

    assert list(parts(config, {})) == [True]


def test_a_child_that_is_killed_in_the_middle_of_a_part_is_an_error(config, child):
    """The kernel picks it when memory runs out; half a part is none."""
    half = pickle.dumps("x" * 1_000)[:500]
    child(f"import os, sys\nsys.stdout.buffer.write({half!r})\nsys.stdout.flush()\nos.kill(os.getpid(), 9)")

    assert "the loader ended with status -9" in told(config)


def test_a_child_that_dies_at_once_is_an_error(config, child):
    """Nothing was loaded."""
    child("raise SystemExit(3)")

    assert "the loader ended with status 3" in told(config)


STREAMS = {
    "a module that this process lacks": (b"cauthz_server.gone\nPart\n.", "ModuleNotFoundError"),
    "a name that this process lacks": (b"cauthz_server.config.parts\nGonePart\n.", "AttributeError"),
    "fields that this process lacks": (b"cauthz_server.config.parts\nRoutesPart\n(I1\nI2\ntR.", "TypeError"),
    "no pickle": (b"What a start script says.\n", "UnpicklingError"),
    "half a part": (pickle.dumps("x" * 1_000)[:500], "UnpicklingError"),
    "parts without an end": (pickle.dumps("part"), "EOFError"),
    "nothing": (b"", "EOFError"),
}


@pytest.mark.parametrize("stream", STREAMS)
def test_what_can_not_be_taken_over_is_an_error(config, child, stream):
    """The package may have been upgraded under a running server, whose child is of the new version then."""
    sent, error = STREAMS[stream]
    child(f"import sys\nsys.stdout.buffer.write({sent!r})")

    reason = f"it could not be taken over from the loader ({error}); restart the server if its package was changed"
    assert told(config) == f"{config}:1:1: the configuration could not be loaded, {reason}"


@pytest.mark.parametrize(("status", "reason"), [(0, "taken over from the loader (AttributeError)"), (3, "the loader ended with status 3")])
def test_a_child_may_end_as_it_would_have(config, child, status, reason):
    """Also when nobody wants the rest of what it writes: its status would tell of the closed pipe, and not of what went wrong."""
    strange = STREAMS["a name that this process lacks"][0]
    child(f"import sys\nsys.stdout.buffer.write({strange!r} + bytes(1_000_000))\nsys.stdout.flush()\nsys.exit({status})")

    assert reason in told(config)


def test_a_child_that_can_not_be_started_is_an_error(config):
    """A server whose open files are used up keeps its configuration, and goes on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        message = told(config)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert message.startswith(f"{config}:1:1: the configuration could not be loaded, the loader could not be started (Too many open files)")


@pytest.mark.parametrize(
    "text",
    ["import time; time.sleep(3600)", "import os, pickle, sys, time; os.close(1); time.sleep(3600)"],
    ids=["silent", "closed its output"],
)
def test_a_loader_that_does_not_end_is_ended(config, child, monkeypatch, text):
    """A file that cannot be read to its end, as on a disk that is gone, keeps a load only for so long."""
    monkeypatch.setattr(loader, "LOAD_SECONDS", 0.5)
    child(text)

    assert "the configuration could not be loaded, the loader " in told(config)


def test_a_loader_that_cannot_be_killed_is_left_alone(config, child, monkeypatch):
    """Who waits for a disk hears no signal; the server does not wait with it."""
    monkeypatch.setattr(loader, "LOAD_SECONDS", 0.2)
    monkeypatch.setattr(loader, "END_SECONDS", 0.1)
    killed = []

    def kill(process):
        killed.append(process)

    monkeypatch.setattr(loader.subprocess.Popen, "kill", kill)
    child("import time; time.sleep(30)")

    assert "the loader took longer than 0.2 s" in told(config)
    killed[0].send_signal(SIGKILL)
    killed[0].wait()
