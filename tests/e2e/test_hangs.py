"""What hangs when it is read holds up nothing else."""

import os
import signal
from textwrap import dedent

import pytest

from tests.e2e.test_serve import NOT_SERVING, SERVING, health
from tests.waiting import until


@pytest.fixture
def hanging(tmp_path):
    """Give what makes the next loader hang, and tells that it does: a folder for PYTHONPATH, and two files."""
    wanted, begun = tmp_path / "wanted", tmp_path / "begun"
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        dedent(f"""\
        import os, sys, time
        if "authz_server.config" in sys.orig_argv and os.path.exists({str(wanted)!r}):
            open({str(begun)!r}, "w").close()
            time.sleep(3600)
        """)
    )
    return folder, wanted, begun


def test_sigterm_is_heard_while_a_load_hangs(start_server, hanging):
    """The server is not serving at once, answers what is in flight, and ends with status 0."""
    folder, wanted, begun = hanging
    server = start_server("--drain-seconds", "300", PYTHONPATH=str(folder))
    wanted.touch()
    server.process.send(signal.SIGHUP)
    until(begun.exists)
    assert (health(server.port), server.get("/readyz")[0]) == (SERVING, 200)
    server.process.send(signal.SIGTERM)
    until(lambda: health(server.port) == NOT_SERVING)
    assert (server.get("/readyz")[0], server.check("GET", "/prod/status").status.code) == (503, 0)
    server.process.send(signal.SIGINT)  # which does not wait for proxies to notice

    assert server.process.wait() == 0


def test_a_configuration_that_became_a_pipe_is_a_bad_one(start_server):
    """Nobody waits for its writer: the load fails at once, what ran goes on, and the next good file is loaded."""
    server = start_server()
    text = server.config.read_text()
    server.config.unlink()
    os.mkfifo(server.config)
    until(lambda: "the file can not be read: it is a named pipe" in server.log())
    assert server.check("GET", "/prod/status").status.code == 0
    server.config.unlink()
    server.config.write_text(text.replace("/status:", "/new:"))
    until(lambda: server.check("GET", "/prod/new").status.code == 0)


def test_a_list_that_became_a_pipe_grows_old(start_server, tmp_path, pool):
    """What was refused stays refused, the age of the list grows, and the list is followed again once it is a file."""
    listed = tmp_path / "revocations.txt"
    listed.write_text("sub=a\n")
    server = start_server("--revocations", str(listed))
    listed.unlink()
    os.mkfifo(listed)
    until(lambda: "it is a named pipe" in server.log())
    until(lambda: float(server.get("/metrics")[1].split("\nauthz_revocations_age_seconds ")[1].split()[0]) > 1.0)
    listed.unlink()
    listed.write_text("jti=gone\n")
    token = pool.id_token(jti="gone")
    until(lambda: server.check("GET", "/prod/pets", {"authorization": token}).denied_response.status.code == 401)
