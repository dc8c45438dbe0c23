"""Whoever can write where the server is started runs nothing there."""

import os
import re
import sys
from pathlib import Path
from signal import Signals

import pytest

from authz_server.demo.process import Process, authz_server, free_port
from authz_server.server.loader import parts
from tests.e2e.stack import CONFIGURATION, Server, configured, two_ports

MODULES = ("authz_server", "click", "httpx2", "pickle", "pydantic", "sitecustomize", "yaml")


def fill(folder, told):
    """Put modules into a folder that tell when they are run."""
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open({str(told)!r}, 'a').write({name!r})\nraise SystemExit(1)\n")


@pytest.fixture
def hostile(tmp_path):
    """A folder whose files are named like modules, and tell when they are run."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    fill(folder, tmp_path / "was run")
    yield folder
    assert not (tmp_path / "was run").exists(), (tmp_path / "was run").read_text()


@pytest.mark.parametrize("workers", [1, 2], ids=["alone", "workers"])
def test_start_and_reload_run_nothing_there(hostile, tmp_path, pool, cognito, transport, *, workers):
    """Neither the command, nor its workers, nor the loader at the start and at each reload take a module from the working directory."""
    config, port, admin = tmp_path / "authz.yaml", two_ports(), free_port()
    config.write_text(configured(CONFIGURATION, pool, cognito))
    script = str(Path(sys.executable).with_name("authz-server"))
    serve = [script, "serve", "--config", str(config), "--transport", transport, "--workers", str(workers)]
    serve += ["--listen", f"127.0.0.1:{port}", "--admin", str(admin), "--drain-seconds", "0"]
    with Process(["sh", "-c", 'cd "$0" && exec "$@"', str(hostile), *serve], log=tmp_path / "server.log") as process:
        server = Server(process=process, config=config, port=port, admin=admin)
        process.wait_until(lambda: server.get("/readyz")[0] == 200)
        process.send(Signals.SIGHUP)
        process.wait_until(lambda: server.log().count("generation 2 of") == workers)


def test_a_worker_that_is_started_again_runs_nothing_there(tmp_path, pool, cognito, transport):
    """Also where the command was given as `python -m`, which takes modules from the working directory, before somebody put any there."""
    (folder := tmp_path / "working").mkdir()
    config, port, admin = tmp_path / "authz.yaml", two_ports(), free_port()
    config.write_text(configured(CONFIGURATION, pool, cognito))
    serve = [sys.executable, "-m", "authz_server", "serve", "--config", str(config), "--transport", transport, "--workers", "2"]
    serve += ["--listen", f"127.0.0.1:{port}", "--admin", str(admin), "--drain-seconds", "0"]
    with Process(["sh", "-c", 'cd "$0" && exec "$@"', str(folder), *serve], log=tmp_path / "server.log") as process:
        server = Server(process=process, config=config, port=port, admin=admin)
        process.wait_until(lambda: server.get("/readyz")[0] == 200)
        fill(folder, tmp_path / "was run")
        os.kill(int(re.findall(r"worker 1 is process (\d+)", server.log())[0]), Signals.SIGKILL)
        process.wait_until(lambda: server.log().count("generation 1 of") == 3)

    assert not (tmp_path / "was run").exists()


def test_the_loader_runs_nothing_there(hostile, tmp_path, monkeypatch):
    """A configuration that a server loads is read by the installed modules."""
    config = tmp_path / "authz.yaml"
    config.write_text("version: 1\napis: {shop: {routes: {/x: {GET: {authorization_type: NONE}}}}}\n")
    monkeypatch.chdir(hostile)

    assert list(parts(config, {}))


def test_the_server_of_a_demo_runs_nothing_there(hostile, tmp_path, monkeypatch):
    """It is this package's own command, wherever the demo was started."""
    monkeypatch.chdir(hostile)
    with authz_server("schema", log=tmp_path / "log") as process:
        assert process.wait() == 0
